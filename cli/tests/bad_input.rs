//! Wrong use: each is told before anything is sent, by a line that says what is wrong, and ends with 2.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use support::program::Server;
use test_kit::fake::Script;

/// What is typed, and what must be told about it. A word with spaces stands in quotes.
const TABLE: [(&str, &str); 107] = [
    // Domains
    ("instances add", "<DOMAIN>"),
    ("instances add ''", "is empty"),
    (
        "instances add https://bob.example",
        "write the domain alone: bob.example",
    ),
    ("instances add 'bob example'", "is no domain"),
    ("instances add bob@example", "is no domain"),
    ("instances add bob.example/x", "is no domain"),
    (
        "instances add a.example b.example",
        "unexpected argument 'b.example'",
    ),
    (
        "instances add bob.example --domain-aliases a.example,,b.example",
        "is empty",
    ),
    (
        "instances add bob.example --domain-aliases https://a.example",
        "write the domain alone",
    ),
    ("instances show", "<DOMAIN>"),
    ("instances show 'a b'", "is no domain"),
    ("instances block", "<DOMAIN>"),
    ("instances modify --locale fr", "<DOMAIN>"),
    ("instances destroy --force", "<DOMAIN>"),
    (
        "instances fsck http://bob.example",
        "write the domain alone",
    ),
    // Sizes
    ("instances add bob.example --disk-quota 10G", "10GB"),
    ("instances add bob.example --disk-quota -5", "is negative"),
    ("instances add bob.example --disk-quota -5GB", "is negative"),
    ("instances add bob.example --disk-quota=-1", "is negative"),
    (
        "instances add bob.example --disk-quota 1.00001kB",
        "whole number of bytes",
    ),
    ("instances add bob.example --disk-quota 9EB", "is no size"),
    (
        "instances add bob.example --disk-quota 9223372036854775808",
        "is larger than",
    ),
    ("instances add bob.example --disk-quota lots", "is no size"),
    ("instances add bob.example --disk-quota ''", "is no size"),
    ("instances set-disk-quota bob.example", "<SIZE>"),
    ("instances set-disk-quota bob.example much", "is no size"),
    ("instances set-disk-quota bob.example -1", "is negative"),
    // Spans of time
    (
        "instances destroy bob.example --keep 30",
        "is no span of time",
    ),
    ("instances destroy bob.example --keep 0s", "at least one"),
    ("instances destroy bob.example --keep=-1d", "is negative"),
    (
        "instances destroy bob.example --keep forever",
        "is no span of time",
    ),
    (
        "instances destroy bob.example --keep 500years",
        "a hundred years",
    ),
    (
        "instances debug bob.example true --ttl soon",
        "is no span of time",
    ),
    (
        "instances token-app bob.example home --expire 1",
        "is no span of time",
    ),
    // Settings, apps, sponsors
    ("instances add bob.example --settings nocolon", "KEY:VALUE"),
    ("instances add bob.example --settings :x", "KEY:VALUE"),
    (
        "instances add bob.example --settings a:1,a:2",
        "given twice",
    ),
    (
        "instances add bob.example --setting locale=",
        "--setting locale: is empty",
    ),
    (
        "instances add bob.example --settings a:1 --setting auto_update=maybe",
        "--setting auto_update: \"maybe\" is neither true nor false",
    ),
    (
        "instances add bob.example --setting uuid=1 --uuid 2",
        "--setting uuid and --uuid contradict each other",
    ),
    ("instances add bob.example --apps ./home", "file:///"),
    (
        "instances add bob.example --apps home,,drive",
        "an app is empty",
    ),
    ("instances add bob.example --apps ftp://x", "unknown scheme"),
    (
        "instances add bob.example --apps file://srv/x",
        "is not absolute",
    ),
    (
        "instances add bob.example --sponsorships a,,b",
        "a sponsor is empty",
    ),
    // Ids and etags
    ("instances add bob.example --request-id 12", "is no UUID"),
    (
        "instances destroy bob.example --request-id ''",
        "is no UUID",
    ),
    (
        "instances modify bob.example --locale fr --etag ''",
        "is empty",
    ),
    // Choices
    (
        "instances add bob.example --auth-mode two_factor",
        "two_factor_mail",
    ),
    (
        "instances auth-mode bob.example nonsense",
        "two_factor_oidc",
    ),
    ("instances auth-mode bob.example", "<MODE>"),
    ("instances add bob.example --magic_link=maybe", "maybe"),
    ("instances add bob.example --couch-cluster -2", "-2"),
    ("instances add bob.example --couch-cluster first", "first"),
    ("instances debug bob.example maybe", "maybe"),
    ("instances ls -o xml", "xml"),
    // Flags that cannot take effect
    (
        "instances add bob.example --dev",
        "no development instances",
    ),
    (
        "instances add bob.example --dev=false",
        "no development instances",
    ),
    ("instances add bob.example --swift-layout 2", "not in Swift"),
    (
        "instances add bob.example --swift-layout -1",
        "not in Swift",
    ),
    (
        "instances debug bob.example --ttl 1h",
        "--ttl has no effect without true",
    ),
    (
        "instances debug bob.example false --ttl 1h",
        "--ttl has no effect without true",
    ),
    (
        "instances debug bob.example --etag e1",
        "--etag has no effect",
    ),
    (
        "instances debug bob.example --dry-run",
        "--dry-run has no effect",
    ),
    (
        "instances register-link bob.example --etag e1",
        "--etag has no effect without --rotate",
    ),
    (
        "instances register-link bob.example --dry-run",
        "--dry-run has no effect without --rotate",
    ),
    ("instances orphans --force", "--purge"),
    (
        "instances orphans --dry-run",
        "--dry-run has no effect without --purge",
    ),
    ("instances ls --fields domain -o name", "contradict"),
    (
        "instances show bob.example --fields domain -o name",
        "contradict",
    ),
    (
        "instances ls --available-fields --json",
        "cannot be used with",
    ),
    (
        "instances token-konnector bob.example bills --expire 1h",
        "--expire",
    ),
    ("instances add bob.example --locked", "--locked"),
    ("instances add bob.example --blocked", "--blocked"),
    // Contradictions name both
    (
        "instances modify bob.example --lock --unlock",
        "'--lock' cannot be used with '--unlock'",
    ),
    (
        "instances modify bob.example --email x@example.org --unset email",
        "--email and --unset email contradict",
    ),
    (
        "instances modify bob.example --tz UTC --unset timezone",
        "--tz and --unset tz contradict",
    ),
    (
        "instances modify bob.example --settings a:1 --unset settings",
        "--settings and --unset settings contradict",
    ),
    (
        "instances modify bob.example --settings a:1 --unset settings.a",
        "--settings and --unset settings.a contradict",
    ),
    (
        "instances modify bob.example --unset email,email",
        "--email and --unset email contradict",
    ),
    (
        "instances modify bob.example --blocked=false --blocking-reason X",
        "--blocked=false and --blocking-reason contradict",
    ),
    (
        "instances ls --json -o yaml",
        "--json and --output contradict",
    ),
    (
        "instances fsck bob.example --json -o name",
        "--json and --output contradict",
    ),
    (
        "instances fsck bob.example --index-integrity --files-consistency",
        "cannot be used with",
    ),
    (
        "instances add bob.example --passphrase x --passphrase-prompt",
        "'--passphrase <PASSPHRASE>' cannot be used with '--passphrase-prompt'",
    ),
    (
        "instances set-passphrase bob.example x --passphrase-file f",
        "cannot be used with",
    ),
    // Changes that change nothing, or cannot be made
    ("instances modify bob.example", "nothing is to change"),
    (
        "instances modify bob.example --etag e1",
        "nothing is to change",
    ),
    ("instances modify bob.example --email ''", "is empty"),
    (
        "instances modify bob.example --unset domain",
        "cannot be cleared",
    ),
    (
        "instances modify bob.example --unset nonsense",
        "cannot be cleared",
    ),
    (
        "instances modify bob.example --unset settings.",
        "names no setting",
    ),
    (
        "instances modify bob.example --deleting",
        "--deleting=false",
    ),
    (
        "instances modify bob.example --deleting=true",
        "--deleting=false",
    ),
    (
        "instances modify bob.example --onboarding-finished=false",
        "only be set",
    ),
    ("instances block bob.example --reason ''", "is empty"),
    // Lists
    ("instances ls --fields nonsense", "--available-fields"),
    ("instances ls --fields register_token", "register-link"),
    ("instances ls --fields domain,", "--available-fields"),
    ("instances ls --page-size 0", "1..=1000"),
    ("instances ls --page-size 1001", "1..=1000"),
    ("instances ls --limit 0", "0"),
    ("instances ls --page-token ''", "is empty"),
    // Tokens and operations
    ("instances token-cli bob.example", "<SCOPES>"),
    ("instances token-oauth bob.example c1", "<SCOPES>"),
    ("operations wait ''", "is no operation"),
    ("operations cancel a/b", "is no operation"),
];

/// The words of a line; those in quotes keep their spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (of, part) in line.split('\'').enumerate() {
        if of % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn wrong_use_is_told_before_anything_is_sent() {
    let fake = Server::start(Script::default());
    for (line, told) in TABLE {
        let words = words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let run = fake.run_words(&words);
        assert_eq!(run.code, Some(2), "{line}: {run:#?}");
        assert_eq!(run.out, "", "{line}");
        assert!(
            run.err.contains(told),
            "{line}: {told:?} is not in {}",
            run.err
        );
    }
    assert!(fake.calls().is_empty());
}

#[test]
fn a_passphrase_is_asked_for_only_where_somebody_can_answer() {
    let fake = Server::start(Script::default());
    let told = fake
        .run("instances add bob.example --passphrase-prompt")
        .failed(2);
    assert!(told.contains("--passphrase-file"), "{told}");
    for (words, why) in [
        (
            "instances add bob.example --passphrase-file ./none",
            "./none",
        ),
        (
            "instances add bob.example --passphrase-file -",
            "no passphrase",
        ),
        ("instances set-passphrase bob.example", "no passphrase"),
    ] {
        let told = fake.run(words).failed(2);
        assert!(told.contains(why), "{told}");
    }
    let told = fake
        .run_words(&["instances", "add", "bob.example", "--passphrase", ""])
        .failed(2);
    assert!(told.contains("is empty"), "{told}");
    assert!(fake.calls().is_empty());
}
