//! Routing of requests by path. The parameters of each route are in the table of `tests/parameters.rs`, which is walked
//! through for this server and for CouchDB.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::{
    access::{self, Access},
    all_docs,
    app::App,
    attachments, bulk, bulk_get, cluster, database, db_updates, design_info, document, feed, find,
    functions, index, local, partitions,
    request::ApiRequest,
    response::ApiResponse,
    root, search, session,
    users::{self, USERS},
    views,
};
use crate::{
    api_error::ApiError,
    storage::{databases, partitions as stored_partitions},
};

/// Routes the request of a caller that is authenticated.
pub(crate) async fn route(app: &Arc<App>, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let answer = routed(app, request).await;
    if request.sent_body.is_empty() || !is_body_unread(request, answer.as_ref().err()) {
        return answer;
    }
    let response = answer.unwrap_or_else(|failure| ApiResponse::from_error(&failure));
    Ok(response.with(header::CONNECTION, "close"))
}

/// Whether CouchDB answers before it reads the body. Then it closes the connection.
fn is_body_unread(request: &ApiRequest, failure: Option<&ApiError>) -> bool {
    let is_signal = matches!(
        request.path.get(1).map(String::as_str),
        Some("_compact" | "_view_cleanup" | "_ensure_full_commit" | "_sync_shards")
    );
    if is_signal || !matches!(request.method, Method::POST | Method::PUT) {
        return true;
    }
    failure.is_some_and(|failure| {
        let is_early = [
            "file_exists",
            "illegal_database_name",
            "illegal_docid",
            "not_found",
        ];
        let is_attachment = request.method == Method::PUT
            && request.path.len() > 2
            && request.path.get(1).is_some_and(|id| !id.starts_with('_'));
        if is_attachment {
            return true;
        }
        matches!(
            failure.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::SERVICE_UNAVAILABLE
        ) || is_early.contains(&failure.error.as_ref())
    })
}

async fn routed(app: &Arc<App>, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let segments = request.segments();
    let segments = segments.as_slice();
    let first = segments.first().copied().unwrap_or_default();
    if first.is_empty() {
        return root::welcome(app, request);
    }
    match first {
        "_session" => return session::session(app, request).await,
        "_up" => return root::up(request),
        "_uuids" => return root::uuids(request),
        "favicon.ico" => return root::favicon(request),
        "_utils" => {
            cluster::only_reads_of(request, "GET,HEAD")?;
            return Err(ApiError::not_implemented(
                "Fauxton, CouchDB's web interface, is not part of this server",
            ));
        }
        "_search_analyze" | "_nouveau_analyze" if segments.len() == 1 => {
            return search::analyze(request, first);
        }
        _ => {}
    }
    if let Some(response) = root::server_level(app, request, segments).await? {
        return Ok(response);
    }
    if first == "_db_updates" {
        return db_updates::db_updates(app, request).await;
    }
    if first.starts_with('_')
        && !["_users", "_replicator", "_global_changes"].contains(&first)
        && !request.caller.is_admin()
    {
        return Err(access::not_server_admin());
    }
    let name = first.to_owned();
    access::check_route(&request.caller, &request.method, segments)?;
    if !request.caller.is_admin() {
        check_member(app, request, &name, segments).await?;
    } else if segments.len() > 1 && !request.sent_body.is_empty() {
        // That a database is missing is told before anything about the body.
        let opened = name.clone();
        app.store
            .read(move |conn| databases::open(conn, &opened))
            .await?;
    }
    if let Some(target) = design_target(request) {
        let opened = name.clone();
        app.store
            .read(move |conn| databases::open(conn, &opened))
            .await?;
        let moved = ApiResponse::text(StatusCode::MOVED_PERMANENTLY, String::new());
        return Ok(moved.with(header::LOCATION, target));
    }
    in_database(app, request, segments, name).await
}

/// Where a design document is whose id came as one segment of the path, when it is to be read.
fn design_target(request: &ApiRequest) -> Option<String> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut segments = request.raw_path.split('/').filter(|it| !it.is_empty());
    let (database, document) = (segments.next()?, segments.next()?);
    let (group, name) = document.split_once('%')?;
    let name = name
        .strip_prefix("2F")
        .or_else(|| name.strip_prefix("2f"))?;
    if group != "_design" {
        return None;
    }
    let mut target = format!("{}/{database}/_design/{name}", request.base());
    for segment in segments {
        target.push('/');
        target.push_str(segment);
    }
    if !request.raw_query.is_empty() {
        target.push('?');
        target.push_str(&request.raw_query);
    }
    Some(target)
}

/// Refuses a request for a database of which the caller is no member, or for a document that it must not see.
async fn check_member(
    app: &App,
    request: &ApiRequest,
    name: &str,
    segments: &[&str],
) -> Result<(), ApiError> {
    let (opened, caller) = (name.to_owned(), request.caller.clone());
    let access = app
        .store
        .read(move |conn| Access::of(&caller, &databases::open(conn, &opened)?))
        .await?;
    match segments {
        [_, "_compact" | "_view_cleanup", ..] if !access.is_database_admin() => {
            Err(ApiError::unauthorized("You are not a server or db admin."))
        }
        [_, "_security" | "_revs_limit"] if request.method == Method::PUT => access.demand_admin(),
        [USERS, "_design", ddoc, ..] => {
            users::check_read(&request.caller, &format!("_design/{ddoc}"))
        }
        [USERS, id, ..] if !id.starts_with('_') || id.starts_with("_design/") => {
            users::check_read(&request.caller, id)
        }
        _ => Ok(()),
    }
}

async fn in_database(
    app: &Arc<App>,
    request: &ApiRequest,
    segments: &[&str],
    name: String,
) -> Result<ApiResponse, ApiError> {
    match segments {
        [_] => database::database(app, request, name).await,
        [_, "_all_docs"] => {
            all_docs::all_docs(app, request, name, all_docs::DocumentSet::Documents).await
        }
        [_, "_all_docs", "queries"] => {
            all_docs::queries(app, request, name, all_docs::DocumentSet::Documents).await
        }
        [_, "_design_docs"] => {
            all_docs::all_docs(app, request, name, all_docs::DocumentSet::Designs).await
        }
        [_, "_design_docs", "queries"] => {
            all_docs::queries(app, request, name, all_docs::DocumentSet::Designs).await
        }
        [_, "_local_docs"] => {
            all_docs::all_docs(app, request, name, all_docs::DocumentSet::Locals).await
        }
        [_, "_local_docs", "queries"] => {
            all_docs::queries(app, request, name, all_docs::DocumentSet::Locals).await
        }
        [_, "_bulk_docs"] => bulk::bulk_docs(app, request, name).await,
        [_, "_bulk_get"] => bulk_get::bulk_get(app, request, name).await,
        [_, "_revs_diff"] => bulk::revs_diff(app, request, name, bulk::MissingFormat::Diff).await,
        [_, "_missing_revs"] => {
            bulk::revs_diff(app, request, name, bulk::MissingFormat::Missing).await
        }
        [_, "_purge"] => bulk::purge(app, request, name).await,
        [_, "_changes", ..] => feed::changes(app, request, name).await,
        [_, "_find", ..] => find::find(app, request, name, request.query.get("partition")).await,
        [_, "_explain", ..] => find::explain(app, request, name, None).await,
        [_, "_partition", path @ ..] => partitions::partition(app, request, name, path).await,
        [_, "_index", rest @ ..] => index::index(app, request, name, rest).await,
        [_, "_local"] => Err(local::invalid_id()),
        [_, "_local", id] => local::local(app, request, name, format!("_local/{id}")).await,
        [_, "_local", ..] => Err(ApiError::bad_request(
            "_local documents do not accept attachments.",
        )),
        [_, id] if id.starts_with("_local/") => {
            local::local(app, request, name, (*id).to_owned()).await
        }
        [_, "_design", ddoc] => {
            document::document(app, request, name, format!("_design/{ddoc}")).await
        }
        [_, "_design", ddoc, rest @ ..] => design_part(app, request, name, ddoc, rest).await,
        [_, special, ..] if special.starts_with('_') && !special.starts_with("_design/") => {
            database::special(app, request, name, segments).await
        }
        [_, id] => {
            let answer = document::document(app, request, name.clone(), (*id).to_owned()).await;
            as_partitioned(app, name, id, answer).await
        }
        [_, id, attachment @ ..] => {
            let (of, id) = (name.clone(), (*id).to_owned());
            let answer =
                attachments::attachment(app, request, of, id.clone(), attachment.join("/")).await;
            as_partitioned(app, name, &id, answer).await
        }
        [] => Err(ApiError::missing()),
    }
}

/// The answer about a document of a database that may be partitioned: a document whose id it does not take is not just
/// missing.
async fn as_partitioned(
    app: &App,
    name: String,
    id: &str,
    answer: Result<ApiResponse, ApiError>,
) -> Result<ApiResponse, ApiError> {
    if !matches!(&answer, Err(failure) if failure.status == StatusCode::NOT_FOUND) {
        return answer;
    }
    let id = id.to_owned();
    app.store
        .read(move |conn| stored_partitions::check_id(&databases::open(conn, &name)?, &id))
        .await?;
    answer
}

/// What is below a design document.
pub(crate) async fn design_part(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    ddoc: &str,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    let id = format!("_design/{ddoc}");
    match rest {
        ["_info"] => design_info::design_info(app, request, name, id).await,
        ["_view", view @ ..] => views::view(app, request, name, id, view).await,
        ["_show", rest @ ..] => {
            functions::call(app, request, name, id, functions::Kind::Show, rest).await
        }
        ["_update", rest @ ..] => {
            functions::call(app, request, name, id, functions::Kind::Update, rest).await
        }
        [
            function @ ("_search" | "_search_info" | "_search_disk_size" | "_nouveau"
            | "_nouveau_info"),
            rest @ ..,
        ] => search::search(app, request, name, id, function, rest).await,
        [function @ ("_list" | "_rewrite"), ..] => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Err(ApiError::not_implemented(format!(
                "{function} is not part of this server; use views, show and update functions, or _find"
            )))
        }
        rest => attachments::attachment(app, request, name, id, rest.join("/")).await,
    }
}
