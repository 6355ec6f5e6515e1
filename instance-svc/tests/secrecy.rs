//! No secret leaks during the life cycle of an instance: no response, error, log line, `Debug` output or
//! operation contains one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

#[path = "suite/support/mod.rs"]
mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use couch::{AllDocs, DbName, Document};
use futures::TryStreamExt as _;
use hamlet_proto::{
    google::longrunning::ListOperationsRequest,
    hamlet::instance::v1::{
        CleanSessionsRequest, CreateInstanceRequest, CreateTokenRequest, GetInstanceRequest,
        GetRegisterLinkRequest, Instance, ListInstancesRequest, RegisterPassphraseRequest,
        RotateRegisterLinkRequest, SetPassphraseRequest, Tenant, create_token_request::Audience,
    },
};
use instance_svc::operations::failpoints::{Failpoints, Order};
use serde_json::Value;
use service_kit::caller::for_tenant;
use support::{Replica, World, failure};
use tracing_subscriber::fmt::MakeWriter;

/// Collected log lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The secrets, and the texts that were searched for them.
#[derive(Default)]
struct Secrecy {
    secrets: Vec<(&'static str, String)>,
    seen: Vec<(String, String)>,
}

impl Secrecy {
    fn keep(&mut self, what: &'static str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        self.secrets.push((what, secret));
    }

    fn see(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.seen.push((place.into(), text.into()));
    }

    fn check(&self) {
        assert!(self.secrets.len() > 15 && self.seen.len() > 20);
        for (place, text) in &self.seen {
            for (what, secret) in &self.secrets {
                assert!(!text.contains(secret), "{what} is in {place}: {text}");
            }
        }
    }
}

async fn end(replica: &Replica, secrecy: &mut Secrecy, place: &str, name: &str) {
    let ended = replica.end_of(name).await;
    assert_eq!(failure(&ended), None, "{place}");
    secrecy.see(format!("the end of {place}"), format!("{ended:?}"));
}

/// All documents of a global database.
async fn documents(world: &World, name: &str) -> Vec<Document<Value>> {
    let database = world.couch.database(&DbName::global(name).unwrap());
    let query = AllDocs::new();
    database
        .all_docs_with_bodies(query)
        .try_collect()
        .await
        .unwrap()
}

async fn keep_stored_secrets(world: &World, instance: &Instance, secrecy: &mut Secrecy) {
    let stored = documents(world, "instances").await;
    let stored = stored.iter().find(|found| found.id == instance.id).unwrap();
    for field in [
        "passphrase_hash",
        "register_token",
        "session_secret",
        "oauth_secret",
        "cli_secret",
    ] {
        let Some(text) = stored.body.get(field).and_then(Value::as_str) else {
            continue;
        };
        secrecy.keep("a stored secret", text);
        let bytes = STANDARD.decode(text).unwrap();
        secrecy.keep("a stored secret in hex", hex::encode(&bytes));
        if let Ok(text) = String::from_utf8(bytes) {
            secrecy.keep("a stored secret as text", text);
        }
    }
    let settings = DbName::instance(&instance.prefix, "io.cozy.settings").unwrap();
    let vault = world.couch.database(&settings);
    let vault = vault
        .get::<Value>("io.cozy.settings.bitwarden")
        .await
        .unwrap();
    for field in ["key", "private_key", "public_key", "security_stamp"] {
        if let Some(text) = vault.as_ref().and_then(|vault| vault.body[field].as_str()) {
            secrecy.keep("a key of the vault", text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaks() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let mut secrecy = Secrecy::default();
    let world = World::new().await;
    // Steps fail now and then, so that errors are stored and logged, too.
    let flaky = Failpoints::new(|_, at| {
        use std::sync::atomic::{AtomicU32, Ordering};
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let asked = ASKED.fetch_add(1, Ordering::SeqCst);
        if asked.is_multiple_of(5) && !at.after {
            Order::Fail
        } else {
            Order::Go
        }
    });
    let replica = world.replica("one", flaky).await;
    let mut client = replica.instances.clone();
    let name = || "instances/a.example".to_owned();
    let first = "the first passphrase of all";
    secrecy.keep("the passphrase of a creation", first);

    // Created with a passphrase; the `Debug` output of the request is searched as well.
    let request = CreateInstanceRequest {
        instance: Some(Instance {
            domain: "a.example".to_owned(),
            ..Instance::default()
        }),
        passphrase: first.to_owned(),
        request_id: "r-1".to_owned(),
        trace: true,
        ..CreateInstanceRequest::default()
    };
    secrecy.see("the request of a creation", format!("{request:?}"));
    let accepted = client.create_instance(request.clone()).await.unwrap();
    secrecy.see("the answer to a creation", format!("{accepted:?}"));
    for found in documents(&world, "hamlet-operations").await {
        secrecy.see("an operation at work", found.body.to_string());
    }
    end(
        &replica,
        &mut secrecy,
        "a creation",
        &accepted.get_ref().name,
    )
    .await;
    let shown = GetInstanceRequest { name: name() };
    let instance = client.get_instance(shown).await.unwrap().into_inner();
    secrecy.see("an instance", format!("{instance:?}"));
    keep_stored_secrets(&world, &instance, &mut secrecy).await;

    // Refusals do not repeat the value.
    let reused = CreateInstanceRequest {
        passphrase: "another passphrase, refused".to_owned(),
        ..request
    };
    secrecy.keep("a refused passphrase", &reused.passphrase);
    let refused = client.create_instance(reused).await.unwrap_err();
    secrecy.see("a refusal", format!("{refused:?}"));
    let set = SetPassphraseRequest {
        name: name(),
        passphrase: "holds a \u{7} control character".to_owned(),
        ..SetPassphraseRequest::default()
    };
    secrecy.keep("a refused passphrase", "control character\"");
    let refused = client.set_passphrase(set).await.unwrap_err();
    secrecy.see("a refusal", format!("{refused:?}"));

    // The passphrase is set again.
    let set = SetPassphraseRequest {
        name: name(),
        passphrase: "the second passphrase".to_owned(),
        ..SetPassphraseRequest::default()
    };
    secrecy.keep("a passphrase that was set", &set.passphrase);
    secrecy.see("the request for a passphrase", format!("{set:?}"));
    let accepted = client.set_passphrase(set).await.unwrap();
    secrecy.see("the answer to it", format!("{accepted:?}"));
    end(
        &replica,
        &mut secrecy,
        "a passphrase",
        &accepted.get_ref().name,
    )
    .await;
    keep_stored_secrets(&world, &instance, &mut secrecy).await;

    // A token.
    let token = CreateTokenRequest {
        name: name(),
        audience: Audience::Cli.into(),
        scopes: vec!["io.cozy.files".to_owned()],
        ..CreateTokenRequest::default()
    };
    let token = client.create_token(token).await.unwrap();
    secrecy.see("the Debug of a token", format!("{token:?}"));
    secrecy.keep("a token", token.into_inner().token);

    // The first passphrase is set with the register link, which is renewed before.
    let request = CreateInstanceRequest {
        instance: Some(Instance {
            domain: "b.example".to_owned(),
            ..Instance::default()
        }),
        ..CreateInstanceRequest::default()
    };
    let accepted = client.create_instance(request).await.unwrap();
    // The result of this operation contains the link: that is its purpose.
    assert_eq!(
        failure(&replica.end_of(&accepted.get_ref().name).await),
        None
    );
    let link = GetRegisterLinkRequest {
        name: "instances/b.example".to_owned(),
    };
    let old = client.get_register_link(link.clone()).await.unwrap();
    secrecy.see("the Debug of a link", format!("{old:?}"));
    secrecy.keep("a register token", old.into_inner().token);
    let rotate = RotateRegisterLinkRequest {
        name: "instances/b.example".to_owned(),
        ..RotateRegisterLinkRequest::default()
    };
    let accepted = client.rotate_register_link(rotate).await.unwrap();
    assert_eq!(
        failure(&replica.end_of(&accepted.get_ref().name).await),
        None
    );
    let new = client.get_register_link(link).await.unwrap().into_inner();
    secrecy.keep("a register token", new.token.clone());
    let shown = GetInstanceRequest {
        name: "instances/b.example".to_owned(),
    };
    let other = client.get_instance(shown).await.unwrap().into_inner();
    secrecy.see("an instance that waits", format!("{other:?}"));
    let tenant = Tenant {
        id: other.id.clone(),
        domain: other.domain.clone(),
        prefix: other.prefix.clone(),
        ..Tenant::default()
    };
    let register = |token: &str| RegisterPassphraseRequest {
        register_token: token.to_owned(),
        passphrase: "the passphrase that the owner chose".to_owned(),
        hint: "a hint about a comic".to_owned(),
        ..RegisterPassphraseRequest::default()
    };
    secrecy.keep("a chosen passphrase", register("").passphrase);
    secrecy.keep("a hint", register("").hint);
    let mut tenants = replica.tenants.clone();
    let wrong = register("00112233445566778899aabbccddeeff");
    secrecy.see("the request of a registration", format!("{wrong:?}"));
    let refused = tenants
        .register_passphrase(for_tenant(wrong, &tenant))
        .await;
    secrecy.see("a refused registration", format!("{refused:?}"));
    let asked = for_tenant(register(&new.token), &tenant);
    tenants.register_passphrase(asked).await.unwrap();
    keep_stored_secrets(&world, &other, &mut secrecy).await;

    // The instance is destroyed.
    let clean = CleanSessionsRequest {
        name: name(),
        ..CleanSessionsRequest::default()
    };
    let accepted = client.clean_sessions(clean).await.unwrap();
    end(&replica, &mut secrecy, "sessions", &accepted.get_ref().name).await;
    let listed = client.list_instances(ListInstancesRequest::default()).await;
    secrecy.see("a list of instances", format!("{:?}", listed.unwrap()));
    let operations = ListOperationsRequest::default();
    let listed = replica.operations.clone().list_operations(operations).await;
    secrecy.see("a list of operations", format!("{:?}", listed.unwrap()));
    for database in ["hamlet-operations", "hamlet-instances", "hamlet-claims"] {
        for found in documents(&world, database).await {
            secrecy.see(database, found.body.to_string());
        }
    }
    for domain in ["a.example", "b.example"] {
        assert_eq!(failure(&replica.destroy(domain).await.unwrap()), None);
    }
    replica.stop().await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a.example") && logged.lines().count() > 50);
    for line in logged.lines() {
        secrecy.see("the log", line);
    }
    secrecy.check();
}
