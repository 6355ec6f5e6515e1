//! Setting the first passphrase with the register link.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use couch::DbName;
use futures::future::join_all;
use hamlet_proto::hamlet::instance::v1::{
    CheckRegisterTokenRequest, Instance, PassphraseParameters, RegisterLink,
    RegisterPassphraseRequest, RotateRegisterLinkRequest, Tenant, instance::State,
};
use instance_svc::{
    Settings, clock::Clock, domain::passphrase::server, operations::failpoints::Failpoints,
};
use serde_json::json;
use service_kit::{caller::for_tenant, status};
use tonic::{Code, Status};

use super::{
    PASSPHRASE, asking, create, document, field, get, instance_document, login_hash,
    operation_document, put, register_link, result, vault_settings,
};
use crate::support::{Replica, World, failure};

fn tenant(instance: &Instance) -> Tenant {
    Tenant {
        id: instance.id.clone(),
        domain: instance.domain.clone(),
        prefix: instance.prefix.clone(),
        ..Tenant::default()
    }
}

async fn check(
    replica: &Replica,
    instance: &Instance,
    token: &str,
) -> Result<PassphraseParameters, Status> {
    let asked = CheckRegisterTokenRequest {
        register_token: token.to_owned(),
    };
    let mut tenants = replica.tenants.clone();
    let checked = tenants
        .check_register_token(for_tenant(asked, &tenant(instance)))
        .await?;
    Ok(checked.into_inner())
}

async fn register(
    replica: &Replica,
    instance: &Instance,
    asked: RegisterPassphraseRequest,
) -> Result<(), Status> {
    let mut tenants = replica.tenants.clone();
    tenants
        .register_passphrase(for_tenant(asked, &tenant(instance)))
        .await?;
    Ok(())
}

/// The request of a browser with scripts.
fn hashed(token: &str, login_hash: &str) -> RegisterPassphraseRequest {
    RegisterPassphraseRequest {
        register_token: token.to_owned(),
        passphrase: login_hash.to_owned(),
        iterations: 650_000,
        key: "0.aWlpaWlpaWlpaWlpaWlpaQ==|ZGRk".to_owned(),
        public_key: "cHVibGlj".to_owned(),
        private_key: "2.aWk=|ZGRk|bWFj".to_owned(),
        hint: String::new(),
    }
}

fn reason<T: std::fmt::Debug>(refused: Result<T, Status>) -> String {
    let refused = refused.unwrap_err();
    status::reason(&refused).unwrap_or_else(|| panic!("{refused:?}"))
}

async fn waiting(replica: &Replica, domain: &str) -> (Instance, RegisterLink) {
    create(replica, asking(domain, "")).await.unwrap();
    let instance = get(replica, domain).await;
    assert_eq!(instance.state(), State::Onboarding);
    let link = register_link(replica, domain).await.unwrap();
    (instance, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_token_works_once() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let (instance, link) = waiting(&replica, "new.example:8080").await;
    assert!(
        link.link
            .ends_with(&format!("/?registerToken={}", link.token))
    );
    let seven_days = link.expire_time.unwrap().seconds - instance.create_time.unwrap().seconds;
    assert_eq!(seven_days, 7 * 86_400);
    assert_eq!(instance.register_expire_time, link.expire_time);

    let parameters = check(&replica, &instance, &link.token).await.unwrap();
    assert_eq!(parameters.salt, "me@new.example");
    assert_eq!(parameters.iterations, 650_000);
    let wrong = link.token.chars().rev().collect::<String>();
    assert_eq!(
        reason(check(&replica, &instance, &wrong).await),
        "REGISTER_TOKEN_WRONG"
    );

    let before = instance_document(&world, &instance).await;
    let login = login_hash("new.example", "", PASSPHRASE);
    let mut asked = hashed(&link.token, &login);
    "a comic".clone_into(&mut asked.hint);
    register(&replica, &instance, asked.clone()).await.unwrap();

    let after = instance_document(&world, &instance).await;
    let hash = after["passphrase_hash"].as_str().unwrap();
    assert!(server::matches(hash, &login));
    assert_eq!(after.get("register_token"), None);
    assert_eq!(after["onboarding_finished"], true);
    assert_eq!(after["password_defined"], true);
    assert_ne!(after["session_secret"], before["session_secret"]);
    for kept in ["oauth_secret", "cli_secret", "domain", "prefix"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    let vault = vault_settings(&world, &instance).await;
    assert_eq!(vault["passphrase_kdf_iterations"], 650_000);
    assert_eq!(vault["key"], asked.key);
    assert_eq!(vault["public_key"], asked.public_key);
    assert_eq!(vault["private_key"], asked.private_key);
    assert_eq!(vault["passphrase_hint"], "a comic");
    let records = DbName::global("hamlet-instances").unwrap();
    let record = document(&world, records, &instance.id).await;
    assert_eq!(record.get("register_expires_at"), None);
    assert_eq!(record.get("operation"), None);

    // The token has been used up.
    for refused in [
        reason(register(&replica, &instance, asked).await),
        reason(check(&replica, &instance, &link.token).await),
    ] {
        assert_eq!(refused, "REGISTER_TOKEN_USED");
    }
    let none = reason(register_link(&replica, "new.example:8080").await);
    assert_eq!(none, "NO_REGISTER_TOKEN");
    let shown = get(&replica, "new.example:8080").await;
    assert_eq!(shown.state(), State::Onboarded);
    assert_eq!(shown.register_expire_time, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_hashes_the_passphrase_of_a_browser_without_scripts() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let (instance, link) = waiting(&replica, "new.example").await;
    let asked = RegisterPassphraseRequest {
        register_token: link.token,
        passphrase: PASSPHRASE.to_owned(),
        ..RegisterPassphraseRequest::default()
    };
    register(&replica, &instance, asked).await.unwrap();
    let stored = instance_document(&world, &instance).await;
    let hash = stored["passphrase_hash"].as_str().unwrap();
    assert!(server::matches(
        hash,
        &login_hash("new.example", "", PASSPHRASE)
    ));
    let vault = vault_settings(&world, &instance).await;
    assert!(vault["key"].as_str().unwrap().starts_with("0."));
    assert!(vault["private_key"].as_str().unwrap().starts_with("2."));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_fields_are_refused_before_the_token_is_checked() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let (instance, link) = waiting(&replica, "new.example").await;
    let login = login_hash("new.example", "", PASSPHRASE);
    type Change = fn(&mut RegisterPassphraseRequest);
    let cases: [(&str, Change); 13] = [
        ("register_token", |asked| asked.register_token.clear()),
        ("register_token", |asked| asked.register_token = "zz".into()),
        ("iterations", |asked| asked.iterations = 1000),
        ("iterations", |asked| asked.iterations = -1),
        ("iterations", |asked| asked.iterations = 5_000_001),
        ("passphrase", |asked| asked.passphrase.clear()),
        ("passphrase", |asked| asked.passphrase = "not hashed".into()),
        ("key", |asked| asked.key.clear()),
        ("key", |asked| asked.iterations = 0),
        ("public_key", |asked| asked.public_key = "*".into()),
        ("private_key", |asked| asked.private_key.clear()),
        ("hint", |asked| asked.hint.clone_from(&asked.passphrase)),
        ("hint", |asked| asked.hint = "x".repeat(2000)),
    ];
    for token in [link.token.clone(), "00ff".to_owned()] {
        for (wrong, change) in cases {
            let mut asked = hashed(&token, &login);
            change(&mut asked);
            let refused = register(&replica, &instance, asked).await.unwrap_err();
            assert_eq!(field(&refused), wrong, "{refused:?}");
            let shown = format!("{refused:?}");
            assert!(!shown.contains(&login) && !shown.contains(&link.token));
        }
    }
    let wrong = register(&replica, &instance, hashed("00ff", &login)).await;
    assert_eq!(reason(wrong), "REGISTER_TOKEN_WRONG");
    assert!(check(&replica, &instance, &link.token).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_concurrent_uses_of_a_token_wins() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    for round in 0..3 {
        let domain = format!("new{round}.example");
        let (instance, link) = waiting(&one, &domain).await;
        // What a client has hashed is stored as it is.
        let logins: Vec<String> = (0..6_u8)
            .map(|number| STANDARD.encode([number; 32]))
            .collect();
        let posts = logins.iter().enumerate().map(|(number, login)| {
            let replica = if number % 2 == 0 { &one } else { &two };
            register(replica, &instance, hashed(&link.token, login))
        });
        let outcomes = join_all(posts).await;
        let winners: Vec<usize> = (0..6).filter(|&at| outcomes[at].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        for refused in outcomes.into_iter().filter(Result::is_err) {
            assert_eq!(reason(refused), "REGISTER_TOKEN_USED");
        }
        // The successful response is that of the stored passphrase.
        let stored = instance_document(&world, &instance).await;
        let hash = stored["passphrase_hash"].as_str().unwrap();
        assert!(server::matches(hash, &logins[winners[0]]));
    }
}

/// A replica whose clock the test controls.
async fn replica_at(world: &World, clock: &Clock) -> Replica {
    let settings = Settings {
        clock: clock.clone(),
        ..Settings::new("timed")
    };
    world.replica_with(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires_and_a_new_one_replaces_it() {
    let world = World::new().await;
    let clock = Clock::adjustable();
    let replica = replica_at(&world, &clock).await;
    let (instance, old) = waiting(&replica, "new.example").await;
    let end = old.expire_time.unwrap().seconds;

    let day = 86_400_000;
    clock.jump(6 * day);
    assert!(check(&replica, &instance, &old.token).await.is_ok());
    clock.jump(day);
    let login = login_hash("new.example", "", PASSPHRASE);
    for refused in [
        reason(check(&replica, &instance, &old.token).await),
        reason(register(&replica, &instance, hashed(&old.token, &login)).await),
    ] {
        assert_eq!(refused, "REGISTER_TOKEN_EXPIRED");
    }
    let expired = register_link(&replica, "new.example").await.unwrap_err();
    assert_eq!(expired.code(), Code::FailedPrecondition);
    assert_eq!(status::reason(&expired).unwrap(), "REGISTER_LINK_EXPIRED");

    let rotate = |etag: &str, request_id: &str, validate_only| RotateRegisterLinkRequest {
        name: "instances/new.example".to_owned(),
        etag: etag.to_owned(),
        request_id: request_id.to_owned(),
        validate_only,
    };
    let mut instances = replica.instances.clone();
    let stale = instances
        .rotate_register_link(rotate("other", "", false))
        .await;
    assert_eq!(reason(stale), "ETAG_MISMATCH");
    let dry = instances
        .rotate_register_link(rotate("", "", true))
        .await
        .unwrap();
    assert_eq!(
        result::<RegisterLink>(dry.get_ref()),
        RegisterLink::default()
    );

    let accepted = instances
        .rotate_register_link(rotate("", "r-1", false))
        .await
        .unwrap();
    let ended = replica.end_of(&accepted.get_ref().name).await;
    assert_eq!(failure(&ended), None);
    let link: RegisterLink = result(&ended);
    assert_ne!(link.token, old.token);
    let longer = link.expire_time.unwrap().seconds - end;
    assert!((7 * 86_400..8 * 86_400).contains(&longer), "{longer}");
    assert_eq!(link, register_link(&replica, "new.example").await.unwrap());
    // Repeating the request does not rotate the link again.
    let again = instances
        .rotate_register_link(rotate("", "r-1", false))
        .await
        .unwrap();
    assert_eq!(result::<RegisterLink>(again.get_ref()), link);
    let stored = operation_document(&world, &ended).await.to_string();
    assert!(!stored.contains(&link.token) && !stored.contains("sealed\":"));

    let refused = reason(check(&replica, &instance, &old.token).await);
    assert_eq!(refused, "REGISTER_TOKEN_WRONG");
    register(&replica, &instance, hashed(&link.token, &login))
        .await
        .unwrap();
    let finished = instances.rotate_register_link(rotate("", "", false)).await;
    assert_eq!(reason(finished), "NO_REGISTER_TOKEN");
    let finished = instances.rotate_register_link(rotate("", "", true)).await;
    assert_eq!(reason(finished), "NO_REGISTER_TOKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_other_software_is_valid_until_it_is_rotated() {
    let world = World::new().await;
    let stored = json!({
        "domain": "theirs.example", "prefix": "cozytheirs", "locale": "en", "password_defined": false,
        "register_token": "AAECAwQFBgcICQoLDA0ODw==", "session_secret": "c2VjcmV0"
    });
    let instances = DbName::global("instances").unwrap();
    put(&world, &instances, "theirs", &stored).await;
    world.make_a_database_for(&stored).await;
    let clock = Clock::adjustable();
    clock.jump(10 * 365 * 86_400_000);
    let replica = replica_at(&world, &clock).await;
    let link = register_link(&replica, "theirs.example").await.unwrap();
    assert_eq!(link.token, "000102030405060708090a0b0c0d0e0f");
    assert_eq!(link.expire_time, None);
    let instance = get(&replica, "theirs.example").await;
    assert!(check(&replica, &instance, &link.token).await.is_ok());
}
