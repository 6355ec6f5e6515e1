//! The settings of a context in `hamlet.toml` take effect, and the fields of a new instance are validated.

use hamlet_tests::daemon::{Daemon, Options};
use reqwest::{StatusCode, header};

const FILE: &str = r#"
[contexts.school]
init_photos_folder = false
subdomains = "flat"
"#;

fn start(place: &tempfile::TempDir) -> Daemon {
    let file = place.path().join("hamlet.toml");
    std::fs::write(&file, FILE).unwrap();
    Options::new(&place.path().join("data"))
        .flag(format!("--config={}", file.display()))
        .start()
}

/// Whether the public door finds an instance with this host.
async fn is_found(daemon: &Daemon, host: &str) -> bool {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .get(format!("http://{}/", daemon.public))
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json")
        .send()
        .await
        .unwrap();
    let known = answer.status() != StatusCode::NOT_FOUND;
    known || !answer.text().await.unwrap().contains("INSTANCE_NOT_FOUND")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_decides_on_directories_and_on_the_hosts_of_apps() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = tempfile::tempdir().unwrap();
    let daemon = start(&place);
    let cli = daemon.cli();
    let (pupil, other) = (daemon.domain("pupil"), daemon.domain("other"));
    let _ = cli
        .run(&format!("instances add {pupil} --context-name school"))
        .done();
    let _ = cli.run(&format!("instances add {other}")).done();

    let tree = cli.run(&format!("files tree {pupil}")).done().out;
    assert!(
        tree.contains("Administrative") && !tree.contains("Photos"),
        "{tree}"
    );
    let tree = cli.run(&format!("files tree {other}")).done().out;
    assert!(tree.contains("Photos"), "{tree}");

    for (host, found) in [
        ("pupil.localhost", true),
        ("pupil-drive.localhost", true),
        ("drive.pupil.localhost", false),
        ("other.localhost", true),
        ("drive.other.localhost", true),
        ("other-drive.localhost", false),
    ] {
        assert_eq!(is_found(&daemon, host).await, found, "{host}");
    }

    // In this context, a hyphen separates the instance from its apps.
    let hyphen = daemon.domain("pupil-two");
    let refused = cli.run(&format!("instances add {hyphen} --context-name school"));
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(
        refused.err.contains("instance.domain") && refused.err.contains("hyphen"),
        "{refused:#?}"
    );
    let warned = cli
        .run(&format!(
            "instances add {hyphen} --context-name scool --dry-run"
        ))
        .done();
    assert!(warned.err.contains("configured are school"), "{warned:#?}");
    for (context, is_warned) in [("scool", true), ("school", false)] {
        for dry_run in ["--dry-run", ""] {
            let modify = format!("instances modify {other} --context-name {context} {dry_run}");
            let changed = cli.run(&modify).done();
            let warned = changed.err.contains("configured are school");
            assert_eq!(warned, is_warned, "{changed:#?}");
        }
    }
    let cleared = cli.run(&format!("instances modify {other} --unset context-name"));
    assert!(
        !cleared.done().err.contains("warning"),
        "the default context is known"
    );
}

#[test]
fn each_value_is_validated_and_the_error_gives_advice() {
    let place = tempfile::tempdir().unwrap();
    let daemon = start(&place);
    let cli = daemon.cli();
    let domain = daemon.domain("bob");
    for (flags, field, right) in [
        (
            "--old-domain 0x7f.1",
            "old_domain",
            "whose last label is a word",
        ),
        (
            "--domain-aliases a.example,foo.123",
            "domain_aliases",
            "whose last label is a word",
        ),
        (
            "--tz Europe/Pariss",
            "timezone",
            "did you mean Europe/Paris?",
        ),
        ("--tz CEST", "timezone", "did you mean"),
        (
            "--locale xx",
            "locale",
            "use one such as en, fr-FR or nl_NL",
        ),
        ("--locale fr-XX", "locale", "names no region of the world"),
        ("--phone call-me", "phone", "it looks like +33"),
        ("--email bob", "email", "it looks like bob@example.org"),
        ("--uuid a/b", "uuid", "use a UUID such as"),
        (
            "--oidc_id é",
            "oidc_id",
            "use the sub of the provider's tokens",
        ),
        ("--sponsorships a/b", "sponsorships", "such as acme"),
        ("--tos 1", "tos_signed", "it looks like 1.0.0"),
        ("--settings tz:UTC", "settings.tz", "use --tz"),
        ("--settings _x:1", "settings", "not beginning with _"),
    ] {
        let refused = cli.run(&format!("instances add {domain} {flags}"));
        assert_eq!(refused.code, 2, "{flags}: {refused:#?}");
        assert!(
            refused.err.contains(&format!("instance.{field}")) && refused.err.contains(right),
            "{flags}: {refused:#?}"
        );
    }
    let added = cli
        .run(&format!(
            "instances add {domain} --tz Asia/Kolkata --locale pt-BR --phone 06.12.34.56.78 --uuid u1 --oidc_id o|1 \
             --sponsorships acme --tos 20170901"
        ))
        .done();
    assert!(
        added.err.contains("no names of directories in pt-BR"),
        "{added:#?}"
    );
    let tree = cli.run(&format!("files tree {domain}")).done().out;
    assert!(tree.contains("Administrative"), "{tree}");
    let shown = cli
        .run(&format!("instances show {domain} -o json"))
        .done()
        .json();
    assert_eq!(shown["tosSigned"], "1.0.0-20170901");
    assert_eq!(shown["phone"], "06.12.34.56.78");
}
