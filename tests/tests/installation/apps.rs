//! The apps of instances after their creation, at the command line.

use hamlet_tests::{daemon::Options, programs::root};

#[test]
fn apps_are_installed_updated_and_removed_after_the_creation() {
    let place = tempfile::tempdir().unwrap();
    let apps = root().join("examples/apps");
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--app-folder={}", apps.display()))
        .start();
    let cli = daemon.cli();
    let run = |words: &str| cli.run(words).done().out;
    let (alice, bob) = (daemon.domain("alice"), daemon.domain("bob"));
    let failed = cli.run(&format!("instances add {alice} --apps nosuchapp"));
    assert!(failed.err.contains("hamlet apps install"), "{failed:#?}");
    run(&format!("instances add {bob}"));

    run(&format!("apps install {alice} home --dry-run"));
    assert_eq!(run(&format!("apps ls {alice} -o name")), "");
    let installed = run(&format!("apps install {alice} home"));
    assert!(installed.contains("1.1.0"), "{installed}");
    let all = run("apps install --all-domains home");
    assert!(all.contains(&alice) && all.contains(&bob), "{all}");
    let shown = run("instances show-app-version home 1.1.0");
    assert_eq!(shown, format!("{alice}\n{bob}\n"));
    assert_eq!(cli.run("instances show-app-version home 9.9.9").code, 3);

    let updated = run("apps update --all-domains home -o json");
    assert_eq!(updated.lines().count(), 2, "{updated}");
    let other = cli.run(&format!("konnectors update {alice} home"));
    assert_eq!(other.code, 3, "{other:#?}");
    // A host with the port of something else names no instance here.
    let port = cli.run("apps uninstall alice.localhost:1 home");
    assert!(port.code == 3 && port.err.contains(&alice), "{port:#?}");

    // What the configuration does not allow is no failure of a server, which would be tried again.
    let inside = cli.run(&format!("apps install {alice} http://127.0.0.1:1/x.tar"));
    assert!(
        inside.code == 2 && inside.err.contains("SOURCE") && inside.err.contains("--app-networks"),
        "{inside:#?}"
    );

    run(&format!("apps uninstall {alice} home"));
    assert_eq!(cli.run(&format!("apps show {alice} home")).code, 3);
    let rest = run("apps update --all-domains home -o json");
    assert_eq!(rest.lines().count(), 1, "{rest}");
    run(&format!("apps uninstall {bob} home"));
    let none = cli.run("apps update --all-domains home");
    assert_eq!(none.code, 3, "{none:#?}");
    for domain in [&alice, &bob] {
        let checked = run(&format!("instances fsck {domain}"));
        assert_eq!(checked, "", "{domain}");
        run(&format!("instances destroy {domain} --force"));
    }
}
