//! Which path is answered by what.

use std::sync::Arc;

use super::{
    App, all_docs, answer::Answer, attachments, auth, auth::Caller, bulk, call::Call, database,
    document, feed, find, local, root,
};
use crate::{failure::Failure, storage::databases};

/// Finds what answers a request, having asked who sends it.
pub(crate) async fn route(app: &Arc<App>, call: &Call) -> Result<Answer, Failure> {
    let caller = app.auth.caller(call)?;
    let segments = call.segments();
    let segments = match segments.as_slice() {
        // A trailing slash is no segment of its own.
        [front @ .., ""] if !front.is_empty() => front,
        all => all,
    };
    let first = segments.first().copied().unwrap_or_default();
    if first.is_empty() {
        return root::welcome(app, call);
    }
    match first {
        "_session" => return auth::session(app, call, caller),
        "_up" => return root::up(call),
        "_uuids" => return root::uuids(call),
        "favicon.ico" => return root::favicon(),
        "_utils" => {
            return Err(Failure::not_implemented(
                "Fauxton, CouchDB's web interface, is not part of this server",
            ));
        }
        _ => {}
    }
    let admin = caller != Caller::Nobody;
    if let Some(answer) = root::server_level(app, call, segments, admin).await? {
        return Ok(answer);
    }
    let name = first.to_owned();
    if !admin {
        return refuse(app, call, segments, name).await;
    }
    in_database(app, call, segments, name).await
}

/// What a stranger hears: the same as from a CouchDB that has an administrator.
async fn refuse(
    app: &App,
    call: &Call,
    segments: &[&str],
    name: String,
) -> Result<Answer, Failure> {
    if segments.len() == 1 && matches!(call.method.as_str(), "PUT" | "DELETE") {
        return Err(Failure::unauthorized("You are not a server admin."));
    }
    app.store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    Err(Failure::unauthorized(
        "You are not authorized to access this db.",
    ))
}

async fn in_database(
    app: &Arc<App>,
    call: &Call,
    segments: &[&str],
    name: String,
) -> Result<Answer, Failure> {
    match segments {
        [_] => database::database(app, call, name).await,
        [_, "_all_docs"] => all_docs::all_docs(app, call, name, all_docs::Part::Documents).await,
        [_, "_all_docs", "queries"] => {
            all_docs::queries(app, call, name, all_docs::Part::Documents).await
        }
        [_, "_design_docs"] => all_docs::all_docs(app, call, name, all_docs::Part::Designs).await,
        [_, "_design_docs", "queries"] => {
            all_docs::queries(app, call, name, all_docs::Part::Designs).await
        }
        [_, "_local_docs"] => all_docs::all_docs(app, call, name, all_docs::Part::Locals).await,
        [_, "_local_docs", "queries"] => {
            all_docs::queries(app, call, name, all_docs::Part::Locals).await
        }
        [_, "_bulk_docs"] => bulk::bulk_docs(app, call, name).await,
        [_, "_bulk_get"] => bulk::bulk_get(app, call, name).await,
        [_, "_revs_diff"] => bulk::revs_diff(app, call, name, bulk::Reply::Diff).await,
        [_, "_missing_revs"] => bulk::revs_diff(app, call, name, bulk::Reply::Missing).await,
        [_, "_purge"] => bulk::purge(app, call, name).await,
        [_, "_changes"] => feed::changes(app, call, name).await,
        [_, "_find"] => find::find(app, call, name).await,
        [_, "_explain"] => find::explain(app, call, name).await,
        [_, "_index", rest @ ..] => find::index(app, call, name, rest).await,
        [_, "_local", rest @ ..] if !rest.is_empty() => {
            local::local(app, call, name, format!("_local/{}", rest.join("/"))).await
        }
        [_, id] if id.starts_with("_local/") => {
            local::local(app, call, name, (*id).to_owned()).await
        }
        [_, "_design", ddoc] => {
            document::document(app, call, name, format!("_design/{ddoc}")).await
        }
        [_, "_design", ddoc, rest @ ..] => design_part(app, call, name, ddoc, rest).await,
        [_, special, ..] if special.starts_with('_') && !special.starts_with("_design/") => {
            database::special(app, call, name, segments).await
        }
        [_, id] => document::document(app, call, name, (*id).to_owned()).await,
        [_, id, attachment @ ..] => {
            attachments::attachment(app, call, name, (*id).to_owned(), attachment.join("/")).await
        }
        [] => Err(Failure::missing()),
    }
}

async fn design_part(
    app: &Arc<App>,
    call: &Call,
    name: String,
    ddoc: &str,
    rest: &[&str],
) -> Result<Answer, Failure> {
    let id = format!("_design/{ddoc}");
    match rest {
        ["_info"] => find::design_info(app, call, name, id).await,
        ["_view", view, ..] => {
            let view = (*view).to_owned();
            find::missing_view(app, name, id, view).await?;
            Err(no_javascript("view"))
        }
        [
            function @ ("_show" | "_list" | "_update" | "_rewrite" | "_search" | "_nouveau"),
            ..,
        ] => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Err(no_javascript(function.trim_start_matches('_')))
        }
        rest => attachments::attachment(app, call, name, id, rest.join("/")).await,
    }
}

fn no_javascript(kind: &str) -> Failure {
    Failure::not_implemented(format!(
        "this server stores design documents but runs no JavaScript, so a {kind} function cannot be answered; \
         use _all_docs, _find or _changes"
    ))
}
