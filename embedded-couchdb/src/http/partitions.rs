//! `/{db}/_partition/{partition}…`

use std::sync::Arc;

use http::Method;

use super::{
    all_docs::{self, DocumentSet},
    app::App,
    find, index,
    request::ApiRequest,
    response::ApiResponse,
    route,
};
use crate::{
    api_error::ApiError,
    json::obj,
    storage::{
        databases::{self, Database},
        documents, partitions,
    },
};

/// `/{db}/_partition/{partition}…`; `path` follows `_partition`.
pub(crate) async fn partition(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    path: &[&str],
) -> Result<ApiResponse, ApiError> {
    let opened = name.clone();
    let db = app
        .store
        .read(move |conn| databases::open(conn, &opened))
        .await?;
    let [partition, rest @ ..] = path else {
        return Err(ApiError::bad_request("invalid_partition_req"));
    };
    if !db.partitioned {
        return Err(ApiError::bad_request("database is not partitioned"));
    }
    partitions::check_name(partition)?;
    let documents = DocumentSet::Documents;
    match rest {
        [] => info(app, request, db, (*partition).to_owned()).await,
        ["_all_docs"] => {
            all_docs::all_docs(app, &within(request, partition)?, name, documents).await
        }
        ["_all_docs", "queries"] => {
            all_docs::queries(app, &within(request, partition)?, name, documents).await
        }
        ["_find"] => find::find(app, request, name, Some(partition)).await,
        ["_explain"] => find::explain(app, request, name, Some(partition)).await,
        ["_index", rest @ ..] => index::index(app, request, name, rest).await,
        ["_design", ddoc, function, ..] if function.starts_with('_') => {
            let rest = path.get(3..).unwrap_or_default();
            route::design_part(app, &within(request, partition)?, name, ddoc, rest).await
        }
        _ => Err(ApiError::missing()),
    }
}

/// The request with the partition as a parameter.
fn within(request: &ApiRequest, partition: &str) -> Result<ApiRequest, ApiError> {
    let mut within = request.clone();
    match request.query.get("partition") {
        None => within.query.push("partition", partition.to_owned()),
        Some(named) if named == partition => {}
        Some(_) => {
            return Err(ApiError::bad_request(
                "Conflicting value for `partition` in query string",
            ));
        }
    }
    Ok(within)
}

async fn info(
    app: &App,
    request: &ApiRequest,
    db: Database,
    partition: String,
) -> Result<ApiResponse, ApiError> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed("GET"));
    }
    let (id, wanted) = (db.id, partition.clone());
    let counts = app
        .store
        .read(move |conn| documents::counts_of_partition(conn, id, &wanted))
        .await?;
    Ok(ApiResponse::ok(&obj([
        ("db_name", db.name.into()),
        (
            "sizes",
            obj([
                ("active", counts.bytes.into()),
                ("external", counts.bytes.into()),
            ]),
        ),
        ("partition", partition.into()),
        ("doc_count", counts.documents.into()),
        ("doc_del_count", counts.deleted.into()),
    ])))
}
