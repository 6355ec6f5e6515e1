//! The commands that change an instance: what they send, and what they print.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::apps::v1::{App, InstallAppRequest, UpdateAppRequest},
    hamlet::instance::v1::{
        BlockInstanceRequest, CleanSessionsResult, CreateInstanceRequest, CreateInstanceResult,
        CreateTokenRequest, DeleteInstanceRequest, DeleteInstanceResult, GetInstanceRequest,
        Instance, OperationMetadata, PurgeOrphansRequest, PurgeOrphansResult, RegisterLink,
        RemovedCount, RotateRegisterLinkRequest, SetPassphraseRequest, UnblockInstanceRequest,
        UndeleteInstanceRequest, UpdateInstanceRequest, create_token_request::Audience,
        instance::AuthMode,
    },
    pack,
};
use prost_types::{Duration, Timestamp};
use serde_json::Value;
use support::{
    answers::{changing, checked, instance, running},
    program::Server,
};
use test_kit::fake::{Script, WatchEnd};
use tonic::{Request, Status};

const ID: &str = "6f1c2a52-6f0e-4d0c-9a3e-0d5c2b1f7a10";

fn removed(kind: &str, count: i64) -> RemovedCount {
    RemovedCount {
        kind: kind.to_owned(),
        count,
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// The original's list of settings, whose special keys set fields.
#[test]
fn special_settings_set_the_fields_of_their_names() {
    let fake = changing("update", &instance("bob.example"));
    fake.run(
        "instances modify bob.example --settings context:foo,offer:premium,locale:de,uuid:u1,oidc_id:o1,tos:1.0.0 \
         --settings tos_latest:2.0.0,auto_update:false,auth_mode:two_factor_mail",
    )
    .done();
    let update = fake.asked::<UpdateInstanceRequest>().remove(0);
    assert_eq!(
        update.update_mask.unwrap().paths.join(" "),
        "auth_mode context locale no_auto_update oidc_id tos_latest tos_signed uuid settings.offer"
    );
    let sent = update.instance.unwrap();
    assert_eq!((sent.context.as_str(), sent.locale.as_str()), ("foo", "de"));
    assert!(sent.no_auto_update);
    assert_eq!(sent.auth_mode(), AuthMode::TwoFactorMail);
    assert_eq!(sent.settings.len(), 1);
    for (wrong, told) in [
        ("--settings auto_update:often", "neither true nor false"),
        ("--settings auth_mode:none", "two_factor_mail"),
        ("--settings uuid:a --uuid b", "give it once"),
        ("--settings locale:de --locale fr", "give it once"),
        ("--setting offer", "NAME=VALUE"),
    ] {
        let refused = fake
            .run(&format!("instances modify bob.example {wrong}"))
            .failed(2);
        assert!(refused.contains(told), "{wrong}: {refused}");
    }
}

#[test]
fn a_creation_takes_all_that_is_known_of_an_instance() {
    let result = CreateInstanceResult {
        instance: Some(Instance {
            register_expire_time: Some(seconds(0)),
            ..instance("bob.example")
        }),
        ..CreateInstanceResult::default()
    };
    let fake = changing("create", &result);
    let out = fake
        .run(
            "instances add bob.example --couch-cluster 1 --franceconnect_id f1 --magic_link --tos-latest 2.0.0 \
             --auth-mode two_factor_mail --no-auto-update --org-domain org.example --org-id g1 --trace",
        )
        .done();
    assert!(out.contains("1970-01-01T00:00:00Z"), "{out}");
    fake.run_words(&["instances", "add", "bob.example", "--disk-quota", "512 MiB"])
        .done();
    fake.run("instances add bob.example --couch-cluster -1 --magic_link=false")
        .done();
    let creations = fake.asked::<CreateInstanceRequest>();
    let sent = creations[0].instance.clone().unwrap();
    assert_eq!(sent.couch_cluster, Some(1));
    assert_eq!(sent.franceconnect_id, "f1");
    assert_eq!(
        (sent.org_domain.as_str(), sent.org_id.as_str()),
        ("org.example", "g1")
    );
    assert!(sent.magic_link && sent.no_auto_update);
    assert_eq!(sent.tos_latest, "2.0.0");
    assert_eq!(sent.auth_mode(), AuthMode::TwoFactorMail);
    assert_eq!(creations[0].passphrase, "");
    let sent = creations[1].instance.clone().unwrap();
    assert_eq!(sent.disk_quota_bytes, 536_870_912);
    let sent = creations[2].instance.clone().unwrap();
    assert!(sent.couch_cluster.is_none() && !sent.magic_link);
}

#[test]
fn a_modification_names_the_fields_that_change_and_no_other() {
    let fake = changing("update", &instance("bob.example"));
    let out = fake
        .run(
            "instances modify bob.example --auth-mode two_factor_oidc --blocked --blocking-reason PAYMENT_FAILED \
             --context-name school --deleting=false --disk-quota 10GB --domain-aliases a.example,b.example \
             --email b@example.org --franceconnect_id f1 --locale de --lock --magic_link=false --no-auto-update \
             --oidc_id o1 --old-domain old.example --onboarding-finished --phone +49 --public-name Bob \
             --settings offer:x,a:b:c --setting note=x,y:z --sponsorships s,t --tos 1 --tos-latest 2 --tz Europe/Berlin --uuid u1 \
             --etag e1 --request-id 6f1c2a52-6f0e-4d0c-9a3e-0d5c2b1f7a10",
        )
        .done();
    assert!(
        out.starts_with("changed") && out.contains("bob.example"),
        "{out}"
    );
    fake.run("instances update bob.example --unlock").done();
    let updates = fake.asked::<UpdateInstanceRequest>();
    let update = &updates[0];
    assert_eq!(update.request_id, ID);
    let paths = &update.update_mask.as_ref().unwrap().paths;
    assert_eq!(
        paths.join(" "),
        "auth_mode blocked blocking_reason context deleting disk_quota_bytes domain_aliases email franceconnect_id \
         locale locked magic_link no_auto_update oidc_id old_domain onboarding_finished phone public_name \
         sponsorships timezone tos_latest tos_signed uuid settings.a settings.note settings.offer"
    );
    let sent = update.instance.clone().unwrap();
    assert_eq!(sent.name, "instances/bob.example");
    assert_eq!(sent.etag, "e1");
    assert_eq!(sent.auth_mode(), AuthMode::TwoFactorOidc);
    assert!(sent.blocked && sent.locked && sent.no_auto_update && sent.onboarding_finished);
    assert!(!sent.deleting && !sent.magic_link);
    assert_eq!(sent.blocking_reason, "PAYMENT_FAILED");
    assert_eq!(sent.context, "school");
    assert_eq!(sent.disk_quota_bytes, 10_000_000_000);
    assert_eq!(sent.domain_aliases, ["a.example", "b.example"]);
    assert_eq!(sent.email, "b@example.org");
    assert_eq!(sent.franceconnect_id, "f1");
    assert_eq!(sent.locale, "de");
    assert_eq!(sent.oidc_id, "o1");
    assert_eq!(sent.old_domain, "old.example");
    assert_eq!(sent.phone, "+49");
    assert_eq!(sent.public_name, "Bob");
    assert_eq!(sent.settings["a"], "b:c");
    assert_eq!(sent.settings["note"], "x,y:z");
    assert_eq!(sent.settings["offer"], "x");
    assert_eq!(sent.sponsorships, ["s", "t"]);
    assert_eq!(
        (sent.tos_signed.as_str(), sent.tos_latest.as_str()),
        ("1", "2")
    );
    assert_eq!(sent.timezone, "Europe/Berlin");
    assert_eq!(sent.uuid, "u1");
    let update = &updates[1];
    assert_eq!(update.update_mask.as_ref().unwrap().paths, ["locked"]);
    assert!(!update.instance.as_ref().unwrap().locked);
}

#[test]
fn every_clearable_field_can_be_cleared_by_the_name_of_its_flag() {
    let fake = changing("update", &instance("bob.example"));
    fake.run(
        "instances modify bob.example --unset auth-mode,blocking-reason,context-name,disk-quota,domain-aliases,email \
         --unset franceconnect_id,magic_link,no-auto-update,oidc_id,old-domain,phone,public-name \
         --unset settings,sponsorships,tos,tos-latest,tz,uuid",
    )
    .done();
    fake.run("instances modify bob.example --settings a:1 --unset settings.b,timezone --locale fr")
        .done();
    let updates = fake.asked::<UpdateInstanceRequest>();
    let paths = |of: usize| updates[of].update_mask.as_ref().unwrap().paths.join(" ");
    assert_eq!(
        paths(0),
        "auth_mode blocking_reason context disk_quota_bytes domain_aliases email franceconnect_id magic_link \
         no_auto_update oidc_id old_domain phone public_name settings sponsorships tos_signed tos_latest timezone uuid"
    );
    let sent = updates[0].instance.clone().unwrap();
    assert_eq!(sent.email, "");
    assert_eq!(paths(1), "locale settings.a settings.b timezone");
}

#[test]
fn blocking_and_bringing_back() {
    let mut blocked = instance("bob.example");
    blocked.blocked = true;
    blocked.blocking_reason = "PAYMENT_FAILED".to_owned();
    let fake = changing("block", &blocked);
    let out = fake
        .run("instances block bob.example --reason PAYMENT_FAILED --etag e1")
        .done();
    assert!(out.starts_with("blocked "), "{out}");
    assert!(out.contains("PAYMENT_FAILED"), "{out}");
    let dry = fake.run("instances block bob.example --dry-run").done();
    assert!(dry.starts_with("would be blocked"), "{dry}");
    fake.run(&format!(
        "instances unblock bob.example --etag e2 --request-id {ID}"
    ))
    .done();
    fake.run("instances undelete bob.example --validate-only -o json")
        .done();
    let blocks = fake.asked::<BlockInstanceRequest>();
    let unblocks = fake.asked::<UnblockInstanceRequest>();
    let undeletions = fake.asked::<UndeleteInstanceRequest>();
    assert_eq!(blocks[0].name, "instances/bob.example");
    assert_eq!(blocks[0].reason, "PAYMENT_FAILED");
    assert_eq!(blocks[0].etag, "e1");
    assert!(blocks[1].validate_only);
    // The reason that is there stays.
    assert_eq!(blocks[1].reason, "");
    assert_eq!(
        (unblocks[0].etag.as_str(), unblocks[0].request_id.as_str()),
        ("e2", ID)
    );
    assert!(undeletions[0].validate_only);
}

#[test]
fn one_field_commands() {
    let fake = changing("update", &instance("bob.example"));
    fake.run("instances set-disk-quota bob.example 5GB").done();
    fake.run("instances set-disk-quota bob.example unlimited")
        .done();
    fake.run("instances auth-mode bob.example two_factor_mail")
        .done();
    fake.run("instances debug bob.example false").done();
    let before = std::time::SystemTime::now();
    fake.run("instances debug bob.example true --ttl 2h").done();
    let updates = fake.asked::<UpdateInstanceRequest>();
    let sent: Vec<_> = updates
        .iter()
        .map(|update| {
            let paths = update.update_mask.clone().unwrap().paths;
            (paths.join(" "), update.instance.clone().unwrap())
        })
        .collect();
    assert_eq!(sent[0].0, "disk_quota_bytes");
    assert_eq!(sent[0].1.disk_quota_bytes, 5_000_000_000);
    assert_eq!(sent[1].1.disk_quota_bytes, 0);
    assert_eq!(sent[2].0, "auth_mode");
    assert_eq!(sent[2].1.auth_mode(), AuthMode::TwoFactorMail);
    assert_eq!(sent[3].0, "debug_until");
    assert_eq!(sent[3].1.debug_until, None);
    let until = sent[4].1.debug_until.unwrap();
    let begun = Timestamp::from(before).seconds;
    assert!((begun + 7200..begun + 7200 + 600).contains(&until.seconds));
}

#[test]
fn debug_tells_until_when() {
    let mut bob = instance("bob.example");
    bob.debug_until = Some(seconds(0));
    let fake = Server::start(Script {
        instances: vec![bob, instance("eve.example")],
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances debug bob.example").done(),
        "on until 1970-01-01T00:00:00Z\n"
    );
    assert_eq!(fake.run("instances debug eve.example").done(), "off\n");
    let document: Value =
        serde_json::from_str(&fake.run("instances debug eve.example -o json").done()).unwrap();
    assert_eq!(document["debugUntil"], Value::Null);
}

#[test]
fn the_prefix_of_the_databases() {
    let mut eve = instance("eve.example");
    eve.couch_cluster = Some(1);
    let fake = Server::start(Script {
        instances: vec![instance("bob.example"), eve],
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances show-db-prefix bob.example").done(),
        "cozy00\n"
    );
    assert_eq!(
        fake.run("instances show-db-prefix eve.example").done(),
        "cozy00\ncouch_cluster: 1\n"
    );
}

#[test]
fn a_destruction_lists_what_went_and_the_last_look() {
    let fake = changing(
        "destroy",
        &DeleteInstanceResult {
            domain: "bob.example".to_owned(),
            removed: vec![
                removed("databases", 19),
                removed("claims", 1),
                removed("objects", 0),
            ],
            ..DeleteInstanceResult::default()
        },
    );
    let out = fake.run("instances destroy bob.example --force").done();
    assert_eq!(
        out,
        "destroyed  bob.example\nremoved    19 databases\nremoved    1 claim\nlast look  nothing is left\n"
    );
    let dry = fake.run("instances destroy bob.example --dry-run").done();
    assert!(dry.contains("would be destroyed  bob.example"), "{dry}");
    assert!(dry.contains("would be removed    19 databases"), "{dry}");
    assert_eq!(fake.called("GetInstance"), 0);
    // An argument with a capital can be confirmed, typed as it was given.
    fake.run_typing("instances destroy BOB.example --etag e1", "BOB.example\n")
        .done();
    let destructions = fake.asked::<DeleteInstanceRequest>();
    assert_eq!(destructions.last().unwrap().etag, "e1");
}

#[test]
fn a_soft_deletion_says_until_when_it_can_be_brought_back() {
    let fake = changing(
        "delete",
        &DeleteInstanceResult {
            domain: "bob.example".to_owned(),
            purge_time: Some(seconds(86_400)),
            ..DeleteInstanceResult::default()
        },
    );
    let deleted = fake.run_typing("instances destroy bob.example --keep 30d", "bob.example\n");
    assert!(deleted.err.contains("in 30 days,"), "{deleted:#?}");
    let out = deleted.done();
    assert!(
        out.contains("deleted softly") && out.contains("1970-01-02"),
        "{out}"
    );
    assert!(!out.contains("nothing is left"), "{out}");
    let destructions = fake.asked::<DeleteInstanceRequest>();
    let month = Duration {
        seconds: 30 * 86_400,
        nanos: 0,
    };
    assert_eq!(destructions[0].keep, Some(month));
}

#[test]
fn passphrases_come_from_files_and_standard_input_and_with_a_warning_from_arguments() {
    let result = CreateInstanceResult {
        instance: Some(instance("bob.example")),
        ..CreateInstanceResult::default()
    };
    let fake = changing("create", &result);
    let file = fake.folder().join("passphrase");
    let words = |flags: &str| format!("instances add bob.example {flags}");
    for text in ["one and a half\n", "one and a half\r\n", "one and a half"] {
        std::fs::write(&file, text).unwrap();
        let added = fake.run(&words(&format!("--passphrase-file {}", file.display())));
        assert_eq!(added.err, "");
        added.done();
    }
    fake.run_typing(&words("--passphrase-file -"), "one and a half\nrest\n")
        .done();
    let warned = fake.run_words(&[
        "instances",
        "add",
        "bob.example",
        "--passphrase",
        "one and a half",
    ]);
    assert!(warned.err.contains("warning: --passphrase"), "{warned:#?}");
    assert!(!warned.err.contains("one and a half"), "{warned:#?}");
    warned.done();
    let creations = fake.asked::<CreateInstanceRequest>();
    assert_eq!(creations.len(), 5);
    for creation in &creations {
        assert_eq!(creation.passphrase, "one and a half");
    }
}

#[test]
fn a_passphrase_is_set() {
    let fake = changing("passphrase", &instance("bob.example"));
    let set = "instances set-passphrase bob.example";
    let out = fake.run_typing(set, "the new one\n").done();
    // What has not changed is not shown.
    assert_eq!(
        out,
        "passphrase set  bob.example\nstate           onboarding\n"
    );
    let file = fake.folder().join("passphrase");
    std::fs::write(&file, "the new one\n").unwrap();
    fake.run(&format!(
        "{set} --passphrase-file {} --etag e1",
        file.display()
    ))
    .done();
    let warned = fake.run_words(&["instances", "set-passphrase", "bob.example", "the new one"]);
    assert!(warned.err.contains("warning: PASSPHRASE"), "{warned:#?}");
    warned.done();
    for sent in &fake.asked::<SetPassphraseRequest>() {
        assert_eq!(sent.passphrase, "the new one");
    }
    assert_eq!(fake.asked::<SetPassphraseRequest>()[1].etag, "e1");
    assert_eq!(fake.called("SetPassphrase"), 3);
    for nothing in ["", "\n"] {
        fake.run_typing(set, nothing).failed(2);
    }
    std::fs::write(&file, "two\nlines\n").unwrap();
    let told = fake
        .run(&format!("{set} --passphrase-file {}", file.display()))
        .failed(2);
    assert!(!told.contains("lines\n"), "{told}");
    let told = fake
        .run(&format!("{set} --passphrase-file /nowhere"))
        .failed(2);
    assert!(told.contains("/nowhere"), "{told}");
    assert_eq!(fake.called("SetPassphrase"), 3);
}

#[test]
fn the_passphrase_of_an_owner_is_replaced_after_a_yes_from_wherever_it_comes() {
    let fake = changing("passphrase", &instance("bob.example"));
    fake.answer(|_: Request<GetInstanceRequest>| {
        Ok(Instance {
            onboarding_finished: true,
            ..instance("bob.example")
        })
    });
    let set = "instances set-passphrase bob.example";
    let file = fake.folder().join("passphrase");
    std::fs::write(&file, "the new one\n").unwrap();
    let from_file = format!("{set} --passphrase-file {}", file.display());
    for (words, typed) in [
        (from_file.as_str(), ""),
        (&from_file, "no\n"),
        (set, "the new one\n"),
        (set, "the new one\nbob.example\n"),
    ] {
        let told = fake.run_typing(words, typed).failed(1);
        assert!(told.contains("password vault"), "{told}");
        assert!(told.contains("nothing was changed"), "{told}");
    }
    let changes = || {
        let asked = fake.asked::<SetPassphraseRequest>();
        asked
            .into_iter()
            .filter(|asked| !asked.validate_only)
            .count()
    };
    assert_eq!(changes(), 0);
    for (words, typed) in [
        (from_file.as_str(), "yes\n"),
        (set, "the new one\nyes\n"),
        (&format!("{set} --force"), "the new one\n"),
    ] {
        fake.run_typing(words, typed).done();
    }
    // A dry run asks nothing, and tells what would be lost.
    let checked = fake.run_typing(&format!("{set} --dry-run"), "the new one\n");
    let told = "warning: bob.example at";
    assert!(checked.err.starts_with(told), "{checked:#?}");
    assert!(checked.err.contains("password vault"), "{checked:#?}");
    checked.done();
    assert_eq!(changes(), 3);
    let sent = fake.asked::<SetPassphraseRequest>();
    assert!(sent.iter().all(|sent| sent.passphrase == "the new one"));
    // What is refused anyhow is refused before the question.
    fake.answer(|_: Request<SetPassphraseRequest>| {
        Err::<Operation, _>(Status::invalid_argument("it is too easy to guess"))
    });
    let told = fake.run_typing(&from_file, "yes\n").failed(2);
    assert_eq!(told, "error: it is too easy to guess\n");
}

#[test]
fn what_was_so_already_is_not_told_as_a_change() {
    let as_told = |fields: &[&str], unchanged: &[&str]| {
        let owned = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
        let metadata = OperationMetadata {
            kind: "update".to_owned(),
            changed_fields: owned(fields),
            unchanged_fields: owned(unchanged),
            ..OperationMetadata::default()
        };
        Operation {
            metadata: Some(pack(&metadata)),
            ..checked(&instance("bob.example"))
        }
    };
    let modify = "instances modify bob.example --locale fr --email a@b.example";
    for (unchanged, told) in [
        (
            &["email", "locale"][..],
            [
                "unchanged  bob.example\n",
                "would not change  bob.example\n",
            ],
        ),
        (
            &["locale"],
            ["(as before)\n", "would be changed  bob.example\n"],
        ),
        (
            &[],
            ["changed  bob.example\n", "would be changed  bob.example\n"],
        ),
    ] {
        let fields = ["email", "locale"];
        let done = Operation {
            name: "operations/op-1".to_owned(),
            ..as_told(&fields, unchanged)
        };
        let fake = Server::start(Script {
            accepted: done,
            checked: Some(as_told(&fields, unchanged)),
            instances: vec![instance("bob.example")],
            ..Script::default()
        });
        let changed = fake.run(modify).done();
        assert!(changed.contains(told[0]), "{changed}");
        let checked = fake.run(&format!("{modify} --dry-run")).done();
        assert!(checked.contains(told[1]), "{checked}");
    }
}

#[test]
fn apps_that_are_as_they_should_be_are_told_from_those_that_were_changed() {
    let fake = Server::start(Script {
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    let app = |unchanged| App {
        slug: "home".to_owned(),
        version: "1.0.0".to_owned(),
        state: "ready".to_owned(),
        unchanged,
        ..App::default()
    };
    for (unchanged, told) in [
        (
            Some(true),
            [
                "installed already",
                "installed already",
                "up to date",
                "up to date",
            ],
        ),
        (
            Some(false),
            [
                "installed",
                "would be installed",
                "updated",
                "would be updated",
            ],
        ),
        // A server of an earlier version.
        (
            None,
            ["ready", "would be installed", "ready", "would be updated"],
        ),
    ] {
        fake.answer(move |_: Request<InstallAppRequest>| Ok(app(unchanged)));
        fake.answer(move |_: Request<UpdateAppRequest>| Ok(app(unchanged)));
        let commands = [
            "apps install bob.example home",
            "apps install bob.example home --dry-run",
            "apps update bob.example home",
            "apps update bob.example home --dry-run",
        ];
        for (command, told) in commands.into_iter().zip(told) {
            let line = format!("bob.example  home  1.0.0  {told}\n");
            assert_eq!(fake.run(command).done(), line, "{command}");
        }
    }
}

#[test]
fn tokens_are_printed_alone() {
    let fake = Server::start(Script::default());
    let token = |words: &str| {
        let run = fake.run(&format!("instances {words}"));
        assert_eq!(run.out, "the-token\n", "{run:#?}");
        let err = run.err.clone();
        run.done();
        err
    };
    assert_eq!(
        token("token-cli bob.example io.cozy.files io.cozy.contacts:GET"),
        ""
    );
    token("token-app bob.example home --expire 10m");
    token("token-konnector bob.example bills");
    let warned = token("token-oauth bob.example c1 io.cozy.files,io.cozy.contacts --expire 30d");
    assert!(warned.contains("comma"), "{warned}");
    token("refresh-token-oauth bob.example c1 io.cozy.files");
    let tokens = fake.asked::<CreateTokenRequest>();
    let sent: Vec<_> = tokens
        .iter()
        .map(|token| (token.audience(), token.subject.as_str(), token.scopes.len()))
        .collect();
    assert_eq!(
        sent,
        [
            (Audience::Cli, "", 2),
            (Audience::App, "home", 0),
            (Audience::Konnector, "bills", 0),
            (Audience::Access, "c1", 1),
            (Audience::Refresh, "c1", 1),
        ]
    );
    let lives = |of: usize| tokens[of].lifetime.map(|span| span.seconds);
    assert_eq!(
        (lives(0), lives(1), lives(3)),
        (None, Some(600), Some(30 * 86_400))
    );
}

#[test]
fn sessions_and_orphans_are_removed_with_counts() {
    let fake = changing(
        "sessions",
        &CleanSessionsResult {
            domain: "bob.example".to_owned(),
            removed: vec![removed("documents", 7)],
        },
    );
    let out = fake.run("instances clean-sessions bob.example").done();
    assert!(
        out.contains("bob.example") && out.contains("7 documents"),
        "{out}"
    );
    let fake = changing(
        "orphans",
        &PurgeOrphansResult {
            removed: vec![removed("databases", 3)],
        },
    );
    let out = fake.run("instances orphans --purge --force").done();
    assert!(out.contains("3 databases"), "{out}");
    let out = fake.run("instances orphans --purge --dry-run").done();
    assert!(
        out.contains("would be removed") && out.contains("3 databases"),
        "{out}"
    );
    assert!(fake.asked::<PurgeOrphansRequest>()[1].validate_only);
    assert_eq!(fake.called("ListOrphans"), 0);
    let fake = changing("orphans", &PurgeOrphansResult::default());
    for (words, told) in [
        ("instances orphans --purge --force", "removed  nothing\n"),
        (
            "instances orphans --purge --dry-run",
            "would be removed  nothing\n",
        ),
    ] {
        assert_eq!(fake.run(words).done(), told, "{words}");
    }
}

#[test]
fn a_register_link_is_renewed() {
    let link = RegisterLink {
        link: "http://bob.example/?registerToken=new".to_owned(),
        token: "new".to_owned(),
        expire_time: Some(seconds(0)),
        warnings: vec!["links to bob.example lead nowhere".to_owned()],
    };
    let fake = changing("register-link", &link);
    let renewed = fake.run("instances register-link bob.example --rotate --etag e1");
    assert!(renewed.err.contains("1970-01-01"), "{renewed:#?}");
    assert!(
        renewed.err.contains("warning: links to bob.example lead"),
        "{renewed:#?}"
    );
    assert_eq!(renewed.done(), "http://bob.example/?registerToken=new\n");
    assert_eq!(fake.asked::<RotateRegisterLinkRequest>()[0].etag, "e1");
    assert_eq!(fake.called("GetRegisterLink"), 0);
}

#[test]
fn a_wait_prints_what_the_command_would_have_printed() {
    let blocked = Instance {
        blocked: true,
        ..instance("bob.example")
    };
    for (fake, command) in [
        (changing("block", &blocked), "instances block bob.example"),
        (
            changing("update", &blocked),
            "instances modify bob.example --locale fr",
        ),
        (
            changing("passphrase", &blocked),
            "instances set-passphrase bob.example --passphrase-file ./passphrase",
        ),
        (
            changing(
                "destroy",
                &DeleteInstanceResult {
                    domain: "bob.example".to_owned(),
                    removed: vec![removed("databases", 19)],
                    ..DeleteInstanceResult::default()
                },
            ),
            "instances destroy bob.example --force",
        ),
        (
            changing(
                "register-link",
                &RegisterLink {
                    link: "http://bob.example".to_owned(),
                    ..RegisterLink::default()
                },
            ),
            "instances register-link bob.example --rotate",
        ),
    ] {
        std::fs::write(fake.folder().join("passphrase"), "secret-1").unwrap();
        for form in ["table", "json", "yaml", "name"] {
            let first = fake.run(&format!("{command} -o {form}")).done();
            let again = fake.run(&format!("operations wait op-1 -o {form}")).done();
            assert_eq!(first, again, "{command}");
            assert!(!first.contains("secret-1"), "{first}");
        }
    }
}

#[test]
fn who_looks_at_operations_does_not_see_what_opens_an_instance() {
    let created = CreateInstanceResult {
        instance: Some(instance("bob.example")),
        register_link: "http://bob.example/?registerToken=open-sesame".to_owned(),
        register_token: "open-sesame".to_owned(),
        ..CreateInstanceResult::default()
    };
    let link = RegisterLink {
        link: "http://bob.example/?registerToken=open-sesame".to_owned(),
        token: "open-sesame".to_owned(),
        expire_time: Some(seconds(0)),
        ..RegisterLink::default()
    };
    for fake in [
        changing("create", &created),
        changing("register-link", &link),
    ] {
        for words in ["operations ls", "operations show op-1"] {
            for form in ["table", "json", "yaml", "name"] {
                let shown = fake.run(&format!("{words} -o {form}")).done();
                assert!(shown.contains("op-1"), "{shown}");
                assert!(!shown.contains("open-sesame"), "{shown}");
            }
        }
        let waited = fake.run("operations wait op-1").done();
        assert!(waited.contains("open-sesame"), "{waited}");
    }
}

#[test]
fn a_server_that_begins_what_it_should_check_is_told_on() {
    let fake = Server::start(Script {
        accepted: running("block"),
        watches: vec![(vec![running("block")], WatchEnd::Stop)].into(),
        ..Script::default()
    });
    let told = fake.run("instances block bob.example --dry-run").failed(1);
    assert!(told.contains("operations/op-1 was begun"), "{told}");
    assert_eq!(fake.called("WatchOperation"), 0);
}

#[test]
fn adding_and_destroying_can_be_disabled_for_the_command_line() {
    let fake = changing("destroy", &DeleteInstanceResult::default());
    for words in [
        "instances add bob.example",
        "instances add bob.example --dry-run",
        "instances rm bob.example --force",
    ] {
        let mut command = fake.hamlet(words);
        command.env("HAMLET_DISABLE_INSTANCES_ADD_RM", "use the portal");
        let told = support::program::run(command).failed(5);
        assert!(told.contains("use the portal"), "{told}");
        assert!(told.contains("HAMLET_DISABLE_INSTANCES_ADD_RM"), "{told}");
    }
    assert!(fake.calls().is_empty());
    let mut command = fake.hamlet("instances rm bob.example --force");
    command.env("HAMLET_DISABLE_INSTANCES_ADD_RM", "");
    support::program::run(command).done();
    let mut command = fake.hamlet("instances show bob.example");
    command.env("HAMLET_DISABLE_INSTANCES_ADD_RM", "use the portal");
    support::program::run(command).done();
}

#[test]
fn a_change_that_is_refused_names_the_flag() {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("instance.disk_quota_bytes", "is negative");
    let refusal = Status::with_error_details(
        tonic::Code::InvalidArgument,
        "instance.disk_quota_bytes: is negative",
        details,
    );
    let fake = Server::start(Script {
        refuse: Some(refusal),
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances modify bob.example --disk-quota 1")
            .failed(2),
        "error: --disk-quota (instance.disk_quota_bytes): is negative\n"
    );
    assert_eq!(
        fake.run("instances set-disk-quota bob.example 1").failed(2),
        "error: SIZE (instance.disk_quota_bytes): is negative\n"
    );
}

#[test]
fn what_would_be_created_is_shown() {
    let fake = Server::start(Script {
        checked: Some(checked(&CreateInstanceResult {
            instance: Some(instance("bob.example")),
            ..CreateInstanceResult::default()
        })),
        ..Script::default()
    });
    let out = fake.run("instances add bob.example --dry-run").done();
    assert!(out.starts_with("would be created  bob.example"), "{out}");

    // What an instance gets at its creation only is left out.
    let fake = Server::start(Script {
        checked: Some(checked(&CreateInstanceResult {
            instance: Some(Instance {
                domain: "bob.example".to_owned(),
                locale: "en".to_owned(),
                disk_quota_bytes: 1_000_000_000,
                ..Instance::default()
            }),
            ..CreateInstanceResult::default()
        })),
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances add bob.example --dry-run").done(),
        "would be created  bob.example\nlocale            en\nquota             1GB\n"
    );
}
