//! Hamlet beside other software on one database: what that makes, changes and destroys is followed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::{net::SocketAddr, time::Duration};

use couch::{Couch, DbName, Document};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hamlet_proto::google::longrunning::ListOperationsRequest;
use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, CountInstancesRequest, DeleteInstanceRequest, DeleteInstanceResult,
    Instance, ListConflictsRequest, ListInstancesRequest, NameConflict,
    resolve_host_response::HostState,
};
use instance_svc::{Config, operations::failpoints::Failpoints};
use serde_json::{Map, Value, json};
use service_kit::{caller::for_tenant, status};
use test_kit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::Code;

use crate::support::{Replica, World, changes::response, config, failure, hasty, progress};

/// The instance of other software with this number.
fn document(number: usize) -> Value {
    json!({
        "domain": format!("n{number}.example:8080"), "domain_aliases": [format!("alias{number}.example")],
        "old_domain": format!("was{number}.example"), "prefix": format!("cozyn{number}"), "locale": "fr",
        "onboarding_finished": true, "password_defined": true
    })
}

/// Makes an instance as other software does: databases, then the document.
async fn make(world: &World, id: &str, document: Value) {
    world.make_a_database_for(&document).await;
    world.put("instances", id, document).await;
}

async fn make_many(world: &World, count: usize) {
    world
        .couch
        .create_database(&DbName::global("instances").unwrap())
        .await
        .unwrap();
    stream::iter(0..count)
        .for_each_concurrent(16, async |number| {
            make(world, &format!("{number:08}"), document(number)).await;
        })
        .await;
}

/// Destroys an instance as other software does: databases, then the document.
async fn destroy(world: &World, domain: &str) {
    let found = world.documents(domain).await;
    let prefix = found.instance["prefix"].as_str().unwrap().to_owned();
    destroy_on(&world.couch, &found.id, &prefix).await;
}

async fn destroy_on(couch: &Couch, id: &str, prefix: &str) {
    let instances = couch.database(&DbName::global("instances").unwrap());
    let below = format!("{prefix}/");
    for database in couch.databases_with_prefix(&below).await.unwrap() {
        let name = DbName::new(database).unwrap();
        couch.delete_database(&name).await.unwrap();
    }
    let found: Document<Map<String, Value>> = instances.get(id).await.unwrap().unwrap();
    let written = instances.delete(id, &found.rev).await.unwrap();
    assert!(written.committed().is_some());
}

async fn listed(replica: &Replica) -> usize {
    let mut instances = replica.instances.clone();
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let page = instances.list_instances(ListInstancesRequest {
            page_size: 1000,
            page_token,
            ..ListInstancesRequest::default()
        });
        let page = page.await.unwrap().into_inner();
        listed += page.instances.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return listed;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn design_documents_of_others_are_left_as_they_are() {
    let world = World::new().await;
    let instances = DbName::global("instances").unwrap();
    world.couch.create_database(&instances).await.unwrap();
    let view = |map: &str| json!({"language": "javascript", "views": {"domain-and-aliases": {"map": map}}});
    let id = "_design/domain-and-aliases";
    world
        .put(
            "instances",
            id,
            view("function (doc) { emit(doc.domain); }"),
        )
        .await;
    let database = world.couch.database(&instances);
    for round in 0..3 {
        let before: Document<Value> = database.get(id).await.unwrap().unwrap();
        let replica = world.replica("one", Failpoints::default()).await;
        let domain = format!("a{round}.example");
        assert_eq!(failure(&replica.create(&domain).await.unwrap()), None);
        assert_eq!(database.get(id).await.unwrap().unwrap(), before);
        replica.stop().await;
        // Its owner brings its own up to date, with others of ours.
        for id in [id, "_design/by-oidcid"] {
            let found: Document<Value> = database.get(id).await.unwrap().unwrap();
            let other = view(&format!(
                "function (doc) {{ emit([{round}, doc.domain]); }}"
            ));
            let written = database.put(id, Some(&found.rev), &other).await.unwrap();
            assert!(written.committed().is_some());
        }
    }
    let replica = world.replica("one", Failpoints::default()).await;
    for round in 0..3 {
        let domain = format!("a{round}.example");
        assert_eq!(failure(&replica.destroy(&domain).await.unwrap()), None);
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_were_there_before_are_found_and_keep_their_names_from_the_first_moment() {
    // Ten thousand in `.ci/long`.
    let count = std::env::var("HAMLET_TEST_ADOPTED").map_or(300, |text| text.parse().unwrap());
    let world = World::new().await;
    make_many(&world, count).await;
    let replica = world.replica("one", Failpoints::default()).await;
    let last = count - 1;
    // A new instance wants the names of the last one, while it is asked for by each of them.
    let its_domain = format!("n{last}.example");
    let its_alias = format!("alias{last}.example");
    let its_host = format!("{its_domain}:8080");
    let app_host = format!("drive.n{}.example:8080", last - 1);
    let old_host = format!("was{}.example", last - 2);
    let changed = format!("n{}.example", last - 3);
    let other_alias = format!("alias{}.example", last - 4);
    let german = Instance {
        locale: "de".to_owned(),
        ..Instance::default()
    };
    let (domain, alias, app, old, change, taken, alias_taken) = tokio::join!(
        replica.resolve(&its_host),
        replica.get(&its_alias),
        replica.resolve(&app_host),
        replica.resolve(&old_host),
        replica.update(&changed, &["locale"], german),
        replica.create(&its_domain),
        replica.create(&other_alias),
    );
    let domain = domain.unwrap();
    assert_eq!(domain.tenant.unwrap().id, format!("{last:08}"));
    assert_eq!(domain.state, i32::from(HostState::Active));
    assert_eq!(alias.unwrap().domain, its_host);
    assert_eq!(app.unwrap().app_slug, "drive");
    let redirect = format!("n{}.example:8080", last - 2);
    assert_eq!(old.unwrap().redirect_domain, redirect);
    assert_eq!(failure(&change.unwrap()), None);
    assert_eq!(taken.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(alias_taken.unwrap_err().code(), Code::AlreadyExists);

    eventually("all are adopted", async || {
        let mut instances = replica.instances.clone();
        let counted = instances.count_instances(CountInstancesRequest {}).await;
        let left = counted.unwrap().into_inner().unadopted_count;
        let listed = listed(&replica).await;
        if (left, listed) == (0, count) {
            Ok(())
        } else {
            Err((left, listed))
        }
    })
    .await;
    let claims = world.ids("hamlet-claims").await;
    assert_eq!(claims.len(), 3 * count);
    assert_eq!(replica.get(&changed).await.unwrap().locale, "de");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_other_software_destroys() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let other = world.replica("two", Failpoints::default()).await;
    let locked = Instance {
        locked: true,
        ..Instance::default()
    };
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    assert_eq!(failure(&replica.create("b.example").await.unwrap()), None);
    assert_eq!(
        failure(
            &replica
                .update("b.example", &["locked"], locked)
                .await
                .unwrap()
        ),
        None
    );
    make(&world, "00000001", document(1)).await;
    eventually("it is adopted", async || match listed(&replica).await {
        3 => Ok(()),
        listed => Err(listed),
    })
    .await;
    for domain in ["a.example", "b.example", "n1.example:8080"] {
        destroy(&world, domain).await;
        // From that moment on.
        assert_eq!(
            replica.get(domain).await.unwrap_err().code(),
            Code::NotFound
        );
        assert_eq!(
            replica.resolve(domain).await.unwrap_err().code(),
            Code::NotFound
        );
    }
    assert_eq!(listed(&replica).await, 0);
    eventually("nothing is left", async || {
        let left = world.leftovers().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    // Its names can be taken again, and one of the two replicas has destroyed each.
    assert_eq!(failure(&other.create("a.example").await.unwrap()), None);
    assert_eq!(world.operations("destroy").await.len(), 3);

    // Also when nobody was there to see it.
    assert_eq!(
        failure(&other.create("alias1.example").await.unwrap()),
        None
    );
    replica.stop().await;
    other.stop().await;
    for domain in ["a.example", "alias1.example"] {
        destroy(&world, domain).await;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    eventually("nothing is left", async || {
        let left = world.leftovers().await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(listed(&replica).await, 0);
}

/// What is left of an instance whose document is gone, after whatever follows from that has been done.
async fn left_of(world: &World, prefix: &str) -> (usize, usize, usize) {
    // Longer than an instance that was really destroyed keeps its record.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let below = format!("{prefix}/");
    (
        world
            .couch
            .databases_with_prefix(&below)
            .await
            .unwrap()
            .len(),
        world.ids("hamlet-instances").await.len(),
        world.ids("hamlet-claims").await.len(),
    )
}

/// Only what was destroyed is removed without anybody asking. A document may be missing for other reasons.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_document_alone_destroys_nothing() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let found = world.documents("a.example").await;
    let prefix = found.instance["prefix"].as_str().unwrap();
    let name = DbName::global("instances").unwrap();
    let instances = world.couch.database(&name);

    // It was deleted by mistake: the databases are there.
    let document: Document<Map<String, Value>> = instances.get(&found.id).await.unwrap().unwrap();
    let deleted = instances.delete(&found.id, &document.rev).await.unwrap();
    assert!(deleted.committed().is_some());
    assert_eq!(left_of(&world, prefix).await, (16, 1, 1));
    replica.stop().await;

    // The database was lost, or restored from a backup that is older than the instance.
    world.couch.delete_database(&name).await.unwrap();
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(
        replica.get("a.example").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(left_of(&world, prefix).await, (16, 1, 1));

    // The document is back, and with it the instance.
    world
        .put("instances", &found.id, document.body.into())
        .await;
    assert_eq!(replica.get("a.example").await.unwrap().id, found.id);
    eventually("it can be destroyed", async || {
        let ended = replica.destroy("a.example").await;
        ended.map(|ended| assert_eq!(failure(&ended), None))
    })
    .await;
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_does_not_affect_the_others() {
    let world = World::new().await;
    for database in ["instances", "hamlet-instances", "hamlet-claims"] {
        let name = DbName::global(database).unwrap();
        world.couch.create_database(&name).await.unwrap();
    }
    // On a server that is not in the configuration.
    let mut elsewhere = document(1);
    elsewhere["couch_cluster"] = json!(7);
    make(&world, "00000001", elsewhere).await;
    make(&world, "00000002", document(2)).await;
    make(&world, "00000003", document(3)).await;
    make(&world, "00000004", document(4)).await;
    world
        .put("hamlet-instances", "00000002", json!({"domain": 7}))
        .await;
    world
        .put("hamlet-claims", "n3.example", json!({"instance": 7}))
        .await;
    let replica = world.replica("one", Failpoints::default()).await;
    until_adopted(&world, "00000004").await;
    assert_eq!(replica.get("n4.example").await.unwrap().id, "00000004");
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    // Also those that come later.
    make(&world, "00000005", document(5)).await;
    until_adopted(&world, "00000005").await;
}

async fn until_adopted(world: &World, id: &str) {
    eventually("it is adopted", async || {
        let records = world.ids("hamlet-instances").await;
        if records.iter().any(|record| record == id) {
            Ok(())
        } else {
            Err(records)
        }
    })
    .await;
}

/// Somebody removes or changes the indexes that Hamlet reads.
#[tokio::test(flavor = "multi_thread")]
async fn reads_answer_without_their_indexes() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let operations = world
        .couch
        .database(&DbName::global("hamlet-operations").unwrap());
    let designs = ["_design/open", "_design/by-created-at", "_design/due"];
    let mut before = Vec::new();
    for id in designs {
        let found: Document<Value> = operations.get(id).await.unwrap().unwrap();
        let deleted = operations.delete(id, &found.rev).await.unwrap();
        assert!(deleted.committed().is_some());
        before.push(found.body);
    }
    assert_eq!(failure(&replica.create("b.example").await.unwrap()), None);
    let listed = replica
        .operations
        .clone()
        .list_operations(ListOperationsRequest::default())
        .await;
    let domains: Vec<String> = listed
        .unwrap()
        .into_inner()
        .operations
        .iter()
        .map(|operation| progress(operation).domain)
        .collect();
    assert_eq!(domains, ["b.example", "a.example"]);
    replica.stop().await;
    // What is missing, and what has another content, is there after the next start.
    let changed = json!({"language": "query", "views": {}});
    world
        .put("hamlet-operations", "_design/open", changed)
        .await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    for (id, before) in designs.into_iter().zip(before) {
        let found: Document<Value> = operations.get(id).await.unwrap().unwrap();
        assert_eq!(found.body, before, "{id}");
    }
}

/// A person chooses the passphrase at the original's server: the register token goes, and the link with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_that_is_chosen_elsewhere_uses_the_register_token_up() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let found = world.documents("a.example").await;
    let instances = world.couch.database(&DbName::global("instances").unwrap());
    let mut document: Document<Map<String, Value>> =
        instances.get(&found.id).await.unwrap().unwrap();
    document.body.remove("register_token");
    document.body.extend([
        ("passphrase_hash".to_owned(), json!("c2NyeXB0")),
        ("password_defined".to_owned(), json!(true)),
        ("onboarding_finished".to_owned(), json!(true)),
    ]);
    let written = instances.put(&found.id, Some(&document.rev), &document.body);
    assert!(written.await.unwrap().committed().is_some());
    let shown = replica.get("a.example").await.unwrap();
    assert!(shown.onboarding_finished);
    let resolved = replica.resolve("a.example").await.unwrap();
    assert!(!resolved.onboarding);
    let check = CheckRegisterTokenRequest {
        register_token: "00112233445566778899aabbccddeeff".to_owned(),
    };
    let check = for_tenant(check, &resolved.tenant.unwrap());
    let refused = replica.tenants.clone().check_register_token(check).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

/// Two programs give one name to two instances at the same moment. Neither is preferred, and both are told.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_several_instances_have_are_told() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let ours = world.documents("a.example").await.id;
    let mut theirs = document(1);
    theirs["domain_aliases"] = json!(["a.example", "free.example"]);
    make(&world, "ffffffff", theirs).await;
    let conflicts = async || -> Vec<NameConflict> {
        let mut instances = replica.instances.clone();
        let found = instances.list_conflicts(ListConflictsRequest {}).await;
        found.unwrap().into_inner().try_collect().await.unwrap()
    };
    eventually("it is adopted", async || match listed(&replica).await {
        2 => Ok(()),
        listed => Err(listed),
    })
    .await;
    let found = conflicts().await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].name, "a.example");
    let contenders: Vec<_> = found[0]
        .contenders
        .iter()
        .map(|it| (it.id.as_str(), it.domain.as_str(), it.alias, it.has_claim))
        .collect();
    let expected = [
        (ours.as_str(), "a.example", false, true),
        ("ffffffff", "n1.example:8080", true, false),
    ];
    assert_eq!(contenders, expected);
    let without = Instance {
        domain_aliases: vec!["free.example".to_owned()],
        ..Instance::default()
    };
    let changed = replica
        .update("n1.example", &["domain_aliases"], without)
        .await;
    assert_eq!(failure(&changed.unwrap()), None);
    assert_eq!(conflicts().await, []);
    for domain in ["a.example", "n1.example:8080"] {
        assert_eq!(failure(&replica.destroy(domain).await.unwrap()), None);
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

/// Other software publishes an instance with the name while ours is being made.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_gives_way_to_an_instance_that_is_published_before_it() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    replica.get("n1.example").await.unwrap_err();
    // The databases of ours take a while.
    let slow = embedded_couchdb::faults::Fault::Delay(Duration::from_secs(2));
    let rule = embedded_couchdb::faults::Rule::once("PUT", "io-cozy-jobs", slow);
    world.faults().add(rule);
    let (ours, ()) = tokio::join!(replica.create("n1.example:8080"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        make(&world, "00000001", document(1)).await;
    });
    let ours = ours.unwrap();
    assert!(
        failure(&ours).unwrap().contains("n1.example:8080"),
        "{ours:#?}"
    );
    assert_eq!(replica.get("n1.example").await.unwrap().id, "00000001");
    assert_eq!(
        failure(&replica.destroy("n1.example:8080").await.unwrap()),
        None
    );
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

/// Gives an instance an account whose konnector has a script for its deletion, and one whose konnector has none.
async fn add_accounts(world: &World, prefix: &str) {
    for (doctype, id, document) in [
        (
            "io.cozy.konnectors",
            "io.cozy.konnectors/bank",
            json!({"slug": "bank", "on_delete_account": "onDeleteAccount.js"}),
        ),
        (
            "io.cozy.konnectors",
            "io.cozy.konnectors/shop",
            json!({"slug": "shop"}),
        ),
        (
            "io.cozy.accounts",
            "account1",
            json!({"account_type": "bank"}),
        ),
        (
            "io.cozy.accounts",
            "account2",
            json!({"account_type": "shop"}),
        ),
    ] {
        let name = DbName::instance(prefix, doctype).unwrap();
        world.couch.create_database(&name).await.unwrap();
        let written = world.couch.database(&name).put(id, None, &document).await;
        assert!(written.unwrap().committed().is_some());
    }
}

/// The original's admin door: it destroys this instance, after it was busy and did not find it. Returns its address.
async fn backend(couch: Couch, id: String, prefix: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in [
            "500 Internal Server Error",
            "404 Not Found",
            "204 No Content",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap().to_lowercase();
            // The password alone.
            let credentials = "authorization: basic omhpzgrlbg==";
            assert!(request.starts_with("delete /instances/a.example http/1.1"));
            assert!(request.contains(credentials), "{request}");
            if answer.starts_with("204") {
                destroy_on(&couch, &id, &prefix).await;
            }
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_not_left_at_other_services_unless_that_is_said() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let found = world.documents("a.example").await;
    add_accounts(&world, found.instance["prefix"].as_str().unwrap()).await;
    let refused = replica.destroy("a.example").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(status::reason(&refused).as_deref(), Some("ACCOUNTS_LEFT"));
    assert!(refused.message().contains("bank (account1)"), "{refused:?}");
    assert!(!refused.message().contains("shop"), "{refused:?}");
    let mut softly = DeleteInstanceRequest {
        name: "instances/a.example".to_owned(),
        keep: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..DeleteInstanceRequest::default()
    };
    let mut instances = replica.instances.clone();
    let refused = instances.delete_instance(softly.clone()).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("ACCOUNTS_LEFT"));
    softly.keep = None;
    softly.abandon_accounts = true;
    let accepted = instances.delete_instance(softly).await.unwrap();
    let ended = replica.end_of(&accepted.into_inner().name).await;
    let result: DeleteInstanceResult = response(&ended);
    assert_eq!(result.abandoned_accounts, ["bank (account1)"]);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_destroys_an_instance_with_accounts() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    replica.stop().await;
    let found = world.documents("a.example").await;
    let prefix = found.instance["prefix"].as_str().unwrap().to_owned();
    add_accounts(&world, &prefix).await;
    let address = backend(world.couch.clone(), found.id, prefix).await;
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "hidden\n").unwrap();
    let config = Config {
        admin_backend: Some(format!("http://{address}")),
        admin_backend_password_file: Some(password_file),
        ..config()
    };
    let settings = hasty("two", Failpoints::default());
    let replica = world.replica_of(config, settings).await;
    let ended = replica.destroy("a.example").await.unwrap();
    let result: DeleteInstanceResult = response(&ended);
    assert_eq!(result.abandoned_accounts, Vec::<String>::new());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

/// The original gives the next instance of a domain the prefix of the one before.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_instance_of_a_domain_outlives_what_is_left_of_the_one_before() {
    const PREFIX: &str = "cozy0d88385e5e731af27c0f1c0a312135b9";
    let world = World::new().await;
    for database in ["instances", "hamlet-instances", "hamlet-claims"] {
        let name = DbName::global(database).unwrap();
        world.couch.create_database(&name).await.unwrap();
    }
    let replica = world.replica("one", Failpoints::default()).await;
    let mut alice = document(1);
    alice["domain"] = json!("alice.example.com");
    alice["prefix"] = json!(PREFIX);
    make(&world, "00000001", alice.clone()).await;
    until_adopted(&world, "00000001").await;
    replica.stop().await;

    // While Hamlet is away, the original destroys it and makes it again, and a konnector gets an account.
    destroy_on(&world.couch, "00000001", PREFIX).await;
    make(&world, "00000002", alice).await;
    add_accounts(&world, PREFIX).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "hidden\n").unwrap();
    let config = Config {
        admin_backend: Some(format!("http://{}", listener.local_addr().unwrap())),
        admin_backend_password_file: Some(password_file),
        ..config()
    };
    let replica = world
        .replica_of(config, hasty("two", Failpoints::default()))
        .await;
    // It is found by its name as soon as the first has given it up.
    eventually("nothing is left of the first", async || {
        let records = world.ids("hamlet-instances").await;
        match replica.get("alice.example.com").await {
            Ok(found) if found.id == "00000002" && records == ["00000002"] => Ok(()),
            other => Err((other, records)),
        }
    })
    .await;
    let asked = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(
        asked.is_err(),
        "the original was asked to destroy the second"
    );
    let below = format!("{PREFIX}/");
    let databases = world.couch.databases_with_prefix(&below).await.unwrap();
    assert!(databases.len() >= 3, "{databases:?}");
}
