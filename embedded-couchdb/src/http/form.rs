//! Uploads by an HTML form: `POST /{db}/{id}`.

use http::{StatusCode, header};
use url::Url;

use super::{
    app::App, document::stored, incoming, multipart, request::ApiRequest, response::ApiResponse,
    writing,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        attachment_data::Data,
        databases,
        documents::{self, Attachment, NewAttachment, NewDoc, Origin},
        revtree::Rev,
    },
};

/// The fields of the form.
#[derive(Default)]
struct Form {
    /// `_doc`: the whole document.
    doc: Option<Json>,
    /// `_rev`: the revision of the stored document that gets the files.
    rev: Option<Rev>,
    /// `_attachments`
    files: Vec<NewAttachment>,
}

/// Stores the document of the form, or the stored one, with the files of the form.
pub(crate) async fn post_form(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    incoming::check_id(&id)?;
    check_referer(request)?;
    let content_type = request.header(header::CONTENT_TYPE).unwrap_or_default();
    if !content_type.starts_with("multipart/form-data") {
        return Err(ApiError::bad_content_type(
            "Content-Type must be multipart/form-data",
        ));
    }
    let Form { doc, rev, files } = parse(content_type, &request.body()?)?;
    let whole = doc
        .map(|json| incoming::parse(json)?.into_edit(id.clone()))
        .transpose()?;
    let database = name.clone();
    let mut new = match (whole, rev) {
        (Some(whole), _) => whole,
        (None, None) => {
            return Err(ApiError::bad_request(
                "the form has neither the field _doc nor the field _rev",
            ));
        }
        (None, Some(rev)) => {
            app.store
                .read(move |conn| {
                    let db = databases::open(conn, &database)?;
                    let row = documents::find(conn, db.id, &id)?.ok_or_else(ApiError::missing)?;
                    let (members, attachments) = stored(conn, &row, &rev)?;
                    Ok(NewDoc {
                        id,
                        deleted: false,
                        body: members,
                        attachments: attachments.iter().map(Attachment::kept).collect(),
                        history: vec![rev],
                    })
                })
                .await?
        }
    };
    new.attachments
        .retain(|old| files.iter().all(|file| file.name != old.name));
    new.attachments.splice(0..0, files);
    let id = new.id.clone();
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    let response = obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]);
    Ok(ApiResponse::json(StatusCode::CREATED, &response).with(header::ETAG, format!("\"{rev}\"")))
}

/// A page of another site could send a form with the cookie of this one.
pub(crate) fn check_referer(request: &ApiRequest) -> Result<(), ApiError> {
    let referer = request
        .header(header::REFERER)
        .ok_or_else(|| ApiError::bad_request("Referer header required."))?;
    let host = request.header(header::HOST).unwrap_or_default();
    let same = Url::parse(referer).is_ok_and(|url| {
        let from = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => host.eq_ignore_ascii_case(&format!("{from}:{port}")),
            None => host.eq_ignore_ascii_case(from),
        }
    });
    if same {
        Ok(())
    } else {
        Err(ApiError::bad_request("Referer header must match host."))
    }
}

fn parse(content_type: &str, body: &[u8]) -> Result<Form, ApiError> {
    let mut form = Form::default();
    for (head, data) in multipart::parse(content_type, body)? {
        let line = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let disposition = line("content-disposition").unwrap_or_default();
        match parameter(disposition, "name") {
            Some("_doc") => {
                let json = Json::parse(data).map_err(|_| ApiError::bad_json())?;
                if json.as_obj().is_none() {
                    return Err(ApiError::bad_request("Document must be a JSON object"));
                }
                form.doc = Some(json);
            }
            Some("_rev") => {
                let text = std::str::from_utf8(data).unwrap_or_default();
                form.rev = Some(Rev::parse(text.trim())?);
            }
            // A browser sends a field without a file as one without a name.
            Some("_attachments") => {
                let name = parameter(disposition, "filename").unwrap_or_default();
                if let (false, Some(content_type)) = (name.is_empty(), line("content-type")) {
                    incoming::check_attachment_name(name)?;
                    form.files.push(NewAttachment {
                        name: name.to_owned(),
                        content_type: content_type.to_owned(),
                        revpos: None,
                        data: Some(Data::plain(content_type, data.to_vec())?),
                    });
                }
            }
            _ => {}
        }
    }
    Ok(form)
}

fn parameter<'a>(disposition: &'a str, name: &str) -> Option<&'a str> {
    disposition.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}
