//! Who calls, as the gateway and the apps service are told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use couch::DbName;
use hamlet_proto::hamlet::instance::v1::{
    AppPage, AuthenticateRequest, GetAppPageRequest, Identity, Instance, Tenant, identity::Kind,
};
use identity::session::seal;
use instance_svc::{domain::time::Time, operations::failpoints::Failpoints};
use serde_json::{Value, json};
use service_kit::caller::for_tenant;
use tonic::{Code, Request, Status};

use super::{PASSPHRASE, asking, create, document, get, instance_document, put};
use crate::support::{Replica, World};

/// An instance with a session that the original could have made.
struct Owner {
    tenant: Tenant,
    instance: Instance,
    cookie: String,
    sessions: DbName,
}

const SESSION: &str = "0123456789abcdef0123456789abcdef";

fn text(time: i64) -> String {
    Time::from_unix(time, 0).unwrap().to_string()
}

fn seconds_now() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn owner(world: &World, replica: &Replica, last_seen: i64) -> Owner {
    create(replica, asking("a.example", PASSPHRASE))
        .await
        .unwrap();
    let instance = get(replica, "a.example").await;
    let sessions = DbName::instance(&instance.prefix, "io.cozy.sessions").unwrap();
    let session = json!({
        "created_at": text(last_seen), "last_seen": text(last_seen), "long_run": true, "short_run": false, "sid": "x"
    });
    put(world, &sessions, SESSION, &session).await;
    Owner {
        tenant: Tenant {
            id: instance.id.clone(),
            domain: instance.domain.clone(),
            prefix: instance.prefix.clone(),
            ..Tenant::default()
        },
        cookie: cookie(world, &instance).await,
        instance,
        sessions,
    }
}

async fn cookie(world: &World, instance: &Instance) -> String {
    let stored = instance_document(world, instance).await;
    let secret = STANDARD
        .decode(stored["session_secret"].as_str().unwrap())
        .unwrap();
    let key = [b"2:".to_vec(), secret].concat();
    seal(
        &key,
        "cozysessid",
        SESSION,
        Time::from_unix(seconds_now(), 0).unwrap(),
    )
}

async fn authenticate(
    replica: &Replica,
    owner: &Owner,
    cookie: &str,
    token: &str,
) -> Result<Identity, Status> {
    let message = AuthenticateRequest {
        session_cookie: cookie.to_owned(),
        token: token.to_owned(),
    };
    let request = for_tenant(message, &owner.tenant);
    let answer = replica.identities.clone().authenticate(request).await?;
    Ok(answer.into_inner())
}

async fn app_page(replica: &Replica, owner: &Owner, identity: Option<&Identity>) -> AppPage {
    let message = GetAppPageRequest {
        slug: "home".to_owned(),
    };
    let mut request: Request<_> = for_tenant(message, &owner.tenant);
    if let Some(identity) = identity {
        let value =
            tonic::metadata::MetadataValue::from_bytes(&prost::Message::encode_to_vec(identity));
        request
            .metadata_mut()
            .insert_bin("x-hamlet-identity-bin", value);
    }
    let page = replica.identities.clone().get_app_page(request).await;
    page.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_original_opens_the_instance_until_it_ends() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let yesterday = seconds_now() - 25 * 3600;
    let owner = owner(&world, &replica, yesterday).await;
    let found = authenticate(&replica, &owner, &owner.cookie, "")
        .await
        .unwrap();
    assert_eq!(
        (found.kind(), found.session_id.as_str()),
        (Kind::Session, SESSION)
    );
    // That it was seen is noted, and what the original wrote is kept.
    let noted = document(&world, owner.sessions.clone(), SESSION).await;
    assert_ne!(noted["last_seen"], text(yesterday));
    assert_eq!(
        (&noted["sid"], &noted["created_at"]),
        (&json!("x"), &json!(text(yesterday)))
    );
    for wrong in ["", "x", &owner.cookie[1..], &"A".repeat(96)] {
        let code = authenticate(&replica, &owner, wrong, "")
            .await
            .unwrap_err()
            .code();
        let expected = if wrong.is_empty() {
            Code::InvalidArgument
        } else {
            Code::Unauthenticated
        };
        assert_eq!(code, expected, "{wrong}");
    }
    let database = world.couch.database(&owner.sessions);
    let read = database.get::<Value>(SESSION).await.unwrap().unwrap();
    let ended =
        json!({"created_at": text(0), "last_seen": text(0), "long_run": true, "short_run": false});
    let written = database.put(SESSION, Some(&read.rev), &ended).await;
    assert!(matches!(written, Ok(couch::Write::Committed(_))));
    let over = authenticate(&replica, &owner, &owner.cookie, "")
        .await
        .unwrap_err();
    assert_eq!(over.code(), Code::Unauthenticated);
    assert_eq!(
        database
            .get::<Value>(SESSION)
            .await
            .unwrap()
            .map(|it| it.body),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_page_lives_with_its_session() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let owner = owner(&world, &replica, seconds_now()).await;
    let stranger = app_page(&replica, &owner, None).await;
    assert_eq!(stranger.token, "");
    assert_eq!(stranger.flags, "{}");
    let capabilities: Value = serde_json::from_str(&stranger.capabilities).unwrap();
    assert_eq!(
        capabilities,
        json!({
            "file_versioning": true, "flat_subdomains": false, "can_auth_with_password": true,
            "can_auth_with_magic_links": false, "can_auth_with_oidc": false
        })
    );
    let permissions = DbName::instance(&owner.instance.prefix, "io.cozy.permissions").unwrap();
    let granted = json!({
        "type": "app", "source_id": "io.cozy.apps/home", "permissions": {"files": {"type": "io.cozy.files"}}
    });
    put(&world, &permissions, "home", &granted).await;
    let session = authenticate(&replica, &owner, &owner.cookie, "")
        .await
        .unwrap();
    let page = app_page(&replica, &owner, Some(&session)).await;
    let found = authenticate(&replica, &owner, &owner.cookie, &page.token)
        .await
        .unwrap();
    assert_eq!((found.kind(), found.subject.as_str()), (Kind::App, "home"));
    assert_eq!(found.session_id, SESSION);
    assert_eq!(found.rules.len(), 1, "{found:?}");
    let life = found.expire_time.unwrap().seconds - seconds_now();
    assert!((24 * 3600 - 60..=24 * 3600).contains(&life), "{life}");
    // A program's token is no session: its page has no token.
    assert_eq!(app_page(&replica, &owner, Some(&found)).await.token, "");
    // Without the cookie it is nobody's.
    for cookie in ["", "x"] {
        let refused = authenticate(&replica, &owner, cookie, &page.token)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{cookie}");
    }
    let database = world.couch.database(&owner.sessions);
    let read = database.get::<Value>(SESSION).await.unwrap().unwrap();
    let deleted = database.delete(SESSION, &read.rev).await;
    assert!(matches!(deleted, Ok(couch::Write::Committed(_))));
    let refused = authenticate(&replica, &owner, &owner.cookie, &page.token)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let _ = owner.instance;
}
