//! The guarantees of every mutation: with `validate_only` it changes nothing; sent twice with one `request_id` it is
//! executed once; with an outdated etag it is refused.
//!
//! The table has a row for each method of the instance service whose response is an operation. A new method without a
//! row fails the test.

use std::collections::BTreeSet;

use hamlet_proto::google::longrunning::{Operation, operation};
use hamlet_tests::{daemon::Options, database::Database, grpc::Door};
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};
use test_kit::eventually;
use tonic::Code;
use tonic_types::StatusExt as _;

const SERVICE: &str = "hamlet.instance.v1.InstanceService";

/// A mutation and its preconditions.
struct Row {
    method: &'static str,
    request: Value,
    /// The methods and requests that prepare the state.
    before: Vec<(&'static str, Value)>,
    /// The path of the etag in the request, if it takes one.
    etag: Option<&'static str>,
}

const NAME: &str = "instances/a.localhost";

fn named() -> Value {
    json!({ "name": NAME })
}

fn table() -> Vec<Row> {
    let create = (
        "CreateInstance",
        json!({"instance": {"domain": "a.localhost"}}),
    );
    let exists = || vec![create.clone()];
    let after = |method, request| vec![create.clone(), (method, request)];
    let row = |method, request, before, etag| Row {
        method,
        request,
        before,
        etag,
    };
    vec![
        row(create.0, create.1.clone(), vec![], None),
        row(
            "UpdateInstance",
            json!({
                "instance": {
                    "name": NAME, "public_name": "Alice", "domain_aliases": ["b.localhost"],
                },
                "update_mask": "publicName,domainAliases",
            }),
            exists(),
            Some("/instance/etag"),
        ),
        row(
            "BlockInstance",
            json!({"name": NAME, "reason": "PAYMENT_FAILED"}),
            exists(),
            Some("/etag"),
        ),
        row(
            "UnblockInstance",
            named(),
            after("BlockInstance", json!({"name": NAME, "reason": "OWN"})),
            Some("/etag"),
        ),
        row("DeleteInstance", named(), exists(), Some("/etag")),
        row(
            "UndeleteInstance",
            named(),
            after("DeleteInstance", json!({"name": NAME, "keep": "3600s"})),
            Some("/etag"),
        ),
        row("RotateRegisterLink", named(), exists(), Some("/etag")),
        row(
            "SetPassphrase",
            json!({"name": NAME, "passphrase": "a passphrase of some length"}),
            exists(),
            Some("/etag"),
        ),
        row("CleanSessions", named(), exists(), None),
        row(
            "CreateResetLink",
            named(),
            after(
                "SetPassphrase",
                json!({"name": NAME, "passphrase": "a passphrase of some length"}),
            ),
            Some("/etag"),
        ),
        row("RevokeTokens", named(), exists(), Some("/etag")),
        row("PurgeOrphans", json!({}), exists(), None),
    ]
}

fn with(request: &Value, pointer: &str, value: Value) -> Value {
    let mut request = request.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    request.pointer_mut(parent).unwrap()[field] = value;
    request
}

/// An installation on a database that the test inspects.
struct World {
    database: Database,
    door: Door,
}

impl World {
    /// All documents of all databases with their revisions, once the last write of every operation is done. That write
    /// follows the operation's response: it frees the instance.
    async fn state(&self) -> Vec<(String, Vec<Value>)> {
        let ended = [json!("succeeded"), json!("failed")];
        let is_running = |operation: &Value| !ended.contains(&operation["phase"]);
        eventually("the last write of every operation", async || {
            let operations = "global/hamlet-operations";
            let mut unfinished = self.database.plain_documents(operations).await;
            unfinished.retain(is_running);
            let records = self
                .database
                .plain_documents("global/hamlet-instances")
                .await;
            unfinished.extend(
                records
                    .into_iter()
                    .filter(|it| it.get("operation").is_some()),
            );
            if unfinished.is_empty() {
                Ok(())
            } else {
                Err(unfinished)
            }
        })
        .await;
        let mut state = Vec::new();
        for name in self.database.databases().await {
            let documents = self.database.documents(&name).await;
            state.push((name, documents));
        }
        state
    }

    async fn ask(&self, method: &str, request: &Value) -> Result<Operation, tonic::Status> {
        let method = format!("{SERVICE}/{method}");
        self.door.operation(&method, request).await
    }

    /// Calls the method, waits until the operation has succeeded, and returns its name.
    async fn done(&self, method: &str, request: &Value) -> String {
        let asked = self.ask(method, request).await.unwrap();
        let ended = self.door.end_of(&asked.name).await.unwrap();
        assert!(
            matches!(ended.result, Some(operation::Result::Response(_))),
            "{method}: {ended:?}"
        );
        asked.name
    }
}

async fn try_row(row: &Row) {
    let database = Database::embedded().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--couchdb={}", database.url()))
        .start();
    let door = Door::open(&daemon).await;
    let world = World { database, door };
    let method = row.method;
    for (method, request) in &row.before {
        world.done(method, request).await;
    }
    let before = world.state().await;

    let checked = with(&row.request, "/validate_only", json!(true));
    let checked = world.ask(method, &checked).await.unwrap();
    assert!(
        checked.done && checked.name.is_empty(),
        "{method}: {checked:?}"
    );
    assert_eq!(world.state().await, before, "{method} with validate_only");

    if let Some(etag) = row.etag {
        let stale = with(&row.request, etag, json!("of another state"));
        let refused = world.ask(method, &stale).await.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted, "{method}: {refused:?}");
        let reason = refused.get_details_error_info().unwrap().reason;
        assert_eq!(reason, "ETAG_MISMATCH", "{method}");
        assert_eq!(world.state().await, before, "{method} with a stale etag");
    }

    let once = with(&row.request, "/request_id", json!("asked-twice"));
    let first = world.done(method, &once).await;
    let after = world.state().await;
    assert_ne!(after, before, "{method}");
    assert_eq!(world.done(method, &once).await, first, "{method}");
    assert_eq!(world.state().await, after, "{method} asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_supports_dry_runs_request_ids_and_etags() {
    let contracts = DescriptorPool::decode(hamlet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = contracts.get_service_by_name(SERVICE).unwrap();
    let promised: BTreeSet<String> = service
        .methods()
        .filter(|method| method.output().full_name() == "google.longrunning.Operation")
        .map(|method| method.name().to_owned())
        .collect();
    let table = table();
    let tried = table.iter().map(|row| row.method.to_owned()).collect();
    assert_eq!(promised, tried, "each mutation has a row");
    for row in &table {
        let input = service
            .methods()
            .find(|method| method.name() == row.method)
            .unwrap()
            .input();
        let takes_etag =
            input.get_field_by_name("etag").is_some() || row.method == "UpdateInstance";
        assert_eq!(takes_etag, row.etag.is_some(), "{}", row.method);
        try_row(row).await;
    }
}
