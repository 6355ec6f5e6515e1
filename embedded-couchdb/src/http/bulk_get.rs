//! `/{db}/_bulk_get`

use http::StatusCode;
use rusqlite::Connection;

use super::{
    app::App,
    bulk::only_post,
    incoming,
    multipart::{self, BulkPart, Part},
    request::ApiRequest,
    response::ApiResponse,
    revisions::{doc_options, latest_of, rev_list},
};
use crate::{
    api_error::ApiError,
    json::Json,
    rendering::{DocOptions, render_revision},
    storage::{
        databases,
        documents::{self, DocRow},
        partitions,
        revtree::Rev,
    },
};

/// A document that the request names.
struct Wanted {
    id: String,
    rev: Option<Rev>,
    atts_since: Option<Vec<Rev>>,
}

/// An entry of the request that cannot be answered: what it names, and why not.
struct Refused {
    id: Json,
    rev: Json,
    why: ApiError,
}

fn parse(entry: &Json) -> Result<Wanted, Refused> {
    let sent_id = entry.get("id").cloned().unwrap_or(Json::Null);
    let refused = |rev: Json, why: ApiError| Refused {
        id: sent_id.clone(),
        rev,
        why,
    };
    if entry.as_obj().is_none() {
        let why = ApiError::bad_request("document must be a JSON object");
        return Err(refused(Json::Null, why));
    }
    let id = match &sent_id {
        Json::Str(id) => id.clone(),
        Json::Null => {
            return Err(refused(
                Json::Null,
                ApiError::bad_request("document id missed"),
            ));
        }
        _ => {
            let why = ApiError::illegal_docid("Document id must be a string");
            return Err(refused(Json::Null, why));
        }
    };
    incoming::check_id(&id).map_err(|why| refused(Json::Null, why))?;
    let rev = match entry.get("rev") {
        None => None,
        Some(rev) => {
            let parsed = rev.as_str().map(Rev::parse);
            let parsed = parsed.unwrap_or_else(|| Err(ApiError::bad_request("Invalid rev format")));
            Some(parsed.map_err(|why| refused(rev.clone(), why))?)
        }
    };
    let atts_since = match entry.get("atts_since") {
        None => None,
        Some(list @ Json::Arr(_)) => {
            Some(rev_list(list).map_err(|why| refused(list.clone(), why))?)
        }
        Some(other) => {
            let why = ApiError::bad_request("att_since value must be array of revs.");
            return Err(refused(other.clone(), why));
        }
    };
    Ok(Wanted {
        id,
        rev,
        atts_since,
    })
}

/// How revisions are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Multipart(&'static str),
}

/// `/{db}/_bulk_get`
pub(crate) async fn bulk_get(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let body = request.json_object()?;
    let wanted = body
        .get("docs")
        .and_then(Json::as_arr)
        .ok_or_else(|| ApiError::bad_request("Missing JSON list of 'docs'."))?
        .iter()
        .map(parse)
        .collect::<Vec<_>>();
    if request.query.get("rev").is_some() {
        return Err(ApiError::bad_request(
            "\"rev\" query parameter is not acceptable",
        ));
    }
    let options = doc_options(&request.query)?.of_revision();
    let latest = request.query.get("latest") == Some("true");
    let form = if request.accepts("application/json") {
        Form::Json
    } else if request.accepts("multipart/mixed") {
        Form::Multipart("mixed")
    } else if request.accepts("multipart/related") {
        Form::Multipart("related")
    } else {
        Form::Json
    };
    let found = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        wanted
            .into_iter()
            .map(|wanted| {
                let wanted =
                    wanted.and_then(|wanted| match partitions::check_id(&db, &wanted.id) {
                        Ok(()) => Ok(wanted),
                        Err(why) => Err(Refused {
                            id: wanted.id.into(),
                            rev: wanted.rev.map_or(Json::Null, |rev| rev.to_string().into()),
                            why,
                        }),
                    });
                let wanted = match wanted {
                    Ok(wanted) => wanted,
                    Err(refused) => return Ok((refused.id.clone(), vec![refused.into()])),
                };
                let mut options = options.clone();
                if wanted.atts_since.is_some() {
                    options.atts_since.clone_from(&wanted.atts_since);
                } else if form != Form::Json {
                    options.attachments = true;
                }
                let row = documents::find(conn, db.id, &wanted.id)?;
                let parts = revisions(conn, row.as_ref(), &wanted, latest, &options, form)?;
                Ok((wanted.id.into(), parts))
            })
            .collect::<Result<Vec<_>, ApiError>>()
    });
    let found: Vec<(Json, Vec<BulkPart>)> = found.await?;
    if let Form::Multipart(kind) = form {
        let parts = found.into_iter().flat_map(|(_, parts)| parts).collect();
        return Ok(multipart::bulk(kind, parts));
    }
    let mut out = String::from("{\"results\":[");
    for (n, (id, parts)) in found.into_iter().enumerate() {
        out.push_str(if n > 0 { ",{\"id\":" } else { "{\"id\":" });
        id.write(&mut out);
        out.push_str(",\"docs\":[");
        for (n, BulkPart { part, .. }) in parts.into_iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            let (key, text) = match &part {
                Part::Json(text) => ("ok", text.as_str()),
                Part::Related(related) => ("ok", related.document()),
                Part::Error(text) => ("error", text.as_str()),
            };
            out.push_str("{\"");
            out.push_str(key);
            out.push_str("\":");
            out.push_str(text);
            out.push('}');
        }
        out.push_str("]}");
    }
    out.push_str("]}\n");
    Ok(ApiResponse::text(StatusCode::OK, out))
}

fn error(id: Option<Json>, rev: Json, error: &str, reason: &str) -> Part {
    let mut members = Vec::new();
    members.extend(id.map(|id| ("id".to_owned(), id)));
    members.push(("rev".to_owned(), rev));
    members.push(("error".to_owned(), error.into()));
    members.push(("reason".to_owned(), reason.into()));
    Part::Error(Json::Obj(members).to_string())
}

impl From<Refused> for BulkPart {
    fn from(refused: Refused) -> Self {
        let Refused { id, rev, why } = refused;
        Self {
            id: String::new(),
            rev: String::new(),
            part: error(Some(id), rev, &why.error, &why.reason),
        }
    }
}

/// The revisions that an entry names, or an error in their place.
fn revisions(
    conn: &Connection,
    row: Option<&DocRow>,
    wanted: &Wanted,
    latest: bool,
    options: &DocOptions,
    form: Form,
) -> Result<Vec<BulkPart>, ApiError> {
    let part = |rev: &str, part| BulkPart {
        id: wanted.id.clone(),
        rev: rev.to_owned(),
        part,
    };
    let missing = |rev: &str| {
        // A part of a multipart response about a document that is there does not name it.
        let id = (row.is_none() || form == Form::Json).then(|| wanted.id.as_str().into());
        part(rev, error(id, rev.into(), "not_found", "missing"))
    };
    let Some(row) = row else {
        let rev = wanted.rev.as_ref().map(ToString::to_string);
        return Ok(vec![missing(rev.as_deref().unwrap_or("undefined"))]);
    };
    let revs = match &wanted.rev {
        None => row
            .tree
            .leaves_root_by_root()
            .iter()
            .map(|leaf| leaf.rev.clone())
            .collect(),
        Some(rev) if latest => latest_of(&row.tree, rev.clone())
            .into_iter()
            .rev()
            .collect(),
        Some(rev) => vec![rev.clone()],
    };
    revs.iter()
        .map(|rev| {
            let name = rev.to_string();
            if form != Form::Json
                && let Some(related) = multipart::related(conn, row, rev, options)?
            {
                return Ok(part(&name, Part::Related(related)));
            }
            Ok(match render_revision(conn, row, rev, options)? {
                Some(text) => part(&name, Part::Json(text)),
                None => missing(&name),
            })
        })
        .collect()
}
