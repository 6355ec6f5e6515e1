//! The validation functions of design documents (`validate_doc_update`).
//!
//! They run before the write, on what a snapshot shows. The write compares: if a design document or the revision that is
//! replaced is another one by then, everything is validated again.

use std::borrow::Cow;

use http::StatusCode;
use rusqlite::Connection;

use super::{
    app::App,
    auth::Caller,
    designs::{self, Design},
};
use crate::{
    api_error::ApiError,
    javascript::thrown,
    json::{Json, obj},
    rendering::{DocOptions, render_revision},
    storage::{
        databases::{self, Database},
        documents::{self, NewDoc, Origin, Plan},
        revtree::Rev,
        validators,
    },
};

/// Which functions there are: the id and the revision of each design document that has one.
pub(crate) type Validators = Vec<(String, String)>;

/// What the functions said.
pub(crate) struct Verdicts {
    pub(crate) validators: Validators,
    /// One for each document.
    pub(crate) verdicts: Vec<Verdict>,
}

/// What the functions said of one document.
pub(crate) struct Verdict {
    replaced: Option<Rev>,
    outcome: Result<(), ApiError>,
}

impl Verdict {
    /// The verdict on a revision that is planned now.
    ///
    /// # Errors
    /// What a function threw; [`outdated`] if another revision would be replaced.
    pub(crate) fn on(&self, plan: &Plan) -> Result<(), ApiError> {
        self.outcome.clone()?;
        if self.replaced.as_ref() == plan.replaced() {
            Ok(())
        } else {
            Err(outdated())
        }
    }
}

/// The error of a write whose documents must be validated first, or again. No client sees it.
pub(crate) fn outdated() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "validation_outdated",
        "the document is changed by others all the time",
    )
}

/// Whether an error is [`outdated`].
pub(crate) fn is_outdated(failure: &ApiError) -> bool {
    failure.error == "validation_outdated"
}

/// Whether the functions see a document: not design and not local ones.
pub(crate) fn is_validated(id: &str) -> bool {
    !id.starts_with("_design/") && !id.starts_with("_local/")
}

struct Case {
    replaced: Option<Rev>,
    /// The new and the old document; `None` if there is nothing to validate.
    documents: Option<(Json, Json)>,
}

struct Cases {
    validators: Validators,
    designs: Vec<Design>,
    database: i64,
    security: Json,
    cases: Vec<Result<Case, ApiError>>,
}

/// Asks the functions about documents.
pub(crate) async fn verdicts(
    app: &App,
    caller: &Caller,
    name: &str,
    docs: &std::sync::Arc<Vec<NewDoc>>,
    origin: Origin,
) -> Result<Verdicts, ApiError> {
    let (opened, read_docs) = (name.to_owned(), std::sync::Arc::clone(docs));
    let found = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &opened)?;
            let validators = validators::of(conn, db.id)?;
            let designs = validators
                .iter()
                .map(|(id, _)| designs::read(conn, &db, id))
                .collect::<Result<_, _>>()?;
            let cases = read_docs
                .iter()
                .map(|doc| case(conn, &db, doc, origin))
                .collect();
            Ok(Cases {
                validators,
                designs,
                database: db.id,
                security: db.security(),
                cases,
            })
        })
        .await?;
    let Cases {
        validators,
        designs,
        database,
        security,
        cases,
    } = found;
    let context = caller.context_in(name);
    let mut verdicts = Vec::with_capacity(cases.len());
    for case in cases {
        let (replaced, outcome) = match case {
            Err(failure) if failure.is_of_store() => return Err(failure),
            Err(failure) => (None, Err(failure)),
            Ok(Case {
                replaced,
                documents: None,
            }) => (replaced, Ok(())),
            Ok(Case {
                replaced,
                documents: Some((new, old)),
            }) => {
                let arguments = Json::Arr(vec![new, old, context.clone(), security.clone()]);
                let mut outcome = Ok(());
                for design in &designs {
                    outcome = validate(app, database, design, &arguments).await;
                    if outcome.is_err() {
                        break;
                    }
                }
                (replaced, outcome)
            }
        };
        verdicts.push(Verdict { replaced, outcome });
    }
    Ok(Verdicts {
        validators,
        verdicts,
    })
}

async fn validate(
    app: &App,
    database: i64,
    design: &Design,
    arguments: &Json,
) -> Result<(), ApiError> {
    design.demand_javascript()?;
    if design.body.get(validators::MEMBER).and_then(Json::as_str) == Some("") {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!(
                "missing validate_doc_update function validate_doc_update on design doc {}",
                design.id
            ),
        ));
    }
    let request = obj([
        ("operation", "validate".into()),
        ("design", design.body.clone()),
        ("arguments", arguments.clone()),
    ]);
    let answer = app
        .javascript
        .run(database, &design.realm(), request.to_string())
        .await?;
    if answer.get("error").is_some() {
        return Err(thrown(&answer));
    }
    Ok(())
}

fn case(conn: &Connection, db: &Database, doc: &NewDoc, origin: Origin) -> Result<Case, ApiError> {
    if !is_validated(&doc.id) {
        return Ok(Case {
            replaced: None,
            documents: None,
        });
    }
    let plan = documents::plan(conn, db.id, doc, origin)?;
    let replaced = plan.replaced().cloned();
    if plan.is_known {
        return Ok(Case {
            replaced,
            documents: None,
        });
    }
    let old = match (&plan.there, &replaced) {
        (Some(row), Some(rev)) => {
            let options = DocOptions {
                revs: true,
                ..DocOptions::default()
            };
            let text = render_revision(conn, row, rev, &options)?;
            text.and_then(|text| Json::parse(text.as_bytes()).ok())
        }
        _ => None,
    };
    let kept = old
        .as_ref()
        .and_then(|old| old.get("_attachments"))
        .cloned();
    Ok(Case {
        documents: Some((as_seen(doc, kept.as_ref()), old.unwrap_or(Json::Null))),
        replaced,
    })
}

/// A new document as functions see it.
fn as_seen(doc: &NewDoc, kept: Option<&Json>) -> Json {
    let mut members = vec![("_id".to_owned(), doc.id.as_str().into())];
    members.extend(
        doc.history
            .first()
            .map(|rev| ("_rev".to_owned(), rev.to_string().into())),
    );
    members.extend(doc.body.iter().cloned());
    if doc.deleted {
        members.push(("_deleted".to_owned(), true.into()));
    }
    if let Some(rev) = doc.history.first() {
        let ids = doc.history.iter().map(|rev| rev.id.as_str().into());
        let revisions = obj([("start", rev.pos.into()), ("ids", Json::Arr(ids.collect()))]);
        members.push(("_revisions".to_owned(), revisions));
    }
    let attachments: Vec<(String, Json)> = doc
        .attachments
        .iter()
        .filter_map(|attachment| {
            let stub = match &attachment.data {
                None => Cow::Borrowed(kept?.get(&attachment.name)?),
                Some(data) => Cow::Owned(obj([
                    ("content_type", attachment.content_type.as_str().into()),
                    ("revpos", attachment.revpos.unwrap_or(0).into()),
                    ("length", data.length.into()),
                    ("stub", true.into()),
                ])),
            };
            Some((attachment.name.clone(), stub.into_owned()))
        })
        .collect();
    if !attachments.is_empty() {
        members.push(("_attachments".to_owned(), Json::Obj(attachments)));
    }
    Json::Obj(members)
}
