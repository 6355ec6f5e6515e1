//! Checks the documentation against the programs.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use hamlet_tests::{
    cluster::{Cluster, Part},
    daemon::Options,
    database::Database,
    original::Original,
    programs::{program, root},
};

/// The pages for administrators, in the order in which their commands are run.
const PAGES: [&str; 4] = ["lifecycle", "blocking", "operations", "names"];

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The commands of the table in the README, without their arguments.
///
/// A row names one command in full, and others of the same group by their last word: `hamlet files ls`, `tree`.
fn commands(readme: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for row in readme.lines().filter(|line| line.starts_with("| `hamlet ")) {
        let names = row.split('|').nth(1).unwrap_or_default();
        let mut group = Vec::new();
        for name in names.split('`').skip(1).step_by(2) {
            let mut words: Vec<String> = name
                .trim_start_matches("hamlet ")
                .split_whitespace()
                .take_while(|word| !word.starts_with(char::is_uppercase))
                .map(str::to_owned)
                .collect();
            if name.starts_with("hamlet ") {
                group = words[..words.len() - 1].to_vec();
            } else {
                words.splice(..0, group.clone());
            }
            commands.push(words);
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_exists() {
    let commands = commands(&readme());
    assert!(commands.len() > 30, "{commands:?}");
    for words in commands {
        let shown = Command::new(program("hamlet"))
            .args(&words)
            .arg("--help")
            .output()
            .unwrap();
        assert!(shown.status.success(), "{words:?}");
    }
}

#[test]
fn the_pages_name_the_rust_that_is_needed() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let needed = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .unwrap()
        .trim_end_matches('"');
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let names_it = ["Rust ", "Rust ("].map(|rust| format!("{rust}{needed} or newer"));
        assert!(
            names_it.iter().any(|it| text.contains(it)),
            "{page}: {needed}"
        );
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

/// A block of commands, and the output that the page shows for it.
struct Block {
    line: usize,
    script: String,
    exit_code: i32,
    output: Option<String>,
}

/// The `sh` blocks of a page. A `text` block directly after one shows its output, where `…` stands for any text. A
/// block whose last line ends in `# exit code N` must fail with that code.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate().peekable();
    while let Some((line, opening)) = lines.next() {
        if !opening.starts_with("```") || opening == "```" {
            continue;
        }
        let mut body = String::new();
        for (_, inside) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            body.push_str(inside);
            body.push('\n');
        }
        match opening {
            "```sh" => blocks.push(Block {
                line: line + 1,
                exit_code: body
                    .trim_end()
                    .rsplit_once("# exit code ")
                    .map_or(0, |(_, code)| code.parse().unwrap()),
                script: body,
                output: None,
            }),
            "```toml" => {}
            "```text" => blocks.last_mut().unwrap().output = Some(body),
            other => panic!("line {}: what is {other}?", line + 1),
        }
    }
    blocks
}

/// Whether a text matches the output that a page shows. `…` matches any text, and the width of columns is ignored.
fn is_shown(shown: &str, text: &str) -> bool {
    let (shown, text) = (narrow(shown), narrow(text));
    let mut parts = shown.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part.trim_start_matches('\n')) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.trim_start_matches('\n'))
}

/// The text with single spaces between columns.
fn narrow(text: &str) -> String {
    let lines = text.trim_end().lines();
    let narrow = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    narrow.collect::<Vec<_>>().join("\n")
}

#[test]
fn ellipses_match_any_output() {
    assert!(is_shown("a…c\n", "abc\n") && is_shown("…\nc  …d", "a\nb\nc  xd"));
    assert!(is_shown("a b", "a    b\n"));
    assert!(is_shown("a\n…\n", "a\nb\n") && is_shown("a\n", "a"));
    for (shown, text) in [("a", "ab"), ("a…c", "abd"), ("…b…", "aca"), ("b…", "ab")] {
        assert!(!is_shown(shown, text), "{shown} {text}");
    }
}

#[test]
fn the_commands_of_the_pages_do_what_the_pages_say() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let settings = [
        ("HAMLET_SERVER", format!("http://{}", daemon.admin)),
        (
            "HAMLET_CREDENTIAL_FILE",
            credential(daemon.data()).display().to_string(),
        ),
    ];
    for page in PAGES {
        let folder = place.path().join(page);
        fs::create_dir(&folder).unwrap();
        follow(page, &folder, &settings);
    }
    let left = daemon.cli().run("instances ls --deleted").done();
    assert_eq!(left.out, "", "the pages clean up");
}

/// Runs the commands of a page in a folder, with these environment variables.
fn follow(page: &str, folder: &Path, settings: &[(&str, String)]) {
    let programs = program("hamlet").parent().unwrap().to_owned();
    let path = env::var("PATH").unwrap_or_default();
    let file = format!("docs/{page}.md");
    let blocks = blocks(&fs::read_to_string(root().join(&file)).unwrap());
    assert!(blocks.len() > 4, "{file}");
    for block in blocks {
        let run = Command::new("sh")
            .args(["-ec", &format!("exec 2>&1\n{}", block.script)])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", programs.display()))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&run.stdout);
        let (line, script) = (block.line, &block.script);
        assert_eq!(
            run.status.code(),
            Some(block.exit_code),
            "{file}:{line}: {script}{out}"
        );
        if let Some(shown) = block.output {
            assert!(is_shown(&shown, &out), "{file}:{line}: {script}{out}");
        }
    }
}

/// An operator of the original brings Hamlet up beside it, and goes back.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_migrating_can_be_followed() {
    let mut cluster = Cluster::new();
    cluster.start_one(Part::Database, 0);
    cluster.wait_for(Part::Database, 0);
    let original = Original::new(&cluster.database_url());
    original.start().await;
    for name in ["alice", "bob"] {
        let domain = format!("{name}.localhost:8080");
        assert_eq!(original.add(&domain, &[]).await, Ok(()));
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let [public, admin] = [0, 1].map(|replica| cluster.public(replica).to_string());
    let data = folder.join("hamlet-data");
    let settings = [
        ("HAMLET_COUCHDB", cluster.database()),
        ("HAMLET_COUCHDB_USER", "admin".to_owned()),
        (
            "HAMLET_COUCHDB_PASSWORD_FILE",
            cluster.path("couchdb-password").display().to_string(),
        ),
        ("HAMLET_LISTEN", public),
        ("HAMLET_ADMIN_LISTEN", admin.clone()),
        ("HAMLET_SERVER", format!("http://{admin}")),
        (
            "HAMLET_CREDENTIAL_FILE",
            credential(&data).display().to_string(),
        ),
    ];
    tokio::task::block_in_place(|| follow("migrating", folder, &settings));
    // The original goes on with all of them, as if Hamlet had never been there.
    for name in ["alice", "robert", "carol"] {
        let domain = format!("{name}.localhost:8080");
        assert_eq!(original.destroy(&domain).await, Ok(()), "{domain}");
    }
    let mut left = Database::at(&cluster.database_url()).databases().await;
    left.retain(|name| name.starts_with("cozy") || name.contains("hamlet"));
    assert_eq!(left, Vec::<String>::new());
}

fn credential(data: &Path) -> std::path::PathBuf {
    data.join("admin-credential")
}

#[test]
fn every_page_that_is_linked_exists() {
    let pages = PAGES.map(|page| format!("docs/{page}.md"));
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/decisions/README.md",
        "docs/migrating.md",
    ];
    for page in others.into_iter().chain(pages.iter().map(String::as_str)) {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let folder = root().join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            if !target.contains("://") && !file.is_empty() {
                assert!(folder.join(file).exists(), "{page}: {target}");
            }
        }
    }
}

/// The environment variables of a compose file with their defaults: `${NAME:-DEFAULT}`.
fn variables(compose_file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(compose_file)).unwrap();
    text.split("${")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once(":-").unwrap();
            let (default, _) = rest.split_once('}').unwrap();
            (name.to_owned(), default.to_owned())
        })
        .collect()
}

#[test]
fn every_variable_of_the_compose_files_is_documented_with_its_default() {
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    let told: Vec<(String, String)> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut asked = Vec::new();
    for file in [
        "docker-compose.yml",
        "docker-compose.embedded.yml",
        "docker-compose.ha.yml",
    ] {
        asked.extend(variables(file));
    }
    assert!(asked.len() > 10, "{asked:?}");
    for variable in &asked {
        assert!(
            told.contains(variable),
            "{variable:?} is not in .env.example"
        );
    }
    for variable in &told {
        assert!(asked.contains(variable), "nobody asks for {variable:?}");
    }
}
