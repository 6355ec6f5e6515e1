//! Adoption of what other software does to instances, and redirects from former domains.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::time::Duration;

use crate::support::{Replica, World, failure};
use couch::DbName;
use embedded_couchdb::faults::{Fault, Rule};
use hamlet_proto::hamlet::instance::v1::{CreateInstanceRequest, Instance};
use instance_svc::operations::failpoints::Failpoints;
use serde_json::{Map, Value, json};
use test_kit::eventually;
use tonic::Code;

fn instances(world: &World) -> couch::Database {
    world.couch.database(&DbName::global("instances").unwrap())
}

/// Writes a document and makes a database as other software does, without Hamlet.
async fn write(world: &World, id: &str, document: Value) {
    world.make_a_database_for(&document).await;
    let written = instances(world)
        .claim(id, &document, |_: &Value| false)
        .await;
    assert!(matches!(written.unwrap(), couch::ClaimOutcome::Won(_)));
}

/// Changes fields of a document as other software does.
async fn change(world: &World, id: &str, fields: Value) {
    let mut found: couch::Document<Map<String, Value>> =
        instances(world).get(id).await.unwrap().unwrap();
    found.body.extend(fields.as_object().unwrap().clone());
    let written = instances(world)
        .compare_and_set(id, &found.rev, &found.body)
        .await
        .unwrap();
    assert!(matches!(written, couch::Exchange::Won(_)));
}

/// Waits until an instance is found by a name, or is not found.
async fn until(replica: &Replica, name: &str, found: bool) {
    eventually(&format!("{name} is found: {found}"), async || {
        let answer = replica.get(name).await;
        if answer.is_ok() == found {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}

fn document(domain: &str, aliases: &[&str]) -> Value {
    json!({
        "domain": domain, "domain_aliases": aliases, "prefix": format!("cozy{}", domain.replace('.', "")),
        "locale": "fr", "onboarding_finished": true, "password_defined": true
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_other_software_are_adopted_at_the_start_and_while_it_runs() {
    let world = World::new().await;
    let first = world.replica("first", Failpoints::default()).await;
    first.get("old.example").await.unwrap_err();
    first.stop().await;
    write(&world, "1", document("old.example", &["was.example:8080"])).await;
    let replica = world.replica("one", Failpoints::default()).await;
    let other = world.replica("two", Failpoints::default()).await;
    assert_eq!(
        replica.get("was.example").await.unwrap().domain,
        "old.example"
    );
    write(&world, "2", document("new.example", &["n.example"])).await;
    until(&replica, "n.example", true).await;
    let taken = replica.create("n.example").await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);

    // The claimed names follow the names that other software writes.
    change(
        &world,
        "2",
        json!({"domain_aliases": ["m.example"], "locale": "de"}),
    )
    .await;
    until(&replica, "m.example", true).await;
    until(&other, "n.example", false).await;
    let record = eventually("the record follows", async || {
        let record = world.documents("new.example").await.record;
        // It is made a moment after the document.
        if record.get("locale") == Some(&json!("de")) {
            Ok(record)
        } else {
            Err(record)
        }
    })
    .await;
    assert_eq!(record["domain_aliases"], json!(["m.example"]));
    for domain in ["old.example", "new.example"] {
        assert_eq!(failure(&replica.destroy(domain).await.unwrap()), None);
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_of_two_documents_with_one_name_is_preferred() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let ours = replica.get("a.example").await.unwrap();
    write(&world, "2", document("b.example", &["a.example"])).await;
    until(&replica, "b.example", true).await;
    assert_eq!(replica.get("a.example").await.unwrap(), ours);
    // Destroying one of them does not give its name to the other.
    assert_eq!(failure(&replica.destroy("b.example").await.unwrap()), None);
    assert_eq!(replica.get("a.example").await.unwrap(), ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_document_does_not_affect_the_others() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    replica.get("b.example").await.unwrap_err();
    write(&world, "1", json!({"domain": 7})).await;
    write(&world, "2", document("b.example", &[])).await;
    until(&replica, "b.example", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_hamlet_and_other_software_lose_nothing() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    let id = world.documents("a.example").await.id;
    for round in 0..6 {
        let (ours, theirs) = (format!("o{round}.example"), format!("t{round}"));
        let set = Instance {
            domain_aliases: vec![ours.clone()],
            ..Instance::default()
        };
        let update = two.update("a.example", &["domain_aliases"], set);
        let write = change_until_won(&world, &id, json!({"uuid": theirs}));
        let (updated, ()) = tokio::join!(update, write);
        assert_eq!(failure(&updated.unwrap()), None);
        until(&one, &ours, true).await;
        let now = world.documents("a.example").await;
        assert_eq!(now.instance["domain_aliases"], json!([ours]));
        assert_eq!(now.instance["uuid"], json!(theirs));
        assert_eq!(now.record["domain_aliases"], json!([ours]));
    }
    assert_eq!(failure(&one.destroy("a.example").await.unwrap()), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

/// Documents may disappear during an adoption: here between the reads of two of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_destroyed_during_its_adoption_is_not_adopted() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    for database in ["%2Finstances/", "%2Fhamlet-instances/"] {
        assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
        let struck = world.faults().struck();
        let slow = Fault::Delay(Duration::from_secs(2));
        let looks = format!("{database}_all_docs");
        world.faults().add(Rule::once("POST", &looks, slow));
        // The document is new, so the instance is checked.
        let french = Instance {
            locale: "fr".to_owned(),
            ..Instance::default()
        };
        let changed = replica.update("a.example", &["locale"], french).await;
        assert_eq!(failure(&changed.unwrap()), None);
        eventually("the look is slow", async || {
            world.faults().struck() > struck
        })
        .await;
        assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "{database}");
    }
}

/// A name may be given up during a look at its instance: here after the documents were read, and before the claims are.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_given_up_during_a_look_is_not_claimed_again() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let with_alias = Instance {
        domain_aliases: vec!["x.example".to_owned()],
        ..Instance::default()
    };
    let changed = replica
        .update("a.example", &["domain_aliases"], with_alias)
        .await;
    assert_eq!(failure(&changed.unwrap()), None);
    // The look at that change is over.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let struck = world.faults().struck();
    let slow = Fault::Delay(Duration::from_secs(2));
    world
        .faults()
        .add(Rule::once("POST", "%2Fhamlet-claims/_all_docs", slow));
    let french = Instance {
        locale: "fr".to_owned(),
        ..Instance::default()
    };
    let changed = replica.update("a.example", &["locale"], french).await;
    assert_eq!(failure(&changed.unwrap()), None);
    eventually("the look is slow", async || {
        world.faults().struck() > struck
    })
    .await;
    let none = Instance::default();
    let changed = replica.update("a.example", &["domain_aliases"], none).await;
    assert_eq!(failure(&changed.unwrap()), None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(failure(&replica.create("x.example").await.unwrap()), None);
}

/// Changes fields as other software does, reading again after a lost write.
async fn change_until_won(world: &World, id: &str, fields: Value) {
    loop {
        let mut found: couch::Document<Map<String, Value>> =
            instances(world).get(id).await.unwrap().unwrap();
        found.body.extend(fields.as_object().unwrap().clone());
        let written = instances(world)
            .compare_and_set(id, &found.rev, &found.body)
            .await;
        if matches!(written.unwrap(), couch::Exchange::Won(_)) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_domain_redirects_until_another_instance_takes_it() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let accepted = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: "new.example:8080".to_owned(),
                old_domain: "was.example".to_owned(),
                ..Instance::default()
            }),
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
    let to = async |host: &str| {
        let resolved = replica.resolve(host).await;
        resolved
            .map(|resolved| resolved.redirect_domain)
            .unwrap_or_default()
    };
    assert_eq!(to("was.example:1").await, "new.example:8080");
    assert_eq!(to("drive.was.example").await, "drive.new.example:8080");
    assert_eq!(to("new.example").await, "");
    assert_eq!(
        replica.get("was.example").await.unwrap_err().code(),
        Code::NotFound
    );

    let set = |old: &str| Instance {
        old_domain: old.to_owned(),
        ..Instance::default()
    };
    let moved = replica
        .update("new.example", &["old_domain"], set("before.example"))
        .await;
    assert_eq!(failure(&moved.unwrap()), None);
    assert_eq!(to("before.example").await, "new.example:8080");
    assert_eq!(
        replica.resolve("was.example").await.unwrap_err().code(),
        Code::NotFound
    );

    // The name itself is free, and the redirect does not prevent its use.
    assert_eq!(
        failure(&replica.create("before.example").await.unwrap()),
        None
    );
    assert_eq!(to("before.example").await, "");
    assert_eq!(
        failure(&replica.destroy("before.example").await.unwrap()),
        None
    );
    assert_eq!(to("before.example").await, "new.example:8080");
    let cleared = replica
        .update("new.example", &["old_domain"], set(""))
        .await;
    assert_eq!(failure(&cleared.unwrap()), None);
    assert_eq!(
        replica.resolve("before.example").await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        failure(&replica.destroy("new.example").await.unwrap()),
        None
    );
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
