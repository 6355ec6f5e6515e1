//! Design documents with functions in JavaScript.

use md5::{Digest as _, Md5};
use rusqlite::Connection;

use super::{app::App, design_form};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases::{self, Database},
        documents::{self, NewDoc},
        partitions,
    },
};

/// A design document.
pub(crate) struct Design {
    pub(crate) id: String,
    pub(crate) rev: String,
    /// The document with `_id` and `_rev`.
    pub(crate) body: Json,
}

/// A view: the functions that make its rows and reduce them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) map: String,
    pub(crate) reduce: Option<String>,
}

/// Reads a design document.
///
/// # Errors
/// 404 if it is missing or deleted.
pub(crate) fn read(conn: &Connection, db: &Database, id: &str) -> Result<Design, ApiError> {
    let row = documents::find(conn, db.id, id)?.ok_or_else(ApiError::missing)?;
    let body_row = row
        .body
        .filter(|_| !row.deleted)
        .ok_or_else(ApiError::deleted)?;
    let text = documents::body(conn, body_row)?.text;
    let rendered = documents::render(id, &row.rev, false, &text, &[]);
    let body = Json::parse(rendered.as_bytes())
        .map_err(|_| ApiError::internal("a stored design document cannot be read"))?;
    Ok(Design {
        id: id.to_owned(),
        rev: row.rev,
        body,
    })
}

/// Opens a database and reads one of its design documents.
///
/// # Errors
/// 404 if one of them is missing or deleted.
pub(crate) async fn open(
    app: &App,
    name: String,
    id: String,
) -> Result<(Database, Design), ApiError> {
    app.store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            let design = read(conn, &db, &id)?;
            Ok((db, design))
        })
        .await
}

impl Design {
    pub(crate) fn language(&self) -> &str {
        let language = self.body.get("language").and_then(Json::as_str);
        language.unwrap_or("javascript")
    }

    /// Refuses another language than JavaScript.
    pub(crate) fn demand_javascript(&self) -> Result<(), ApiError> {
        match self.language() {
            "javascript" => Ok(()),
            other => Err(ApiError::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "unknown_query_language",
                other.to_owned(),
            )),
        }
    }

    /// The views, in the order of the document. Modules for their functions (`lib`) are none.
    pub(crate) fn views(&self) -> Vec<View> {
        views(self.body.get("views"))
    }

    fn option(&self, name: &str) -> bool {
        let options = self.body.get("options");
        options.and_then(|options| options.get(name)) == Some(&Json::Bool(true))
    }

    /// Whether the documents that the functions see have `_local_seq`.
    pub(crate) fn wants_local_seq(&self) -> bool {
        self.option("local_seq")
    }

    /// Whether design documents are mapped too.
    pub(crate) fn wants_designs(&self) -> bool {
        self.option("include_design")
    }

    /// Whether the rows of each partition are apart.
    pub(crate) fn is_partitioned(&self, db: &Database) -> bool {
        db.partitioned && partitions::is_for_one(&self.body)
    }

    /// What stands for the rows: it is equal for design documents with equal views.
    pub(crate) fn signature(&self) -> String {
        let part = |name: &str| self.body.get(name).cloned().unwrap_or(Json::Null);
        let parts = [part("views"), self.language().into(), part("options")];
        hex::encode(Md5::digest(Json::Arr(parts.to_vec()).to_string()))
    }

    /// The modules that functions of views can require.
    pub(crate) fn modules(&self) -> Json {
        let lib = self.body.get("views").and_then(|views| views.get("lib"));
        let lib = lib.cloned().unwrap_or_else(|| obj([]));
        obj([("views", obj([("lib", lib)]))])
    }

    /// The name of the realm in which functions run that see the whole document.
    pub(crate) fn realm(&self) -> String {
        format!("{} {}", self.id, self.rev)
    }
}

/// Refuses a design document that asks for partitions where there are none.
pub(crate) fn check_partitions(db: &Database, doc: &NewDoc) -> Result<(), ApiError> {
    if db.partitioned || !doc.id.starts_with("_design/") {
        return Ok(());
    }
    let options = doc.body.iter().find(|(name, _)| name == "options");
    match options.and_then(|(_, options)| options.get("partitioned")) {
        Some(Json::Bool(true)) => Err(ApiError::new(
            http::StatusCode::BAD_REQUEST,
            "invalid_design_doc",
            "partitioned option cannot be true in a non-partitioned database.",
        )),
        _ => Ok(()),
    }
}

fn views(views: Option<&Json>) -> Vec<View> {
    let views = views.and_then(Json::as_obj).unwrap_or_default();
    views
        .iter()
        .filter_map(|(name, view)| {
            let text = |key: &str| view.get(key).and_then(Json::as_str);
            Some(View {
                name: name.clone(),
                map: text("map")?.to_owned(),
                reduce: text("reduce").map(str::to_owned),
            })
        })
        .collect()
}

/// The reducers that are part of the server.
const BUILT_IN: [&str; 4] = ["_sum", "_count", "_stats", "_approx_count_distinct"];

/// Whether a reducer is part of the server. As in CouchDB, what begins with its name is.
pub(crate) fn built_in(reduce: &str) -> Option<&'static str> {
    BUILT_IN.into_iter().find(|name| reduce.starts_with(name))
}

/// Refuses a design document that has a wrong form, or whose views do not compile.
pub(crate) async fn check(app: &App, doc: &NewDoc) -> Result<(), ApiError> {
    let member = |key: &str| {
        doc.body
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    };
    if doc.id.starts_with("_design/") {
        design_form::check(&doc.body)?;
    }
    let language = member("language").and_then(Json::as_str);
    if !doc.id.starts_with("_design/")
        || doc.deleted
        || language.is_some_and(|it| it != "javascript")
    {
        return Ok(());
    }
    for view in views(member("views")) {
        if view.map.is_empty() {
            return Err(ApiError::new(
                http::StatusCode::NOT_FOUND,
                "not_found",
                "missing function",
            ));
        }
        compile(app, &view.map, "map", &view.name).await?;
        match &view.reduce {
            Some(reduce) if reduce.is_empty() => {
                return Err(ApiError::new(
                    http::StatusCode::NOT_FOUND,
                    "not_found",
                    "missing function",
                ));
            }
            Some(reduce) if built_in(reduce).is_none() => {
                if reduce.starts_with('_') {
                    return Err(ApiError::new(
                        http::StatusCode::BAD_REQUEST,
                        "invalid_design_doc",
                        format!("`{reduce}` is not a supported reduce function."),
                    ));
                }
                compile(app, reduce, "reduce", &view.name).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn compile(app: &App, source: &str, kind: &str, view: &str) -> Result<(), ApiError> {
    let request = obj([
        ("operation", "check".into()),
        ("functions", Json::Arr(vec![source.into()])),
    ]);
    match app.javascript.run(0, "check", request.to_string()).await {
        // Without JavaScript, design documents are only stored.
        Err(failure) if failure.status == http::StatusCode::NOT_IMPLEMENTED => Ok(()),
        Err(failure) if failure.error == "compilation_error" => Err(ApiError::new(
            http::StatusCode::BAD_REQUEST,
            "compilation_error",
            format!(
                "Compilation of the {kind} function in the '{view}' view failed: {}",
                failure.reason
            ),
        )),
        Err(failure) => Err(failure),
        Ok(_) => Ok(()),
    }
}
