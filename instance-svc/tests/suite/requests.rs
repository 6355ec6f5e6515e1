//! Names, request ids and refusals.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use crate::support::{World, failure};
use couch::DbName;
use hamlet_proto::{
    google::longrunning::operation,
    hamlet::instance::v1::{
        BlockInstanceRequest, CreateInstanceRequest, CreateInstanceResult, DeleteInstanceRequest,
        GetInstanceRequest, Instance, ListInstancesRequest, UpdateInstanceRequest,
    },
    unpack,
};
use instance_svc::{Settings, operations::failpoints::Failpoints};
use prost_types::FieldMask;
use service_kit::status;
use tonic::Code;

/// 200 concurrent creations in five sets. In each set all want one common name, as domain or alias, alone or in
/// crossed order, with different ports.
fn wishes() -> impl Iterator<Item = (usize, String, Vec<String>)> {
    (0..200).map(|number| {
        let set = number % 5;
        let name = |letter: &str| format!("{letter}{set}.example");
        let (domain, aliases) = match number / 5 % 5 {
            0 => (name("b"), vec![]),
            1 => (name("a"), vec![name("b")]),
            2 => (name("b"), vec![name("a")]),
            3 => (format!("{}:8080", name("b")), vec![name("c")]),
            _ => (name("c"), vec![name("a"), name("b")]),
        };
        (set, domain, aliases)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_creations_with_conflicting_names_one_in_each_set_wins() {
    let world = World::new().await;
    let mut replicas = Vec::new();
    for name in ["one", "two", "three"] {
        replicas.push(world.replica(name, Failpoints::default()).await);
    }
    let asks =
        wishes()
            .zip(replicas.iter().cycle())
            .map(|((set, domain, aliases), replica)| async move {
                let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
                let accepted = replica.ask_to_create_with(&domain, &aliases, &[], "").await;
                let outcome = match accepted {
                    Ok(accepted) => match replica.end_of(&accepted.name).await.result.unwrap() {
                        operation::Result::Response(_) => None,
                        operation::Result::Error(error) => Some(Code::from_i32(error.code)),
                    },
                    Err(refused) => Some(refused.code()),
                };
                (set, domain, outcome)
            });
    let outcomes = futures::future::join_all(asks).await;
    let mut winners = Vec::new();
    for set in 0..5 {
        let of_this = outcomes.iter().filter(|(other, ..)| *other == set);
        let (won, lost): (Vec<_>, Vec<_>) = of_this.partition(|(.., outcome)| outcome.is_none());
        assert_eq!(won.len(), 1, "{won:?} {lost:?}");
        let refused = lost
            .iter()
            .all(|(.., outcome)| *outcome == Some(Code::AlreadyExists));
        assert!(refused, "{lost:?}");
        winners.extend(won.into_iter().map(|(_, domain, _)| domain.clone()));
    }
    let databases = world.couch.databases_with_prefix("cozy").await.unwrap();
    assert_eq!(databases.len(), 5 * 16);
    // Everything that exists belongs to the winners: it disappears when they are destroyed.
    let replica = replicas.first().unwrap();
    for domain in winners {
        assert_eq!(failure(&replica.destroy(&domain).await.unwrap()), None);
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_id_returns_the_same_operation() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let first = replica.ask_to_create("a.example", "r-1").await.unwrap();
    let again = replica.ask_to_create("A.example", "r-1").await.unwrap();
    assert_eq!(first.name, again.name);
    assert_eq!(failure(&replica.end_of(&first.name).await), None);
    // Also after the end: the response contains the result.
    let after = replica.ask_to_create("a.example", "r-1").await.unwrap();
    assert!(after.done);
    let other = replica.ask_to_create("b.example", "r-1").await.unwrap_err();
    assert_eq!(status::reason(&other).unwrap(), "REQUEST_ID_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_read_by_all_its_names_and_destroyed_by_one() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let accepted = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: "Élodie.example:8080".to_owned(),
                domain_aliases: vec!["e.example".to_owned()],
                context: "nowhere".to_owned(),
                public_name: "Élodie".to_owned(),
                ..Instance::default()
            }),
            apps: ["home", "bad", "unheard"].map(str::to_owned).to_vec(),
            trace: true,
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    let ended = replica.end_of(&accepted.name).await;
    let Some(operation::Result::Response(response)) = &ended.result else {
        panic!("{ended:#?}");
    };
    let result: CreateInstanceResult = unpack(response).unwrap().unwrap();
    let outcomes: Vec<_> = result.apps.iter().map(|app| app.error.as_str()).collect();
    assert_eq!(outcomes, ["", "this app is bad", ""]);
    assert!(
        result
            .warnings
            .iter()
            .any(|warning| warning.contains("nowhere"))
    );
    assert_eq!(result.register_token.len(), 32);
    assert_eq!(
        result.register_link,
        format!(
            "http://élodie.example:8080/?registerToken={}",
            result.register_token
        )
    );

    let mut instances = replica.instances.clone();
    let wrong = GetInstanceRequest {
        name: "instances/élodie.example:1".to_owned(),
    };
    let wrong = instances.get_instance(wrong).await.unwrap_err();
    assert_eq!(wrong.code(), Code::NotFound);
    assert!(wrong.message().contains("élodie.example:8080"), "{wrong:?}");
    for name in ["élodie.example", "XN--LODIE-9RA.example:8080", "e.example"] {
        let found = instances
            .get_instance(GetInstanceRequest {
                name: format!("instances/{name}"),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(found.domain, "élodie.example:8080");
        assert_eq!(found.public_name, "Élodie");
        assert_eq!(found.indexes_version, 38);
    }
    let by_alias = replica.destroy("e.example").await.unwrap_err();
    assert_eq!(status::reason(&by_alias).unwrap(), "NAME_IS_ALIAS");
    let stale = instances
        .delete_instance(DeleteInstanceRequest {
            name: "instances/élodie.example".to_owned(),
            etag: "old".to_owned(),
            ..DeleteInstanceRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(status::reason(&stale).unwrap(), "ETAG_MISMATCH");
    let destroyed = replica.destroy("élodie.example").await.unwrap();
    assert_eq!(failure(&destroyed), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_in_the_order_of_creation() {
    let world = World::new().await;
    let settings = Settings {
        // No background scans while requests are counted.
        scan_every: std::time::Duration::from_secs(3600),
        ..Settings::new("one")
    };
    let replica = world.replica_with(settings).await;
    let domains = ["z.example", "m.example", "a.example"];
    for domain in domains {
        assert_eq!(failure(&replica.create(domain).await.unwrap()), None);
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    let mut costs = Vec::new();
    loop {
        let before = world.served();
        let page = replica
            .instances
            .clone()
            .list_instances(ListInstancesRequest {
                page_size: 2,
                page_token,
                ..ListInstancesRequest::default()
            })
            .await
            .unwrap()
            .into_inner();
        costs.extend(world.served().zip(before).map(|(now, before)| now - before));
        seen.extend(page.instances.into_iter().map(|instance| instance.domain));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, domains);
    // Background scans may send requests beside one page, but not beside all.
    let least = costs.into_iter().min();
    assert!(
        least.is_none_or(|least| least <= 3),
        "{least:?} requests a page"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let checked = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: "a.example".to_owned(),
                ..Instance::default()
            }),
            validate_only: true,
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert!(checked.done && checked.name.is_empty());
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_creation_costs_at_most_forty_requests() {
    let world = World::new().await;
    let settings = Settings {
        // No background scans while requests are counted.
        scan_every: std::time::Duration::from_secs(3600),
        ..Settings::new("one")
    };
    let replica = world.replica_with(settings).await;
    assert_eq!(
        failure(&replica.create("warm.example").await.unwrap()),
        None
    );
    let Some(before) = world.served() else {
        // A real server does not count requests.
        return;
    };
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let cost = world.served().unwrap() - before;
    // The fake services write no documents: the real ones add three bulk writes.
    let cost = cost + 3;
    assert!(cost <= 40, "{cost} requests");
}

/// A change of one field, for example a block. Three requests find the instance; three accept the operation,
/// take the instance and read the settings for the response; the others write the change, write the end, and
/// free the instance.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_field_costs_at_most_nine_requests() {
    let world = World::new().await;
    let settings = Settings {
        // No background scans while requests are counted.
        scan_every: std::time::Duration::from_secs(3600),
        ..Settings::new("one")
    };
    let replica = world.replica_with(settings).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let Some(mut before) = world.served() else {
        // A real server does not count requests.
        return;
    };
    for verb in ["block", "locale"] {
        let mut instances = replica.instances.clone();
        let name = "instances/a.example".to_owned();
        let accepted = if verb == "block" {
            let request = BlockInstanceRequest {
                name,
                reason: "PAYMENT_FAILED".to_owned(),
                request_id: "one".to_owned(),
                ..BlockInstanceRequest::default()
            };
            instances.block_instance(request).await
        } else {
            let request = UpdateInstanceRequest {
                instance: Some(Instance {
                    name,
                    locale: "fr".to_owned(),
                    ..Instance::default()
                }),
                update_mask: Some(FieldMask {
                    paths: vec!["locale".to_owned()],
                }),
                ..UpdateInstanceRequest::default()
            };
            instances.update_instance(request).await
        };
        let ended = replica.end_of(&accepted.unwrap().get_ref().name).await;
        assert_eq!(failure(&ended), None, "{verb}");
        // The instance is freed after the response.
        let records = DbName::global("hamlet-instances").unwrap();
        let id = world.ids("hamlet-instances").await.remove(0);
        let freed = async || {
            world
                .document(&records, &id)
                .await
                .get("operation")
                .is_none()
        };
        let mut looks = 1;
        while !freed().await {
            looks += 1;
        }
        // The test itself has listed the ids once, and read the record several times.
        let now = world.served().unwrap();
        let cost = now - before - 1 - looks;
        assert!(cost <= 9, "{verb}: {cost} requests");
        before = now;
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_told_at_once() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let fields = |status: &tonic::Status| -> Vec<String> {
        let found = tonic_types::StatusExt::get_details_bad_request(status);
        let found = found.map(|it| it.field_violations).unwrap_or_default();
        found.into_iter().map(|it| it.field).collect()
    };
    let refused = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(Instance {
                domain: "x..".to_owned(),
                domain_aliases: vec!["y.localhost".to_owned(), "123".to_owned()],
                old_domain: "0x1".to_owned(),
                blocked: true,
                ..Instance::default()
            }),
            apps: vec!["ftp://x".to_owned()],
            passphrase: "passw0rd".to_owned(),
            request_id: "a b".to_owned(),
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        fields(&refused),
        [
            "instance.blocked",
            "request_id",
            "instance.domain",
            "instance.domain_aliases[1]",
            "instance.old_domain",
            "apps[0]",
            "passphrase",
        ],
        "{refused:?}"
    );
    assert!(refused.message().contains("\"x..\""), "{refused:?}");

    replica.create("a.example").await.unwrap();
    let refused = replica
        .instances
        .clone()
        .update_instance(UpdateInstanceRequest {
            instance: Some(Instance {
                name: "instances/a.example".to_owned(),
                domain_aliases: vec!["123".to_owned(), "x..".to_owned()],
                locale: "French".to_owned(),
                ..Instance::default()
            }),
            update_mask: Some(FieldMask {
                paths: ["colour", "domain_aliases", "locale"]
                    .map(str::to_owned)
                    .into(),
            }),
            request_id: "a b".to_owned(),
            ..UpdateInstanceRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "update_mask",
            "request_id",
            "instance.domain_aliases[0]",
            "instance.domain_aliases[1]",
            "instance.locale",
        ],
        "{refused:?}"
    );
    let refused = replica
        .instances
        .clone()
        .block_instance(BlockInstanceRequest {
            name: "instances/a.example".to_owned(),
            reason: "\u{202e}evil".to_owned(),
            request_id: "a b".to_owned(),
            ..BlockInstanceRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["instance.blocking_reason", "request_id"]);
}
