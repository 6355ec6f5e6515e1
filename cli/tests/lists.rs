//! The commands that list: instances with their fields, findings, orphans, operations.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use hamlet_proto::{
    google::{
        longrunning::{ListOperationsRequest, Operation, operation},
        rpc,
    },
    hamlet::{
        files::v1::{CheckTreeRequest, Finding},
        instance::v1::{
            Instance, ListInstancesRequest, OperationMetadata, Orphan, Step,
            operation_metadata::Phase, orphan, step,
        },
    },
    pack,
};
use serde_json::json;
use support::{
    answers::{instance, json_lines},
    program::{Server, hamlet, run},
};
use test_kit::fake::Script;
use tonic::Status;

fn three() -> Server {
    Server::start(Script {
        instances: vec![
            Instance {
                domain_aliases: vec!["x.example".to_owned(), "y.example".to_owned()],
                blocked: true,
                email: "a@example.org".to_owned(),
                ..instance("a.example")
            },
            Instance {
                password_defined: Some(true),
                ..instance("b.example")
            },
            instance("c.example"),
        ],
        ..Script::default()
    })
}

/// Whatever a setting holds, a program can read it back out of a CSV.
#[test]
fn a_map_in_a_csv_is_json() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let fake = Server::start(Script {
        instances: vec![
            Instance {
                labels: [pair("team", "a")].into(),
                settings: [pair("offer", "x"), pair("note", "a, b,offer:\"y\"")].into(),
                ..instance("a.example")
            },
            instance("b.example"),
        ],
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances ls -o csv --fields domain,labels,settings")
            .done(),
        "domain,labels,settings\r\n\
         a.example,\"{\"\"team\"\":\"\"a\"\"}\",\
         \"{\"\"note\"\":\"\"a, b,offer:\\\"\"y\\\"\"\"\",\"\"offer\"\":\"\"x\"\"}\"\r\n\
         b.example,,\r\n"
    );
}

#[test]
fn fields_are_printed_in_the_order_asked() {
    let fake = three();
    assert_eq!(
        fake.run("instances ls --fields blocked,domain,domain_aliases,password_defined")
            .done(),
        "true   a.example  x.example,y.example  -\n\
         false  b.example  -                    true\n\
         false  c.example  -                    -\n"
    );
    assert_eq!(fake.called("GetInstance"), 0);
    let lines = json_lines(
        &fake
            .run("instances ls --json --fields disk_quota,domain,passwordDefined,blocked,state,aliases")
            .done(),
    );
    assert_eq!(
        lines[1],
        json!({
            "diskQuotaBytes": "10000000000", "domain": "b.example", "passwordDefined": true, "blocked": false,
            "state": "STATE_ONBOARDING", "domainAliases": [],
        })
    );
    let whole = json_lines(&fake.run("instances ls -o json").done());
    for name in ["diskQuotaBytes", "domain", "passwordDefined", "state"] {
        assert_eq!(lines[1][name], whole[1][name], "{name}");
    }
    assert_eq!(lines[0]["passwordDefined"], json!(null));
    let yaml = fake.run("instances ls --fields domain -o yaml").done();
    assert_eq!(yaml.matches("---\n").count(), 3, "{yaml}");
}

#[test]
fn labels_and_settings_are_cells_as_their_flags_take_them() {
    let pairs = |pairs: [(&str, &str); 2]| {
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        pairs.into()
    };
    let fake = Server::start(Script {
        instances: vec![Instance {
            labels: pairs([("team", "a"), ("shard", "7")]),
            settings: pairs([("offer", "free"), ("partner", "p")]),
            ..instance("a.example")
        }],
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances ls --fields labels,settings").done(),
        "shard=7,team=a  offer:free,partner:p\n"
    );
    assert_eq!(
        fake.run("instances show a.example --fields labels").done(),
        "labels  shard=7,team=a\n"
    );
}

#[test]
fn what_lists_leave_out_is_asked_for_instance_by_instance() {
    let fake = three();
    assert_eq!(
        fake.run("instances ls --fields domain,email").done(),
        "a.example  a@example.org\nb.example  -\nc.example  -\n"
    );
    assert_eq!(fake.called("GetInstance"), 0, "lists have it");
    assert_eq!(
        fake.run("instances ls --fields domain,public_name").done(),
        "a.example  -\nb.example  -\nc.example  -\n"
    );
    assert_eq!(fake.called("GetInstance"), 3);
    assert_eq!(
        fake.run("instances show a.example --fields email,domain")
            .done(),
        "email   a@example.org\ndomain  a.example\n"
    );
    let shown = fake
        .run("instances show a.example --fields email -o json")
        .done();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        json!({"email": "a@example.org"})
    );
}

#[test]
fn the_available_fields_need_no_server() {
    let place = tempfile::tempdir().unwrap();
    let fields = run(hamlet(place.path(), "instances ls --available-fields")).done();
    let fake = three();
    for field in fields.lines() {
        fake.run(&format!("instances ls --fields {field}")).done();
    }
    for field in ["domain", "prefix", "email", "state", "purgeTime"] {
        assert!(fields.lines().any(|line| line == field), "{field}");
    }
    for older in [
        "db_prefix",
        "purge_time",
        "disk-quota",
        "tz",
        "tos",
        "quota",
        "created",
    ] {
        fake.run(&format!("instances ls --fields {older}")).done();
    }
}

#[test]
fn one_page_says_where_the_next_begins() {
    let fake = three();
    let first = fake.run("instances ls -o name --limit 1");
    assert!(first.err.contains("--page-token 1"), "{first:#?}");
    assert_eq!(first.done(), "instances/a.example\n");
    let rest = fake.run("instances ls -o name --page-token 1");
    assert_eq!(rest.err, "");
    assert_eq!(rest.done(), "instances/b.example\ninstances/c.example\n");
    let all = fake.run("instances ls -o name --limit 3");
    assert_eq!(all.err, "", "there are no more");
    assert_eq!(all.done().lines().count(), 3);
    fake.run("instances ls --page-size 1 --deleted").done();
    let lists = fake.asked::<ListInstancesRequest>();
    let sizes: Vec<_> = lists.iter().map(|list| list.page_size).collect();
    assert_eq!(sizes, [1, 200, 3, 1, 1, 1, 1]);
    assert!(!lists[0].show_deleted && lists[6].show_deleted);
}

#[test]
fn a_page_is_printed_before_the_next_has_come() {
    use std::io::{BufRead as _, BufReader};
    let fake = Server::start(Script {
        instances: vec![instance("a.example"); 3],
        pages: Some(1),
        ..Script::default()
    });
    let mut child = fake.hamlet("instances ls").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert!(lines.next().unwrap().unwrap().contains("a.example"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn finding(what: &str, path: &str) -> Finding {
    Finding {
        r#type: what.to_owned(),
        file_id: "id1".to_owned(),
        path: path.to_owned(),
        detail: "more about it".to_owned(),
    }
}

#[test]
fn a_check_that_finds_something_fails() {
    let fake = Server::start(Script {
        findings: vec![
            finding("index_missing", "/a"),
            finding("content_mismatch", "/b b"),
        ],
        instances: vec![instance("bücher.example:8080"), instance("bob.example")],
        ..Script::default()
    });
    let checked = fake.run("instances fsck Bücher.example:8080 --files-consistency --fail-fast");
    assert_eq!(
        checked.out,
        "index_missing     /a    id1  more about it\ncontent_mismatch  /b b  id1  more about it\n"
    );
    assert!(checked.failed(1).contains("2 findings"));
    let calls = fake.calls();
    assert_eq!(
        calls.last().unwrap(),
        "CheckTree xn--bcher-kva.example:8080"
    );
    let check = fake.asked::<CheckTreeRequest>()[0];
    assert!(check.files_consistency && check.fail_fast && !check.index_integrity);
    let json = fake.run("instances fsck bob.example --json");
    assert_eq!(json_lines(&json.out)[1]["path"], "/b b");
    assert_eq!(json.code, Some(1));
    assert!(json.err.contains("2 findings"), "{}", json.err);
}

#[test]
fn a_check_that_finds_nothing_says_nothing() {
    let fake = Server::start(Script {
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    let checked = fake.run("instances fsck bob.example");
    assert_eq!(checked.err, "", "a program looks at the exit code");
    assert_eq!(checked.done(), "");
}

#[test]
fn a_check_that_breaks_off_shows_what_it_found_and_is_no_success() {
    let fake = Server::start(Script {
        findings: vec![finding("index_missing", "/a")],
        broken: Some(Status::unavailable("the service starts again")),
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    let checked = fake.run("instances fsck bob.example");
    assert!(checked.out.contains("index_missing"), "{checked:#?}");
    checked.failed(6);
}

fn orphaned() -> Server {
    let orphan = |kind: orphan::Kind, name: &str, count| Orphan {
        kind: kind.into(),
        name: name.to_owned(),
        reason: "no instance has this prefix".to_owned(),
        count,
    };
    Server::start(Script {
        orphans: vec![
            orphan(orphan::Kind::Database, "cozy00/io-cozy-files", 12),
            orphan(orphan::Kind::Claim, "bob.example", 0),
        ],
        ..Script::default()
    })
}

#[test]
fn orphans_are_listed_and_kept_until_somebody_says_yes() {
    let fake = orphaned();
    assert_eq!(
        fake.run("instances orphans").done(),
        "database  cozy00/io-cozy-files  12  no instance has this prefix\n\
         claim     bob.example           -   no instance has this prefix\n"
    );
    for typed in ["no\n", "\n", ""] {
        let told = fake
            .run_typing("instances orphans --purge", typed)
            .failed(1);
        assert!(told.contains("aborted"), "{told}");
        assert!(told.contains("cozy00/io-cozy-files"), "{told}");
    }
    assert_eq!(fake.called("PurgeOrphans"), 0);
    // The script ends here: whoever says yes is asked no more.
    let purged = fake.run_typing("instances orphans --purge", "yes\n");
    assert_eq!(fake.called("PurgeOrphans"), 1);
    purged.failed(6);
}

#[test]
fn operations_tell_their_place_steps_tries_and_last_error() {
    let step = |name: &str, state: step::State| Step {
        name: name.to_owned(),
        state: state.into(),
        duration: None,
        detail: String::new(),
    };
    let operation = |id: &str, metadata: OperationMetadata| Operation {
        name: format!("operations/{id}"),
        metadata: Some(pack(&metadata)),
        ..Operation::default()
    };
    let waiting = operation(
        "b",
        OperationMetadata {
            kind: "create".to_owned(),
            domain: "b.example".to_owned(),
            phase: Phase::Waiting.into(),
            steps: vec![
                step("claims", step::State::Done),
                step("databases", step::State::Running),
                step("look", step::State::Pending),
            ],
            attempt: 3,
            last_error: "the database is away".to_owned(),
            cancellable: true,
            ..OperationMetadata::default()
        },
    );
    let queued = operation(
        "a",
        OperationMetadata {
            kind: "create".to_owned(),
            domain: "a.example".to_owned(),
            phase: Phase::Queued.into(),
            queue_position: Some(2),
            ..OperationMetadata::default()
        },
    );
    let mut failed = operation(
        "c",
        OperationMetadata {
            kind: "destroy".to_owned(),
            domain: "c.example".to_owned(),
            ..OperationMetadata::default()
        },
    );
    failed.done = true;
    failed.result = Some(operation::Result::Error(rpc::Status {
        code: 10,
        message: "the name is taken".to_owned(),
        details: Vec::new(),
    }));
    let fake = Server::start(Script {
        accepted: waiting.clone(),
        operations: vec![queued, waiting, failed],
        ..Script::default()
    });
    assert_eq!(
        fake.run("operations ls --running").done(),
        "a  create  a.example  queued   -  -  2 before it        -\n\
         b  create  b.example  waiting  -  -  databases (try 3)  the database is away\n\
         c  destroy  c.example  failed   -  -  -                  the name is taken\n"
    );
    let lists = fake.asked::<ListOperationsRequest>();
    let filters: Vec<_> = lists.iter().map(|list| list.filter.as_str()).collect();
    assert_eq!(filters, ["done=false", "done=false"]);
    let shown = fake.run("operations show b").done();
    for line in [
        "phase       waiting",
        "step        claims: done",
        "step        databases: at work",
        "step        look: to come",
        "tries       3",
        "last error  the database is away",
        "cancelling  possible",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let shown = fake.run("operations cancel b").done();
    assert!(shown.contains("operations/b"), "{shown}");
    let shown = fake.run("operations retry operations/b").done();
    assert!(shown.contains("operations/b"), "{shown}");
    assert_eq!(
        (
            fake.called("CancelOperation"),
            fake.called("RetryOperation")
        ),
        (1, 1)
    );
}

#[test]
fn an_operation_that_cannot_be_cancelled_says_why() {
    let fake = Server::start(Script {
        refuse: Some(Status::failed_precondition(
            "a destruction goes only forward",
        )),
        ..Script::default()
    });
    let told = fake.run("operations cancel b").failed(4);
    assert!(told.contains("only forward"), "{told}");
}
