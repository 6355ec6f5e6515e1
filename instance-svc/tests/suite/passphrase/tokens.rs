//! Tokens for programs.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use couch::DbName;
use hamlet_proto::hamlet::instance::v1::{
    CreateTokenRequest, Instance, create_token_request::Audience,
};
use instance_svc::operations::failpoints::Failpoints;
use ring::hmac;
use serde_json::{Value, json};
use service_kit::status;
use tonic::{Code, Status};

use super::{asking, create, document, field, get, instance_document, put};
use crate::support::{Replica, World};

fn asked(audience: Audience, subject: &str, scopes: &[&str]) -> CreateTokenRequest {
    CreateTokenRequest {
        name: "instances/a.example".to_owned(),
        audience: audience.into(),
        subject: subject.to_owned(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        lifetime: None,
    }
}

async fn token(replica: &Replica, asked: CreateTokenRequest) -> Result<String, Status> {
    let token = replica.instances.clone().create_token(asked).await?;
    Ok(token.into_inner().token)
}

/// The claims of a token, after checking its signature with this key.
fn verified(token: &str, key: &[u8]) -> Value {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(signature.len(), 64);
    let key = hmac::Key::new(hmac::HMAC_SHA512, key);
    hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(read(head), json!({"alg": "HS512", "typ": "JWT"}));
    read(claims)
}

async fn secret(world: &World, instance: &Instance, field: &str) -> Vec<u8> {
    let stored = instance_document(world, instance).await;
    STANDARD.decode(stored[field].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_signed_with_the_key_of_its_audience() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(&replica, asking("a.example", "")).await.unwrap();
    let instance = get(&replica, "a.example").await;
    let clients = DbName::instance(&instance.prefix, "io.cozy.oauth.clients").unwrap();
    let client = json!({"client_name": "Phone", "pending": true, "notification_platform": "x"});
    put(&world, &clients, "0123abcd", &client).await;

    let session = [
        b"2:".to_vec(),
        secret(&world, &instance, "session_secret").await,
    ]
    .concat();
    let oauth = secret(&world, &instance, "oauth_secret").await;
    let cli = secret(&world, &instance, "cli_secret").await;
    let rules = &["io.cozy.files:GET", "io.cozy.contacts"][..];
    for (audience, name, subject, scopes, key) in [
        (Audience::App, "app", "drive", &[][..], &session),
        (Audience::Konnector, "konn", "bills", &[], &session),
        (Audience::Cli, "cli", "", rules, &cli),
        (Audience::Access, "access", "0123abcd", rules, &oauth),
        (Audience::Refresh, "refresh", "0123abcd", rules, &oauth),
    ] {
        let token = token(&replica, asked(audience, subject, scopes))
            .await
            .unwrap();
        let mut claims = verified(&token, key);
        assert!(claims["iat"].as_i64().unwrap() > 1_700_000_000);
        claims.as_object_mut().unwrap().remove("iat");
        let mut expected = json!({"aud": [name], "iss": "a.example"});
        if !subject.is_empty() {
            expected["sub"] = subject.into();
        }
        if !scopes.is_empty() {
            expected["scope"] = "io.cozy.files:GET io.cozy.contacts".into();
        }
        assert_eq!(claims, expected);
    }
    // A client with a token counts as more than just registered; the rest of its document is kept.
    let stored = document(&world, clients, "0123abcd").await;
    assert_eq!(
        stored,
        json!({"client_name": "Phone", "notification_platform": "x"})
    );

    let mut short = asked(Audience::Cli, "", rules);
    short.lifetime = Some(prost_types::Duration {
        seconds: 60,
        nanos: 0,
    });
    let long = verified(
        &token(&replica, asked(Audience::Cli, "", rules))
            .await
            .unwrap(),
        &cli,
    );
    let short = verified(&token(&replica, short).await.unwrap(), &cli);
    let earlier = long["iat"].as_i64().unwrap() - short["iat"].as_i64().unwrap();
    // 29 minutes, less the time between the two calls.
    assert!((29 * 60 - 60..=29 * 60).contains(&earlier), "{earlier}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_apps_and_clients_get_no_token() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(&replica, asking("a.example", "")).await.unwrap();
    for (audience, subject, scopes, reason) in [
        (Audience::App, "photos", &[][..], "APP_NOT_FOUND"),
        (Audience::Konnector, "drive", &[], "APP_NOT_FOUND"),
        (Audience::Access, "nobody", &["*"], "OAUTH_CLIENT_NOT_FOUND"),
        (
            Audience::Refresh,
            "nobody",
            &["*"],
            "OAUTH_CLIENT_NOT_FOUND",
        ),
    ] {
        let refused = token(&replica, asked(audience, subject, scopes)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        assert_eq!(status::reason(&refused).unwrap(), reason);
        assert!(refused.message().contains(subject), "{refused:?}");
    }
    let nobody = CreateTokenRequest {
        name: "instances/nobody.example".to_owned(),
        ..asked(Audience::Cli, "", &["*"])
    };
    let refused = token(&replica, nobody).await.unwrap_err();
    assert_eq!(status::reason(&refused).unwrap(), "INSTANCE_NOT_FOUND");
    for (asked, wrong) in [
        (asked(Audience::Unspecified, "", &[]), "audience"),
        (asked(Audience::Cli, "CLI", &["*"]), "subject"),
        (
            asked(Audience::Cli, "", &["io.cozy.files", "Files"]),
            "scopes[1]",
        ),
        (asked(Audience::App, "drive", &["*"]), "scopes"),
    ] {
        let refused = token(&replica, asked).await.unwrap_err();
        assert_eq!(field(&refused), wrong);
    }
}
