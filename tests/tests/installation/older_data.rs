//! Data of an earlier version: `tests/data/0.1.0` holds the folder of a `hamletd` that was killed while
//! operations stood at every kind of step. The current `hamletd` shows what had ended as the earlier one did,
//! and brings to its end what had not.

use std::path::{Path, PathBuf};

use hamlet_tests::{
    cli::Cli,
    daemon::{Daemon, Options},
    database::Database,
    programs::root,
};
use serde_json::{Value, json};
use test_kit::eventually_blocking;

const NOT_FOUND: i32 = 3;
const CONFLICT: i32 = 4;

fn data() -> PathBuf {
    root().join("tests/data/0.1.0")
}

fn read(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data().join(name)).unwrap()).unwrap()
}

/// A copy of the folder.
fn unpack(folder: &Path) {
    let packed = std::fs::File::open(data().join("folder.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    archive.unpack(folder).unwrap();
}

/// The current `hamletd` on the folder. What it holds has an age: nothing of it is too old.
fn start(folder: &Path) -> Daemon {
    Options::new(folder)
        .flag("--operations-kept=36500")
        .flag("--creation-patience=3153600000")
        .start()
}

fn show(cli: &Cli, domain: &str) -> Value {
    let shown = cli.run(&format!("instances show {domain} -o json"));
    shown.done().json()
}

/// Whether a new instance could have this name.
fn is_free(cli: &Cli, name: &str) -> bool {
    let tried = cli.run(&format!("instances add {name} --dry-run"));
    match tried.code {
        0 => true,
        CONFLICT => false,
        _ => panic!("{name}: {tried:?}"),
    }
}

/// The operations at a domain, from the operations as a list shows them.
fn at<'a>(operations: &'a [Value], domain: &str) -> Vec<&'a Value> {
    operations
        .iter()
        .filter(|operation| operation["metadata"]["domain"] == domain)
        .collect()
}

/// Waits until no operation is at work.
fn all_ended(cli: &Cli) -> Vec<Value> {
    eventually_blocking("the end of all operations", || {
        let running = cli.run("operations ls --running -o name").done();
        running.out.trim().is_empty().then_some(())
    });
    cli.run("operations ls -o json").done().json_lines()
}

/// An operation without what versions after 0.1.0 tell of it.
fn as_it_was(mut operation: Value) -> Value {
    if let Some(metadata) = operation["metadata"].as_object_mut() {
        for newer in ["endTime", "changedFields", "warnings"] {
            metadata.remove(newer);
        }
        let steps = metadata.get_mut("steps").and_then(Value::as_array_mut);
        for step in steps.into_iter().flatten() {
            step.as_object_mut().unwrap().remove("detail");
        }
    }
    operation
}

#[test]
fn what_had_ended_is_shown_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    unpack(&folder);
    let daemon = start(&folder);
    let cli = daemon.cli();
    let answers = read("answers.json");

    let listed = cli.run("instances ls -o json").done().json_lines();
    for expected in answers["listed"].as_array().unwrap() {
        let found = listed.iter().find(|it| it["domain"] == expected["domain"]);
        let mut found = found.unwrap().clone();
        // Lists of version 0.1.0 did not show it.
        found.as_object_mut().unwrap().remove("email");
        assert_eq!(found, *expected);
    }
    for expected in answers["shown"].as_array().unwrap() {
        let domain = expected["domain"].as_str().unwrap();
        assert_eq!(&show(&cli, domain), expected);
    }
    for expected in answers["operations"].as_array().unwrap() {
        let name = expected["name"].as_str().unwrap();
        let shown = cli.run(&format!("operations show {name} -o json"));
        assert_eq!(&as_it_was(shown.json()), expected);
    }
}

#[test]
fn what_was_deleted_softly_is_brought_back_and_what_other_software_made_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    unpack(&folder);
    let daemon = start(&folder);
    let cli = daemon.cli();

    assert_eq!(show(&cli, "max.example")["state"], "STATE_DELETED");
    assert!(!is_free(&cli, "max.example") && !is_free(&cli, "www.max.example"));
    let _ = cli.run("instances undelete max.example").done();
    let max = show(&cli, "max.example");
    assert_eq!(max["state"], "STATE_BLOCKED");
    assert_eq!(max["blockingReason"], "LOGIN_FAILED");

    eventually_blocking("the adoption", || {
        let listed = cli.run("instances ls -o json").done().json_lines();
        let theirs = listed
            .into_iter()
            .find(|it| it["domain"] == "theirs.example")?;
        assert_eq!(theirs["domainAliases"], json!(["alias.theirs.example"]));
        assert_eq!(theirs["locale"], "de");
        assert_eq!(theirs["state"], "STATE_ONBOARDED");
        (!is_free(&cli, "alias.theirs.example")).then_some(())
    });
    let _ = cli
        .run("instances modify theirs.example --locale fr")
        .done();
    assert_eq!(show(&cli, "theirs.example")["locale"], "fr");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_at_work_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("data");
    unpack(&folder);
    let daemon = start(&folder);
    let cli = daemon.cli();
    let all = all_ended(&cli);

    creations_ended(&cli, &all);
    destructions_ended(&cli, &all);
    changes_ended(&cli, &all);
    let answers = read("answers.json");
    for expected in answers["operations"].as_array().unwrap() {
        let name = expected["name"].as_str().unwrap();
        let shown = cli.run(&format!("operations show {name} -o json"));
        assert_eq!(&as_it_was(shown.json()), expected);
    }
    eventually_blocking("the end of all orphans", || {
        let orphans = cli.run("instances orphans -o json").done();
        orphans.out.trim().is_empty().then_some(())
    });
    daemon.kill();
    let database = Database::of_stopped(&folder).await;
    assert_eq!(database.leftovers().await, without_logins(&database).await);
    database.close().await;
}

/// The instances whose sessions were ended, as the database reports them. The end of all sessions removes the database
/// of logins, which other software makes again; exactly that one is missing.
async fn without_logins(database: &Database) -> Vec<String> {
    let databases = database.databases().await;
    let instances = database.plain_documents("global/instances").await;
    let ended = instances.iter().filter(|document| {
        ["ida.example", "sessions.example"].contains(&document["domain"].as_str().unwrap())
    });
    ended
        .map(|document| {
            let prefix = format!("{}/", document["prefix"].as_str().unwrap());
            let logins = format!("{prefix}io-cozy-sessions-logins");
            assert!(!databases.contains(&logins), "{logins}");
            format!("only 15 databases under {prefix}")
        })
        .collect()
}

fn creations_ended(cli: &Cli, all: &[Value]) {
    for domain in [
        "run-databases.example",
        "wait-databases.example",
        "mark-retry.example",
    ] {
        assert_eq!(show(cli, domain)["state"], "STATE_ONBOARDING", "{domain}");
    }
    let wanted = read("answers.json")["shown"][0].clone();
    assert_eq!(wanted["domain"], "ada.example");
    for domain in ["run-apps.example", "run-publish.example"] {
        let made = show(cli, domain);
        for field in [
            "locale",
            "context",
            "email",
            "publicName",
            "timezone",
            "phone",
            "uuid",
            "oidcId",
            "sponsorships",
            "tosSigned",
            "tosLatest",
            "authMode",
            "noAutoUpdate",
            "diskQuotaBytes",
            "onboardingFinished",
        ] {
            assert_eq!(made[field], wanted[field], "{domain} {field}");
        }
        assert_eq!(
            made["settings"],
            json!({"offer": "premium", "partner": "acme"})
        );
        assert_eq!(made["oldDomain"], format!("former-{domain}"));
        for alias in [format!("www.{domain}"), format!("alias-of-{domain}")] {
            assert!(
                made["domainAliases"]
                    .as_array()
                    .unwrap()
                    .contains(&json!(alias))
            );
            assert!(!is_free(cli, &alias));
        }
        let apps = cli.run(&format!("apps ls {domain} -o json")).done();
        assert!(apps.out.contains("\"home\""), "{domain}: {apps:?}");
    }
    // What was sealed is a passphrase now.
    assert_eq!(show(cli, "run-apps.example")["passwordDefined"], true);
    assert_eq!(show(cli, "run-publish.example")["magicLink"], true);
    assert_eq!(show(cli, "queued.example")["passwordDefined"], true);
    assert!(!is_free(cli, "www.queued.example"));

    // Of those that stood in line for one name, one has it.
    for (domain, asked) in [("queued.example", 3), ("twice.example", 2)] {
        let (failed, done): (Vec<&Value>, Vec<&Value>) = at(all, domain)
            .into_iter()
            .partition(|it| it["error"].is_object());
        assert_eq!((done.len(), failed.len()), (1, asked - 1), "{domain}");
        for failed in failed {
            assert_eq!(failed["error"]["details"][0]["reason"], "NAME_TAKEN");
        }
    }

    for domain in ["unwind.example", "mark-cancel.example", "zoe.example"] {
        let shown = cli.run(&format!("instances show {domain}"));
        assert_eq!(shown.code, NOT_FOUND, "{domain}");
        assert!(is_free(cli, domain) && is_free(cli, &format!("www.{domain}")));
        for ended in at(all, domain) {
            assert!(ended["error"].is_object(), "{ended}");
            assert_eq!(ended["metadata"]["cancelRequested"], true, "{ended}");
        }
    }
}

fn destructions_ended(cli: &Cli, all: &[Value]) {
    // The last one was due: it began by itself.
    eventually_blocking("the destruction that was due", || {
        let shown = cli.run("instances show due.example");
        (shown.code == NOT_FOUND).then_some(())
    });
    for domain in [
        "destroy-flag.example",
        "destroy-databases.example",
        "destroy-unpublish.example",
    ] {
        let shown = cli.run(&format!("instances show {domain}"));
        assert_eq!(shown.code, NOT_FOUND, "{domain}");
        assert!(is_free(cli, domain) && is_free(cli, &format!("www.{domain}")));
        let destroyed = at(all, domain)
            .into_iter()
            .find(|it| it["metadata"]["kind"] == "destroy")
            .unwrap();
        assert!(destroyed["response"].is_object(), "{destroyed}");
    }
}

fn changes_ended(cli: &Cli, all: &[Value]) {
    for operation in all {
        let metadata = &operation["metadata"];
        let change = !["create", "destroy"].contains(&metadata["kind"].as_str().unwrap());
        if change && metadata["domain"] != "amy.example" {
            assert!(operation["response"].is_object(), "{operation}");
        }
    }
    let claims = show(cli, "change-claims.example");
    let added = "added.change-claims.example";
    assert_eq!(claims["domainAliases"], json!([added]));
    assert_eq!(claims["locale"], "es");
    assert!(!is_free(cli, added));

    let document = show(cli, "change-document.example");
    let kept = ["kept", "added"].map(|name| format!("{name}.change-document.example"));
    assert_eq!(document["domainAliases"], json!(kept));
    assert!(kept.iter().all(|alias| !is_free(cli, alias)));
    assert!(is_free(cli, "removed.change-document.example"));
    assert_eq!(document["settings"], json!({"offer": "freemium"}));
    assert_eq!(document["email"], Value::Null);
    assert_eq!(document["diskQuotaBytes"], "20000000000");
    assert_eq!(document["locale"], "es");
    assert_eq!(document["sponsorships"], json!(["club"]));
    assert_eq!(document["tosSigned"], "3.0.0-20260101");
    assert_eq!(document["authMode"], "AUTH_MODE_TWO_FACTOR_OIDC");

    let record = show(cli, "change-record.example");
    assert_eq!(
        (&record["locked"], &record["locale"]),
        (&json!(true), &json!("es"))
    );
    let destroyed = cli.run("instances destroy change-record.example --force");
    assert_ne!(destroyed.code, 0, "it is locked");

    let blocked = show(cli, "block.example");
    assert_eq!(blocked["state"], "STATE_BLOCKED");
    assert_eq!(blocked["blockingReason"], "PAYMENT_FAILED");
    let deleted = show(cli, "delete.example");
    assert_eq!(deleted["state"], "STATE_DELETED");
    assert!(deleted["purgeTime"].as_str().unwrap().starts_with("2999-"));
    let brought_back = show(cli, "undelete.example");
    assert_eq!(brought_back["state"], "STATE_BLOCKED");
    assert_eq!(brought_back["blockingReason"], "PAYMENT_FAILED");

    let link = show(cli, "register-link.example");
    assert_eq!(link["state"], "STATE_ONBOARDING");
    assert!(
        link["registerExpireTime"]
            .as_str()
            .unwrap()
            .starts_with("2999-")
    );
    let _ = cli
        .run("instances register-link register-link.example")
        .done();
    let chosen = show(cli, "passphrase.example");
    assert_eq!(chosen["state"], "STATE_ONBOARDED");
    assert_eq!(chosen["passwordDefined"], true);
    let _ = show(cli, "sessions.example");
}
