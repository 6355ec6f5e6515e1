//! What the documentation says is so.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use std::fs;

use hamlet_tests::{
    daemon::Options,
    programs::{program, root},
};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The commands of the table in the README, without their arguments.
fn commands(readme: &str) -> Vec<Vec<String>> {
    readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `hamlet ")?.split('`').next())
        .map(|command| {
            command
                .split_whitespace()
                .take_while(|word| !word.starts_with(char::is_uppercase))
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

#[test]
fn every_command_of_the_readme_exists() {
    let commands = commands(&readme());
    assert!(commands.len() > 8, "{commands:?}");
    for words in commands {
        let shown = std::process::Command::new(program("hamlet"))
            .args(&words)
            .arg("--help")
            .output()
            .unwrap();
        assert!(shown.status.success(), "{words:?}");
    }
}

#[test]
fn the_second_command_of_the_readme_creates_an_instance() {
    let readme = readme();
    let command = readme
        .lines()
        .find_map(|line| line.strip_prefix("cargo hamlet instances add "))
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let added = daemon.cli().run(&format!("instances add {command}")).done();
    assert!(added.out.contains("registerToken="), "{added:#?}");
}

#[test]
fn every_page_that_is_linked_exists() {
    for page in ["README.md", "CONTRIBUTING.md", "docs/decisions/README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let folder = root().join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if !target.contains("://") && !target.starts_with('#') {
                assert!(folder.join(target).exists(), "{page}: {target}");
            }
        }
    }
}
