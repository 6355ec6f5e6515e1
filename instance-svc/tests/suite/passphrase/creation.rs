//! The first passphrase of a new instance.

use hamlet_proto::hamlet::instance::v1::{
    CreateInstanceRequest, CreateInstanceResult, instance::State,
};
use instance_svc::{
    domain::passphrase::server,
    operations::failpoints::{Failpoints, Order},
};
use service_kit::status;

use super::{
    PASSPHRASE, asking, create, field, fields, get, instance_document, login_hash,
    operation_document, register_link, result, vault_settings,
};
use crate::support::{
    World, failure,
    steps::{step, steps},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_created_with_a_passphrase_is_onboarded_at_once() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let mut request = asking("alice.example:8080", PASSPHRASE);
    request.instance.as_mut().unwrap().old_domain = "al.example:80".to_owned();
    let ended = create(&replica, request).await.unwrap();

    let result: CreateInstanceResult = result(&ended);
    assert_eq!(
        (result.register_link, result.register_token),
        Default::default()
    );
    let instance = get(&replica, "alice.example:8080").await;
    assert_eq!(instance.state(), State::Onboarded);
    assert!(instance.onboarding_finished);
    assert_eq!(instance.password_defined, Some(true));
    let refused = register_link(&replica, "alice.example:8080").await;
    assert_eq!(
        status::reason(&refused.unwrap_err()).unwrap(),
        "NO_REGISTER_TOKEN"
    );

    // The fields of the document of such an instance, as the model writes it.
    let stored = instance_document(&world, &instance).await;
    assert_eq!(
        fields(&stored),
        [
            "cli_secret",
            "domain",
            "indexes_version",
            "locale",
            "oauth_secret",
            "old_domain",
            "onboarding_finished",
            "passphrase_hash",
            "password_defined",
            "prefix",
            "session_secret"
        ]
    );
    let hash = stored["passphrase_hash"].as_str().unwrap();
    let login = login_hash("alice.example:8080", "al.example:80", PASSPHRASE);
    assert!(server::matches(hash, &login));
    let vault = vault_settings(&world, &instance).await;
    assert_eq!(
        fields(&vault),
        [
            "cozyMetadata",
            "key",
            "passphrase_kdf_iterations",
            "private_key",
            "public_key",
            "security_stamp"
        ]
    );
    // No secret outlives the operation.
    let operation = operation_document(&world, &ended).await;
    assert_eq!(operation.get("sealed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passwordless_owner_gets_a_random_passphrase() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    for (domain, magic_link) in [("magic.example", true), ("fc.example", false)] {
        let mut request = asking(domain, "");
        let instance = request.instance.as_mut().unwrap();
        instance.magic_link = magic_link;
        if !magic_link {
            "subject".clone_into(&mut instance.franceconnect_id);
        }
        // Both together are impossible; neither is ignored or replaced.
        let both = CreateInstanceRequest {
            passphrase: PASSPHRASE.to_owned(),
            ..request.clone()
        };
        let refused = replica.instances.clone().create_instance(both).await;
        assert_eq!(field(&refused.unwrap_err()), "passphrase");

        create(&replica, request).await.unwrap();
        let instance = get(&replica, domain).await;
        assert_eq!(instance.state(), State::Onboarded);
        assert_eq!(instance.password_defined, Some(false));
        assert_eq!(instance.magic_link, magic_link);
        assert_eq!(instance.franceconnect_id.is_empty(), magic_link);
        let stored = instance_document(&world, &instance).await;
        let hash = stored["passphrase_hash"].as_str().unwrap();
        assert!(!server::matches(hash, &login_hash(domain, "", "")));
        assert!(vault_settings(&world, &instance).await["key"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_cannot_be_reused_with_another_passphrase() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let request = CreateInstanceRequest {
        request_id: "r-1".to_owned(),
        ..asking("a.example", PASSPHRASE)
    };
    let first = create(&replica, request.clone()).await.unwrap();
    let again = create(&replica, request.clone()).await.unwrap();
    assert_eq!(first.name, again.name);
    for other in ["", "quite another one of four"] {
        let other = CreateInstanceRequest {
            passphrase: other.to_owned(),
            ..request.clone()
        };
        let refused = replica.instances.clone().create_instance(other).await;
        let reason = status::reason(&refused.unwrap_err()).unwrap();
        assert_eq!(reason, "REQUEST_ID_REUSED");
    }
    let refused = replica
        .instances
        .clone()
        .create_instance(asking("b.example", "ends with a line\n"))
        .await
        .unwrap_err();
    assert_eq!(field(&refused), "passphrase");
    assert!(!format!("{refused:?}").contains("ends with a line"));
}

/// Software that makes an instance for its owner may have hashed the passphrase, so that nobody else sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_passphrase_may_be_hashed_already() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let login = login_hash("a.example", "", PASSPHRASE);
    let request = CreateInstanceRequest {
        request_id: "r-1".to_owned(),
        kdf_iterations: 650_000,
        key: "0.aWlpaWlpaWlpaWlpaWlpaQ==|ZGRk".to_owned(),
        ..asking("a.example", &login)
    };
    create(&replica, request.clone()).await.unwrap();
    let instance = get(&replica, "a.example").await;
    assert_eq!(instance.state(), State::Onboarded);
    let stored = instance_document(&world, &instance).await;
    let hash = stored["passphrase_hash"].as_str().unwrap();
    assert!(server::matches(hash, &login));
    let vault = vault_settings(&world, &instance).await;
    assert_eq!(vault["key"], request.key);
    assert_eq!(vault["passphrase_kdf_iterations"], 650_000);

    let other = CreateInstanceRequest {
        key: "0.aWlpaWlpaWlpaWlpaWlpaQ==|ZGRj".to_owned(),
        ..request.clone()
    };
    let refused = replica.instances.clone().create_instance(other).await;
    let reason = status::reason(&refused.unwrap_err()).unwrap();
    assert_eq!(reason, "REQUEST_ID_REUSED");
    let without_key = CreateInstanceRequest {
        request_id: String::new(),
        key: String::new(),
        ..request
    };
    let refused = replica.instances.clone().create_instance(without_key).await;
    assert_eq!(field(&refused.unwrap_err()), "key");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_can_read_sealed_secrets() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for (number, step) in steps("create").into_iter().enumerate() {
        let dying = Failpoints::new(move |_, at| {
            if at.step == step && !at.after {
                Order::Die
            } else {
                Order::Go
            }
        });
        let faulty = world.replica(&format!("dying-{number}"), dying).await;
        let domain = format!("a{number}.example");
        let accepted = faulty
            .instances
            .clone()
            .create_instance(asking(&domain, PASSPHRASE))
            .await
            .unwrap()
            .into_inner();
        // While the operation runs, the secret is stored in a form that nobody else can read.
        let underway = operation_document(&world, &accepted).await;
        let shown = underway.to_string();
        assert!(!shown.contains(PASSPHRASE) && !shown.contains("scrypt"));
        let ended = healthy.end_of(&accepted.name).await;
        assert_eq!(failure(&ended), None, "{step:?}");
        let instance = get(&healthy, &domain).await;
        let stored = instance_document(&world, &instance).await;
        let hash = stored["passphrase_hash"].as_str().unwrap();
        assert!(server::matches(hash, &login_hash(&domain, "", PASSPHRASE)));
        let operation = operation_document(&world, &ended).await;
        assert_eq!(operation.get("sealed"), None);
        faulty.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_forgets_the_passphrase() {
    let world = World::new().await;
    let apps = step("create", "apps");
    let failing = Failpoints::new(move |_, at| {
        if at.step == apps && !at.undo {
            Order::FailForGood
        } else {
            Order::Go
        }
    });
    let replica = world.replica("one", failing).await;
    let accepted = replica
        .instances
        .clone()
        .create_instance(asking("a.example", PASSPHRASE))
        .await
        .unwrap()
        .into_inner();
    let ended = replica.end_of(&accepted.name).await;
    assert!(failure(&ended).is_some());
    let operation = operation_document(&world, &ended).await;
    assert_eq!(operation.get("sealed"), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}
