//! What a person or a script sees of `hamlet`: outputs, questions, exit codes.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::process::Stdio;

use hamlet_proto::{
    google::{
        longrunning::{Operation, operation},
        rpc,
    },
    hamlet::{
        apps::v1::App,
        files::v1::{File, TreeEntry, file},
        instance::v1::{
            AppOutcome, CreateInstanceRequest, CreateInstanceResult, DeleteInstanceRequest,
            OperationMetadata, RegisterLink, Step, instance::State, operation_metadata::Phase,
            step,
        },
    },
    pack,
};
use prost::{Message, Name};
use serde_json::Value;
use support::{
    answers::{checked, instance, json_lines},
    program::{Server, finish, run},
};
use test_kit::{
    doors::ADMIN_CREDENTIAL,
    fake::{Script, Watch, WatchEnd},
};
use tonic::{Code, Status};

fn running() -> Operation {
    Operation {
        name: "operations/op-1".to_owned(),
        metadata: Some(pack(&OperationMetadata {
            kind: "create".to_owned(),
            domain: "bob.example".to_owned(),
            phase: Phase::Running.into(),
            steps: vec![Step {
                name: "claims".to_owned(),
                state: step::State::Done.into(),
                duration: None,
                detail: String::new(),
            }],
            ..OperationMetadata::default()
        })),
        ..Operation::default()
    }
}

fn ended<M: Message + Name>(result: &M) -> Operation {
    Operation {
        done: true,
        result: Some(operation::Result::Response(pack(result))),
        ..running()
    }
}

fn created() -> CreateInstanceResult {
    CreateInstanceResult {
        instance: Some(instance("bob.example")),
        apps: vec![AppOutcome {
            source: "home".to_owned(),
            slug: "home".to_owned(),
            version: "1.0.0".to_owned(),
            error: String::new(),
        }],
        register_link: "http://bob.example/?registerToken=abc".to_owned(),
        register_token: "abc".to_owned(),
        warnings: Vec::new(),
    }
}

/// A server that accepts anything as `operations/op-1`, and streams these states.
fn accepting(watches: Vec<Watch>) -> Server {
    Server::start(Script {
        accepted: running(),
        watches: watches.into(),
        operations: vec![running()],
        instances: vec![instance("bob.example")],
        ..Script::default()
    })
}

#[test]
fn a_creation_sends_what_was_said_and_shows_what_came_of_it() {
    let fake = accepting(vec![(vec![running(), ended(&created())], WatchEnd::Stop)]);
    let out = fake
        .run(
            "instances add bob.example --locale de --apps home,file:///srv/notes --apps drive --public-name Bob \
             --email bob@example.org --tz Europe/Berlin --phone +49 --settings offer:free,a:b:c \
             --domain-aliases www.bob.example --context-name school --uuid u1 --oidc_id o1 --old-domain old.example \
             --disk-quota 512MiB --sponsorships x,y --tos 1.0.0",
        )
        .done();
    assert!(
        out.contains("http://bob.example/?registerToken=abc"),
        "{out}"
    );
    assert!(out.contains("home 1.0.0"), "{out}");

    let creations = fake.asked::<CreateInstanceRequest>();
    let request = &creations[0];
    assert_eq!(request.apps, ["home", "file:///srv/notes", "drive"]);
    assert_eq!(request.request_id.len(), 36);
    assert!(!request.validate_only && !request.trace);
    let sent = request.instance.clone().unwrap();
    assert_eq!(sent.domain, "bob.example");
    assert_eq!(sent.locale, "de");
    assert_eq!(sent.public_name, "Bob");
    assert_eq!(sent.email, "bob@example.org");
    assert_eq!(sent.timezone, "Europe/Berlin");
    assert_eq!(sent.phone, "+49");
    assert_eq!(sent.settings["offer"], "free");
    assert_eq!(sent.settings["a"], "b:c");
    assert_eq!(sent.domain_aliases, ["www.bob.example"]);
    assert_eq!(sent.context, "school");
    assert_eq!(sent.uuid, "u1");
    assert_eq!(sent.oidc_id, "o1");
    assert_eq!(sent.old_domain, "old.example");
    assert_eq!(sent.disk_quota_bytes, 536_870_912);
    assert_eq!(sent.sponsorships, ["x", "y"]);
    assert_eq!(sent.tos_signed, "1.0.0");
}

#[test]
fn a_creation_speaks_english_unless_told_otherwise() {
    let fake = accepting(vec![(vec![ended(&created())], WatchEnd::Stop)]);
    fake.run("instances create bob.example").done();
    let creations = fake.asked::<CreateInstanceRequest>();
    assert_eq!(creations[0].instance.clone().unwrap().locale, "en");
}

#[test]
fn json_is_one_document_and_progress_is_for_terminals() {
    let fake = accepting(vec![(vec![running(), ended(&created())], WatchEnd::Stop)]);
    let added = fake.run("instances add bob.example -o json");
    assert_eq!(added.err, "");
    let document: Value = serde_json::from_str(&added.done()).unwrap();
    assert_eq!(document["instance"]["domain"], "bob.example");
    assert_eq!(document["instance"]["state"], "STATE_ONBOARDING");
    assert_eq!(document["instance"]["diskQuotaBytes"], "10000000000");
    assert_eq!(document["registerToken"], "abc");
}

#[test]
fn the_other_forms_of_a_creation() {
    let watch = || (vec![ended(&created())], WatchEnd::Stop);
    let fake = accepting(vec![watch(), watch()]);
    let names = fake.run("instances add bob.example -o name").done();
    assert_eq!(names, "instances/bob.example\n");
    let yaml = fake.run("instances add bob.example -o yaml").done();
    assert!(yaml.contains("\n  domain: bob.example\n"), "{yaml}");
}

#[test]
fn an_app_that_fails_is_warned_about_and_the_instance_is_printed() {
    let mut result = created();
    result.apps.push(AppOutcome {
        source: "nosuchapp".to_owned(),
        error: "no registry has it".to_owned(),
        ..AppOutcome::default()
    });
    result.warnings.push("the context is not known".to_owned());
    let fake = accepting(vec![(vec![ended(&result)], WatchEnd::Stop)]);
    let added = fake.run("instances add bob.example --apps home,nosuchapp");
    assert!(added.out.contains("registerToken=abc"));
    let told = added.failed(1);
    assert!(told.contains("warning: the context is not known"), "{told}");
    assert!(
        told.contains("nosuchapp was not installed: no registry has it"),
        "{told}"
    );
}

#[test]
fn a_trace_is_told_beside_the_data() {
    let mut traced = ended(&created());
    traced.metadata = Some(pack(&OperationMetadata {
        kind: "create".to_owned(),
        steps: vec![Step {
            name: "claims".to_owned(),
            state: step::State::Done.into(),
            duration: Some(prost_types::Duration {
                seconds: 0,
                nanos: 12_000_000,
            }),
            detail: String::new(),
        }],
        ..OperationMetadata::default()
    }));
    let fake = accepting(vec![(vec![traced], WatchEnd::Stop)]);
    let added = fake.run("instances add bob.example --trace -o json");
    assert!(added.err.contains("claims: 12 ms"), "{added:#?}");
    assert!(fake.asked::<CreateInstanceRequest>()[0].trace);
}

#[test]
fn a_dry_run_follows_nothing() {
    let fake = Server::start(Script {
        checked: Some(checked(&created())),
        ..Script::default()
    });
    fake.run("instances add bob.example --validate-only").done();
    fake.run("instances destroy bob.example --dry-run").done();
    let creations = fake.asked::<CreateInstanceRequest>();
    let destructions = fake.asked::<DeleteInstanceRequest>();
    assert!(creations[0].validate_only && destructions[0].validate_only);
    assert_eq!(fake.called("WatchOperation"), 0);
}

#[test]
fn a_failed_operation_ends_as_a_failed_call_would() {
    for (code, exit) in [
        (Code::AlreadyExists, 4),
        (Code::InvalidArgument, 2),
        (Code::Internal, 1),
    ] {
        let failed = Operation {
            done: true,
            result: Some(operation::Result::Error(rpc::Status {
                code: code.into(),
                message: "the name is taken".to_owned(),
                details: Vec::new(),
            })),
            ..running()
        };
        let fake = accepting(vec![(vec![failed], WatchEnd::Stop)]);
        let told = fake.run("instances add bob.example").failed(exit);
        assert_eq!(told, "error: the name is taken\n");
    }
}

#[test]
fn each_status_has_its_exit_code() {
    for (code, exit) in [
        (Code::NotFound, 3),
        (Code::AlreadyExists, 4),
        (Code::Aborted, 4),
        (Code::FailedPrecondition, 4),
        (Code::PermissionDenied, 5),
        (Code::InvalidArgument, 2),
        (Code::Unavailable, 6),
        (Code::DeadlineExceeded, 6),
        (Code::Unimplemented, 1),
    ] {
        let fake = Server::start(Script {
            refuse: Some(Status::new(code, "this is why")),
            ..Script::default()
        });
        let told = fake.run("instances show bob.example").failed(exit);
        assert!(told.contains("this is why"), "{told}");
    }
}

#[test]
fn wrong_fields_are_listed() {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("instance.locale", "is no language");
    details.add_bad_request_violation("instance.email", "is no address");
    let fake = Server::start(Script {
        refuse: Some(Status::with_error_details(
            Code::InvalidArgument,
            "two fields are wrong",
            details,
        )),
        ..Script::default()
    });
    let told = fake.run("instances add bob.example").failed(2);
    assert_eq!(
        told,
        "error: two fields are wrong\n  --locale (instance.locale): is no language\n  --email (instance.email): is no address\n"
    );
}

/// A server that refuses every call because of these fields.
fn refusing(reason: &str, violations: &[(&str, &str)], message: Option<&str>) -> Server {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "hamlet", std::collections::HashMap::new());
    for (field, why) in violations {
        details.add_bad_request_violation(*field, *why);
    }
    let all: Vec<_> = violations
        .iter()
        .map(|(field, why)| format!("{field}: {why}"))
        .collect();
    let all = all.join("; ");
    let status =
        Status::with_error_details(Code::InvalidArgument, message.unwrap_or(&all), details);
    Server::start(Script {
        refuse: Some(status),
        ..Script::default()
    })
}

#[test]
fn what_a_server_tells_of_fields_is_told_in_flags() {
    for (violations, words, told) in [
        (
            [(
                "instance.blocking_reason",
                "is given for an instance that is not blocked; set instance.blocked too",
            )]
            .as_slice(),
            "instances modify bob.example --blocking-reason X",
            "error: --blocking-reason (instance.blocking_reason): is given for an instance that is not blocked; set \
             --blocked too\n",
        ),
        (
            &[(
                "passphrase",
                "cannot be used with instance.magic_link or instance.franceconnect_id",
            )],
            "instances add bob.example --magic_link",
            "error: --passphrase (passphrase): cannot be used with --magic_link or --franceconnect_id\n",
        ),
        (
            &[(
                "instance.settings.email",
                "has a field of its own: use instance.email",
            )],
            "instances add bob.example --settings email:a@example.org",
            "error: --settings (instance.settings.email): has a flag of its own: use --email\n",
        ),
        (
            &[
                (
                    "update_mask",
                    "\"settings.tz\" has a field of its own: use instance.timezone",
                ),
                ("instance.locale", "is no language"),
            ],
            "instances modify bob.example --setting tz=UTC --settings locale:x",
            "error: 2 values cannot be used\n  --setting (instance.settings.tz): has a flag of its own: use --tz\n  \
             --settings locale (instance.locale): is no language\n",
        ),
        (
            &[("filter", "kind: \"x\" is no kind of operation")],
            "operations ls --kind x",
            "error: --kind (kind): \"x\" is no kind of operation\n",
        ),
        (
            &[(
                "page_token",
                "is not one that this server gave; use the next_page_token of the page before",
            )],
            "instances ls --page-token x",
            "error: --page-token (page_token): is not one that this server gave; use the one that the list before \
             ended with\n",
        ),
    ] {
        let fake = refusing("INVALID_FIELD", violations, None);
        assert_eq!(fake.run(words).failed(2), told, "{words}");
        let json = fake.run(&format!("{words} -o json"));
        let json: Value = serde_json::from_str(&json.err).unwrap();
        let headline = told.lines().next().unwrap();
        assert_eq!(
            headline,
            format!("error: {}", json["error"]["message"].as_str().unwrap())
        );
    }
}

#[test]
fn violations_that_the_server_cut_are_not_told_twice() {
    let fake = refusing(
        "INVALID_FIELD",
        &[
            ("instance.locale", "is wrong"),
            ("instance.uuid", "is wrong"),
            ("…", "more is wrong; mend these fields first"),
        ],
        Some("instance.locale: is wrong; instance.uu…"),
    );
    assert_eq!(
        fake.run("instances modify bob.example --locale x --uuid y")
            .failed(2),
        "error: more than 2 values cannot be used\n  --locale (instance.locale): is wrong\n  \
         --uuid (instance.uuid): is wrong\n  more is wrong; mend these fields first\n"
    );
    let fake = refusing("INVALID_FIELD", &[("name", "is no host name")], None);
    assert_eq!(
        fake.run("operations ls --domain x").failed(2),
        "error: --domain (name): is no host name\n"
    );
}

#[test]
fn an_alias_that_cannot_be_destroyed_is_told_once() {
    let fake = refusing(
        "NAME_IS_ALIAS",
        &[("name", "is an alias; name the main domain")],
        Some("robert.example is an alias of bob.example; name the main domain"),
    );
    assert_eq!(
        fake.run("instances destroy robert.example --force")
            .failed(2),
        "error: DOMAIN: robert.example is an alias of bob.example; name the main domain\n"
    );
}

#[test]
fn a_list_is_fetched_page_by_page() {
    let fake = Server::start(Script {
        instances: ["a.example", "bücher.example", "c.example"]
            .map(instance)
            .into(),
        ..Script::default()
    });
    let rows = fake.run("instances ls").done();
    assert_eq!(
        rows,
        "a.example       onboarding  waiting  fr  10GB  -\n\
         bücher.example  onboarding  waiting  fr  10GB  -\n\
         c.example       onboarding  waiting  fr  10GB  -\n"
    );
    assert_eq!(fake.called("ListInstances"), 2);
    let items = json_lines(&fake.run("instances ls -o json").done());
    assert_eq!(items.len(), 3);
    assert_eq!(items[1]["domain"], "bücher.example");
    assert_eq!(
        fake.run("instance list --output name").done(),
        "instances/a.example\ninstances/bücher.example\ninstances/c.example\n"
    );
    let documents = fake.run("instances ls -o yaml").done();
    assert_eq!(documents.matches("---\n").count(), 3, "{documents}");
    assert_eq!(fake.run("instances count").done(), "3 instances\n");
}

#[test]
fn a_list_of_nothing_prints_nothing() {
    let fake = Server::start(Script::default());
    for form in ["table", "json", "yaml", "name"] {
        assert_eq!(fake.run(&format!("instances ls -o {form}")).done(), "");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let fake = Server::start(Script {
        instances: vec![instance("a.example"); 4],
        ..Script::default()
    });
    let mut child = fake.hamlet("instances ls").spawn().unwrap();
    drop(child.stdout.take());
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
}

#[test]
fn what_a_terminal_would_obey_is_spelled_out() {
    let mut hostile = instance("a.example");
    hostile.public_name = "\u{1b}[2Jevil\u{9b}\u{202e}\n".to_owned();
    let fake = Server::start(Script {
        instances: vec![hostile.clone()],
        ..Script::default()
    });
    for form in ["table", "json", "yaml"] {
        let out = fake
            .run(&format!("instances show a.example -o {form}"))
            .done();
        assert!(out.contains("evil"), "{form}: {out:?}");
        assert!(
            !out.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
            "{form}: {out:?}"
        );
    }
    let out = fake.run("instances show a.example -o json").done();
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["publicName"], hostile.public_name);

    let fake = Server::start(Script {
        refuse: Some(Status::not_found("\u{1b}[2Jgone\nerror: twice")),
        ..Script::default()
    });
    let told = fake.run("instances show a.example").failed(3);
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn every_command_of_one_instance_asks_the_server_for_its_name_first() {
    let mut new = instance("new.example");
    new.state = State::Creating.into();
    new.operation = "operations/op-7".to_owned();
    let fake = Server::start(Script {
        instances: vec![new, instance("bücher.example:8080")],
        apps: vec![App {
            slug: "home".to_owned(),
            ..App::default()
        }],
        ..Script::default()
    });
    let long = format!("w1..localhost{}", "a".repeat(6000));
    for command in [
        "instances fsck DOMAIN",
        "files ls DOMAIN",
        "files tree DOMAIN",
        "apps ls DOMAIN",
        "apps show DOMAIN home",
        "apps install DOMAIN home",
        "apps update DOMAIN home",
        "apps uninstall DOMAIN home",
        "konnectors ls DOMAIN",
    ] {
        for wrong in [long.as_str(), "a_b.localhost", "1.2.3"] {
            let before = fake.calls().len();
            let told = fake.run(&command.replace("DOMAIN", wrong)).failed(3);
            assert!(told.contains("there is no instances/"), "{command}: {told}");
            assert_eq!(fake.calls().len(), before + 1, "{command}: {wrong}");
        }
        let told = fake
            .run(&command.replace("DOMAIN", "new.example"))
            .failed(4);
        assert!(
            told.contains("hamlet operations wait op-7"),
            "{command}: {told}"
        );
    }
    // The call that follows is routed by the instance's own name, not by what was typed.
    let listed = fake.run("apps ls BÜCHER.example:8080 -o name").done();
    assert_eq!(listed, "home\n");
    let calls = fake.calls();
    assert_eq!(calls.last().unwrap(), "ListApps xn--bcher-kva.example:8080");
}

#[test]
fn the_register_link_is_printed_alone() {
    let fake = Server::start(Script {
        link: RegisterLink {
            link: "http://bob.example/?registerToken=abc".to_owned(),
            token: "abc".to_owned(),
            ..RegisterLink::default()
        },
        ..Script::default()
    });
    assert_eq!(
        fake.run("instances register-link bob.example").done(),
        "http://bob.example/?registerToken=abc\n"
    );
}

#[test]
fn files_and_apps_are_asked_of_the_instance_that_the_domain_names() {
    let entry = |path: &str, depth, kind: file::Type| TreeEntry {
        file: Some(File {
            path: path.to_owned(),
            display_name: path.rsplit('/').next().unwrap().to_owned(),
            r#type: kind.into(),
            size_bytes: 1500,
            id: "id1".to_owned(),
            ..File::default()
        }),
        depth,
    };
    let tree = vec![
        entry("/", 0, file::Type::Directory),
        entry("/Fotos", 1, file::Type::Directory),
        entry("/Fotos/a.jpg", 2, file::Type::File),
    ];
    let fake = Server::start(Script {
        files: tree
            .iter()
            .skip(1)
            .filter_map(|entry| entry.file.clone())
            .collect(),
        tree,
        apps: vec![App {
            slug: "home".to_owned(),
            version: "1.0.0".to_owned(),
            source: "registry://home/stable".to_owned(),
            state: "ready".to_owned(),
            ..App::default()
        }],
        instances: vec![instance("bücher.example:8080"), instance("bob.example")],
        ..Script::default()
    });
    // Calls are routed by the host, so the port is asked about first.
    let told = fake.run("files tree Bücher.example:9090").failed(3);
    assert!(told.contains("bücher.example:9090"), "{told}");
    assert_eq!(fake.called("WalkTree"), 0);
    let tree = fake.run("files tree Bücher.example:8080").done();
    assert_eq!(tree, "/\n  Fotos/\n    a.jpg\n");
    let calls = fake.calls();
    assert_eq!(calls.last().unwrap(), "WalkTree xn--bcher-kva.example:8080");
    let shallow = fake.run("files tree bob.example / --max-depth 1").done();
    assert_eq!(shallow, "/\n  Fotos/\n");
    let entries = json_lines(&fake.run("files tree bob.example -o json").done());
    assert_eq!(entries[2]["file"]["path"], "/Fotos/a.jpg");
    assert_eq!(
        fake.run("files ls bob.example / -o name").done(),
        "/Fotos\n/Fotos/a.jpg\n"
    );
    let listed = fake.run("files ls bob.example").done();
    assert_eq!(
        listed,
        "Fotos  directory  -      id1\na.jpg  file       1.5kB  id1\n"
    );
    assert_eq!(
        fake.run("apps ls bob.example").done(),
        "home  1.0.0  ready  registry://home/stable\n"
    );
    assert!(
        fake.run("apps show bob.example home")
            .done()
            .contains("1.0.0")
    );
    let told = fake.run("apps show bob.example drive").failed(3);
    assert!(told.contains("drive"), "{told}");
}

#[test]
fn operations_are_listed_shown_and_waited_for() {
    let fake = accepting(vec![(vec![ended(&created())], WatchEnd::Stop)]);
    let rows = fake.run("operations ls").done();
    assert_eq!(rows, "op-1  create  bob.example  running  -  -  -  -\n");
    let shown = fake.run("operations show op-1 -o json").done();
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(document["metadata"]["kind"], "create");
    // As the command that began it would have ended.
    let waited = fake.run("operations wait operations/op-1").done();
    assert!(waited.contains("registerToken=abc"), "{waited}");
    fake.run("operations show nothing").failed(3);
}

#[test]
fn status_tells_what_serves_and_what_does_not() {
    let fake = accepting(Vec::new());
    let status = fake.run("status -o json");
    let document: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(document["health"]["server"], "serving");
    assert_eq!(
        document["health"]["hamlet.files.v1.FilesService"],
        "not serving"
    );
    assert_eq!(document["health"]["hamlet.apps.v1.AppsService"], "unknown");
    assert_eq!(document["instances"], "1");
    assert_eq!(document["withoutDatabase"], "0");
    let error: Value = serde_json::from_str(&status.err).unwrap();
    assert_eq!(error["error"]["code"], "UNAVAILABLE");
    let told = fake.run("status").failed(6);
    assert!(told.contains("hamlet.files.v1.FilesService"), "{told}");
}

#[test]
fn with_json_an_error_is_json_too() {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let mut details = ErrorDetails::new();
    details.set_error_info("INVALID_FIELD", "hamlet", std::collections::HashMap::new());
    details.add_bad_request_violation("instance.locale", "is no language\u{202e}");
    let fake = Server::start(Script {
        refuse: Some(Status::with_error_details(
            Code::InvalidArgument,
            "instance.locale: is no language\u{202e}",
            details,
        )),
        ..Script::default()
    });
    let refused = fake.run("instances add bob.example -o json");
    assert_eq!((refused.code, refused.err.lines().count()), (Some(2), 1));
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    let error = &error["error"];
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    assert_eq!(error["reason"], "INVALID_FIELD");
    let violation = &error["fieldViolations"][0];
    assert_eq!(violation["field"], "instance.locale");
    assert_eq!(violation["argument"], "--locale");
    assert!(!refused.err.contains('\u{202e}'), "{refused:#?}");

    // A command line that cannot be read, and a server that is not there.
    for (wrong, code, name) in [
        ("instances add --output json", 2, "INVALID_ARGUMENT"),
        ("instances ls --json --limit 0", 2, "INVALID_ARGUMENT"),
        (
            "instances ls -o json --server 127.0.0.1:1",
            6,
            "UNAVAILABLE",
        ),
    ] {
        let refused = fake.run(wrong);
        assert_eq!(refused.code, Some(code), "{wrong}: {refused:#?}");
        let error: Value = serde_json::from_str(&refused.err).unwrap();
        assert_eq!(error["error"]["code"], name, "{wrong}");
    }
    for (wrong, argument) in [
        ("instances ls -o json --fields nope", "--fields"),
        (
            "instances add a.example --request-id a/b -o json",
            "--request-id",
        ),
        ("instances show -o json", "DOMAIN"),
        ("apps install a.example -o json", "SOURCE"),
    ] {
        let refused = fake.run(wrong);
        let error: Value = serde_json::from_str(&refused.err).unwrap();
        let violation = &error["error"]["fieldViolations"][0];
        assert_eq!(violation["argument"], argument, "{wrong}: {refused:#?}");
    }
}

#[test]
fn status_counts_instances_without_a_database_and_names_the_command_that_lists_them() {
    let fake = Server::start(Script {
        instances_without_database: 2,
        ..Script::default()
    });
    let status = fake.run("status");
    assert!(
        status
            .out
            .contains("2 (hamlet instances orphans lists them)"),
        "{}",
        status.out
    );
}

#[test]
fn wrong_use_is_told_before_anything_is_sent() {
    let fake = Server::start(Script::default());
    for wrong in [
        "",
        "instances",
        "nonsense",
        "instances add",
        "instances add https://bob.example",
        "instances add bob.example --disk-quota 10G",
        "instances add bob.example --disk-quota 1.00001kB",
        "instances add bob.example --settings nocolon",
        "instances add bob.example --settings a:1,a:2",
        "instances add bob.example --apps ./home",
        "instances add bob.example --apps home,,drive",
        "instances add bob.example --request-id 12",
        "instances modify bob.example",
        "files ls bob.example Fotos",
        "files tree bob.example --max-depth 0",
        "instances ls -o xml",
    ] {
        let run = fake.run(wrong);
        assert_eq!(run.code, Some(2), "{wrong}: {run:#?}");
        assert!(run.out.is_empty() && !run.err.is_empty(), "{wrong}");
    }
    assert!(fake.calls().is_empty());
}

#[test]
fn a_refused_credential_is_named_by_its_file_and_never_shown() {
    let fake = Server::start(Script::default());
    let mut command = fake.hamlet("instances ls");
    let file = fake.folder().join("other");
    std::fs::write(&file, "wrong-credential").unwrap();
    command.env("HAMLET_CREDENTIAL_FILE", &file);
    let told = run(command).failed(5);
    assert!(told.contains(file.to_str().unwrap()), "{told}");
    assert!(!told.contains("wrong-credential") && !told.contains(ADMIN_CREDENTIAL));
}

#[test]
fn standard_input_may_be_closed() {
    let fake = accepting(Vec::new());
    let mut command = fake.hamlet("instances destroy bob.example");
    command.stdin(Stdio::null());
    run(command).failed(1);
}
