//! `hamlet instances destroy`: what is asked before, and what is told afterwards.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::collections::HashMap;

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::instance::v1::{
        DeleteInstanceRequest, DeleteInstanceResult, RemovedCount, instance::State,
    },
};
use support::{
    answers::{changing, checked, instance, running},
    program::Server,
};
use test_kit::fake::Script;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

#[test]
fn a_destruction_asks_for_the_domain_again() {
    let removed = DeleteInstanceResult {
        domain: "bob.example".to_owned(),
        removed: vec![RemovedCount {
            kind: "databases".to_owned(),
            count: 19,
        }],
        ..DeleteInstanceResult::default()
    };
    let fake = changing("destroy", &removed);
    for (typed, why) in [
        ("alice.example\n", "that is not bob.example"),
        ("\n", "that is not bob.example"),
        ("", "nothing was typed"),
    ] {
        let told = fake
            .run_typing("instances destroy bob.example", typed)
            .failed(1);
        assert!(told.contains("aborted") && told.contains(why), "{told}");
    }
    // What would refuse it is asked before the question.
    let destructions = || {
        let mut asked = fake.asked::<DeleteInstanceRequest>();
        asked.retain(|request| !request.validate_only);
        asked
    };
    assert_eq!(destructions().len(), 0);

    // Capitals are no other domain, and a last line needs no line feed.
    let out = fake
        .run_typing("instances rm bob.example", "BOB.example")
        .done();
    assert!(
        out.contains("bob.example") && out.contains("19 databases"),
        "{out}"
    );
    let destructions = destructions();
    assert_eq!(destructions[0].name, "instances/bob.example");
    assert_eq!(destructions[0].etag, "etag-1");
    assert!(!destructions[0].abandon_accounts);
}

#[test]
fn a_forced_destruction_asks_nothing() {
    let fake = changing(
        "destroy",
        &DeleteInstanceResult {
            domain: "bob.example".to_owned(),
            ..DeleteInstanceResult::default()
        },
    );
    let destroyed = fake.run("instances destroy bob.example --force");
    assert_eq!(destroyed.err, "");
    destroyed.done();
    assert_eq!(fake.called("GetInstance"), 0);
}

#[test]
fn an_alias_or_nothing_cannot_be_destroyed() {
    let mut bob = instance("bob.example");
    bob.domain_aliases = vec!["robert.example".to_owned()];
    let fake = Server::start(Script {
        instances: vec![bob],
        ..Script::default()
    });
    let refused = fake.run_typing("instances destroy robert.example", "bob.example\n");
    // Nobody is asked about what will be refused.
    assert!(!refused.err.contains("Type"), "{refused:#?}");
    let told = refused.failed(2);
    assert!(told.contains("main domain"), "{told}");
    let destroyed = fake.run_typing("instances destroy nobody.example", "nobody.example\n");
    // Nobody is asked about what is not there.
    assert!(!destroyed.err.contains("Type"), "{destroyed:#?}");
    destroyed.failed(3);
    assert_eq!(fake.called("DeleteInstance"), 0);
}

#[test]
fn what_cannot_be_destroyed_now_is_refused_before_anybody_answers() {
    let mut locked = instance("locked.example");
    locked.locked = true;
    let mut new = instance("new.example");
    new.state = State::Creating.into();
    new.operation = "operations/op-7".to_owned();
    let fake = Server::start(Script {
        instances: vec![locked, new],
        ..Script::default()
    });
    for (domain, told) in [
        ("locked.example", "modify locked.example --unlock"),
        ("new.example", "hamlet operations wait op-7"),
    ] {
        let typed = format!("{domain}\n");
        let refused = fake.run_typing(&format!("instances destroy {domain}"), &typed);
        assert!(!refused.err.contains("Type"), "{refused:#?}");
        let refused = refused.failed(4);
        assert!(refused.contains(told), "{refused}");
    }
    assert_eq!(fake.called("DeleteInstance"), 0);
}

#[test]
fn a_time_that_is_refused_is_refused_before_the_question() {
    let fake = Server::start(Script {
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    fake.answer(|_: Request<DeleteInstanceRequest>| {
        Err::<Operation, _>(Status::invalid_argument("keep: is longer than ten years"))
    });
    let told = fake
        .run_typing("instances destroy bob.example --keep 90y", "bob.example\n")
        .failed(2);
    assert_eq!(told, "error: keep: is longer than ten years\n");
    for command in [
        "destroy bob.example",
        "orphans --purge",
        "set-passphrase bob.example",
    ] {
        let told = fake.run_typing(&format!("instances {command} -o csv"), "yes\n");
        assert!(!told.err.contains("Type "), "{told:#?}");
        let _ = told.failed(2);
    }
}

#[test]
fn leftovers_are_no_success() {
    let left = DeleteInstanceResult {
        domain: "bob.example".to_owned(),
        leftovers: vec!["cozy00/io-cozy-files".to_owned()],
        ..DeleteInstanceResult::default()
    };
    let fake = changing("destroy", &left);
    let told = fake.run("instances destroy bob.example --force").failed(1);
    assert!(told.contains("cozy00/io-cozy-files"), "{told}");
}

/// Accounts at other services are named before the question, and left there only by whoever has read of them.
#[test]
fn accounts_that_stay_at_other_services_are_named_before_the_question() {
    let result = DeleteInstanceResult {
        domain: "bob.example".to_owned(),
        abandoned_accounts: vec!["bank (account1)".to_owned()],
        ..DeleteInstanceResult::default()
    };
    let fake = changing("destroy", &result);
    let would_be = checked(&result);
    fake.answer(move |request: Request<DeleteInstanceRequest>| {
        let asked = request.into_inner();
        match (asked.abandon_accounts, asked.validate_only) {
            (false, _) => {
                let mut details = ErrorDetails::new();
                let accounts =
                    HashMap::from([("accounts".to_owned(), "bank (account1)".to_owned())]);
                details.set_error_info("ACCOUNTS_LEFT", "hamlet", accounts);
                let told = "bob.example has accounts";
                Err(Status::with_error_details(
                    Code::FailedPrecondition,
                    told,
                    details,
                ))
            }
            (true, true) => Ok(would_be.clone()),
            (true, false) => Ok(running("destroy")),
        }
    });
    let kept = fake.run_typing("instances destroy bob.example", "no\n");
    assert!(kept.err.contains("bank (account1)"), "{kept:#?}");
    kept.failed(1);
    let told = fake.run_typing("instances destroy bob.example", "bob.example\n");
    assert!(told.err.contains("They stay there"), "{told:#?}");
    let out = told.done();
    assert!(
        out.contains("left elsewhere") && out.contains("bank (account1)"),
        "{out}"
    );
    fake.run("instances destroy bob.example --force").done();
    // A preview says what would be refused.
    let refused = fake
        .run("instances destroy bob.example --dry-run")
        .failed(4);
    assert!(refused.contains("has accounts"), "{refused}");
    let mut made = fake.asked::<DeleteInstanceRequest>();
    made.retain(|request| !request.validate_only);
    assert_eq!(made.len(), 2);
}
