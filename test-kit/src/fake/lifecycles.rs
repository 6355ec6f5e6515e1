//! Fakes of `FilesLifecycleService` and `AppsLifecycleService`. They create their databases, and count contents.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use couch::{Couch, CouchConfig, DbName};
use hamlet_proto::hamlet::{
    apps::v1 as apps,
    files::v1::{self as files, PreparedDatabase},
};
use service_kit::caller::Caller;
use tonic::{Request, Status};

use super::Fake;

/// The fake content store: the number of objects by the prefix of their instance.
pub type Contents = Arc<Mutex<BTreeMap<String, i64>>>;

/// Adds the answers of both services to `fake`. Their databases are on this server. The fake files service owns all of
/// `contents`; the fake apps service owns none.
///
/// # Panics
/// When the database settings are invalid.
pub fn play(fake: &Fake, database: &CouchConfig, contents: &Contents) {
    // A separate client, because connections belong to the runtime of the fake.
    let couch = Couch::connect(database).expect("the settings of a database");
    make_databases(fake, &couch);
    fake.answer(|_: Request<files::CreateDefaultDirectoriesRequest>| {
        Ok(files::CreateDefaultDirectoriesResponse::default())
    });
    keep_contents(fake, contents);
}

fn make_databases(fake: &Fake, couch: &Couch) {
    let server = couch.clone();
    fake.answer_later(move |request: Request<files::PrepareDatabasesRequest>| {
        let server = server.clone();
        async move {
            let doctypes = ["io.cozy.files", "io.cozy.files.versions"];
            let made = make(&server, &request, &doctypes).await?;
            let databases = made
                .into_iter()
                .map(|name| PreparedDatabase { name, documents: 0 });
            Ok(files::PrepareDatabasesResponse {
                databases: databases.collect(),
            })
        }
    });
    let server = couch.clone();
    fake.answer_later(move |request: Request<apps::PrepareDatabasesRequest>| {
        let server = server.clone();
        async move {
            let doctypes = ["io.cozy.apps", "io.cozy.konnectors", "io.cozy.permissions"];
            let made = make(&server, &request, &doctypes).await?;
            let databases = made
                .into_iter()
                .map(|name| apps::PreparedDatabase { name, documents: 0 });
            Ok(apps::PrepareDatabasesResponse {
                databases: databases.collect(),
            })
        }
    });
}

async fn make<T>(
    couch: &Couch,
    request: &Request<T>,
    doctypes: &[&str],
) -> Result<Vec<String>, Status> {
    let caller = Caller::of(request)?;
    caller.require_internal()?;
    let prefix = &caller.tenant()?.prefix;
    let mut made = Vec::new();
    for doctype in doctypes {
        let name = DbName::instance(prefix, doctype).expect("a name of a database");
        couch
            .create_database(&name)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        made.push(name.as_str().to_owned());
    }
    Ok(made)
}

fn keep_contents(fake: &Fake, contents: &Contents) {
    let kept = Arc::clone(contents);
    fake.answer(move |request: Request<files::PurgeContentsRequest>| {
        let prefix = &Caller::of(&request)?.tenant()?.prefix;
        let removed = lock(&kept).remove(prefix);
        Ok(files::PurgeContentsResponse {
            objects: removed.unwrap_or_default(),
        })
    });
    let kept = Arc::clone(contents);
    fake.stream(move |request: Request<files::ListContentsRequest>| {
        // A call with a tenant concerns only the contents of that instance.
        let caller = Caller::of(&request)?;
        let only = caller.tenant().ok().map(|tenant| tenant.prefix.clone());
        let kept = lock(&kept).clone();
        let listed = kept
            .into_iter()
            .filter(move |(prefix, _)| only.as_ref().is_none_or(|only| only == prefix))
            .map(|(prefix, objects)| {
                Ok(files::Contents {
                    prefix,
                    objects,
                    ..files::Contents::default()
                })
            });
        Ok(tokio_stream::iter(listed))
    });
    fake.answer(|_: Request<apps::PurgeContentsRequest>| {
        Ok(apps::PurgeContentsResponse { objects: 0 })
    });
    fake.stream(|_: Request<apps::ListContentsRequest>| {
        Ok(tokio_stream::empty::<Result<apps::Contents, Status>>())
    });
}

fn lock(contents: &Contents) -> std::sync::MutexGuard<'_, BTreeMap<String, i64>> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}
