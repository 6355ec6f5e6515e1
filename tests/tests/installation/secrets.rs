//! Secrets appear only where they were requested.
//!
//! An instance goes through its whole lifecycle on an installation of real processes with the most detailed logs.
//! Meanwhile one observer keeps listing the processes of the machine, and another keeps reading the documents of
//! operations. Then everything that was printed, logged, listed and stored is searched for every secret.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    cli::Answer,
    cluster::{Cluster, Part},
    database::Database,
};
use serde_json::Value;

const FIRST: &str = "Zq7-unguessable-first-passphrase";
const SECOND: &str = "Kv9-unguessable-second-passphrase";
/// A passphrase that is refused because of the control character at its end.
const REFUSED: &str = "Wd3-unguessable-refused-passphrase";

/// Text that must not contain a secret, and its origin.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

/// A secret value, and its description.
struct Secret {
    what: String,
    text: String,
}

impl Seen {
    fn add(&mut self, from: impl Into<String>, text: impl Into<String>) {
        self.0.push((from.into(), text.into()));
    }

    /// The origins of texts that contain `text`, without duplicates.
    fn places(&self, text: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|(_, seen)| seen.contains(text));
        let places: BTreeSet<&str> = found.map(|(from, _)| from.as_str()).collect();
        places.into_iter().collect()
    }
}

/// An observer that collects text continuously, in its own thread.
struct Onlooker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Onlooker {
    fn begin(mut look: impl FnMut(&mut BTreeSet<String>) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::SeqCst) {
                look(&mut seen);
                std::thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }

    /// Lists all processes of the machine with their arguments, as `ps` does.
    fn of_processes() -> Self {
        Self::begin(|seen| {
            for process in fs::read_dir("/proc").unwrap().flatten() {
                // A process that has ended meanwhile has no arguments.
                let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
                let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                if arguments.contains("hamlet") || arguments.contains("-svc") {
                    seen.insert(arguments);
                }
            }
        })
    }

    /// Reads the complete documents of operations.
    fn of_operations(url: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let database = Database::at(url);
        Self::begin(move |seen| {
            let documents = runtime.block_on(database.documents("global/hamlet-operations"));
            seen.extend(documents.iter().map(Value::to_string));
        })
    }
}

/// One administrator: the commands that they run, and the output that they see.
struct Life {
    cluster: Cluster,
    seen: Seen,
}

impl Life {
    /// Runs a command whose output must not contain any secret.
    fn types(&mut self, words: &str) -> Answer {
        let answer = self.asks(words);
        self.seen
            .add(format!("standard output of {words}"), answer.out.clone());
        answer
    }

    /// Runs a command that prints a secret. Only standard output may contain it.
    fn asks(&mut self, words: &str) -> Answer {
        let answer = self.cluster.cli().run(words);
        self.seen
            .add(format!("standard error of {words}"), answer.err.clone());
        answer
    }

    /// Sends a request to the JSON API. Its answer must not contain any secret, unless `tells` one.
    fn sends(&mut self, method: &str, target: &str, tells: bool) -> Reply {
        let door = AdminDoor::of_cluster(&self.cluster);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let reply = runtime.block_on(door.ask(method.parse().unwrap(), target));
        if !tells {
            let from = format!("the answer to {method}");
            self.seen.add(from, format!("{reply:?}"));
        }
        reply
    }

    /// The current documents of a database.
    fn documents(&self, name: &str) -> Vec<Value> {
        let url = self.cluster.database_url();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(Database::at(&url).plain_documents(name))
    }

    /// The secrets in the instance's documents at this moment.
    fn stored(&self, domain: &str, when: &str) -> Vec<Secret> {
        let instances = self.documents("global/instances");
        let instance = instances.iter().find(|it| it["domain"] == domain).unwrap();
        let prefix = instance["prefix"].as_str().unwrap();
        let settings = self.documents(&format!("{prefix}/io-cozy-settings"));
        let mut secrets = Vec::new();
        for (document, fields) in settings.iter().map(|it| (it, &VAULT[..])).chain([(
            instance,
            &[
                "register_token",
                "passphrase_hash",
                "session_secret",
                "oauth_secret",
                "cli_secret",
            ][..],
        )]) {
            for field in fields {
                if let Some(text) = document[*field].as_str().filter(|text| text.len() > 8) {
                    secrets.push(Secret {
                        what: format!("{field} of {domain} {when}"),
                        text: text.to_owned(),
                    });
                }
            }
        }
        secrets
    }
}

/// The secret fields of a passphrase's vault.
const VAULT: [&str; 4] = ["key", "private_key", "passphrase_hash", "security_stamp"];

fn secret(what: &str, text: &str) -> Secret {
    Secret {
        what: what.to_owned(),
        text: text.to_owned(),
    }
}

/// The register token in the output of a command: 32 hex digits.
fn register_token(answer: &Answer) -> String {
    let (_, rest) = answer.out.split_once("registerToken=").unwrap();
    let digits = rest.chars().take_while(char::is_ascii_hexdigit);
    digits.collect()
}

#[test]
fn no_secret_leaks_during_the_lifecycle_of_an_instance() {
    let cluster = Cluster::new()
        .flags(|part| match part {
            // The database has no such setting.
            Part::Database => Vec::new(),
            _ => vec!["--log=trace".to_owned()],
        })
        .start();
    for (name, text) in [
        ("first", FIRST.to_owned()),
        ("second", SECOND.to_owned()),
        ("refused", format!("{REFUSED}\u{7}")),
    ] {
        cluster.write(name, &text);
    }
    let file = |name: &str| cluster.path(name).display().to_string();
    let (first, second, refused) = (file("first"), file("second"), file("refused"));
    let processes = Onlooker::of_processes();
    let operations = Onlooker::of_operations(&cluster.database_url());
    let mut life = Life {
        cluster,
        seen: Seen::default(),
    };
    let mut secrets = vec![
        secret("the first passphrase", FIRST),
        secret("the second passphrase", SECOND),
        secret("the passphrase that is refused", REFUSED),
        secret("the cluster key", "the first cluster-key"),
        secret("the admin credential", "the first admin-credential"),
        secret("the database's password", "the first couchdb-password"),
    ];

    // An instance that is created with a passphrase.
    let added = life.types(&format!(
        "instances add alice.example --passphrase-file {first} -o json"
    ));
    let _ = added.done();
    secrets.extend(life.stored("alice.example", "at first"));
    let again = life.types(&format!(
        "instances add alice.example --passphrase-file {first}"
    ));
    assert_eq!(again.code, 4, "{again:#?}");
    let odd = life.types(&format!(
        "instances add odd.example --passphrase-file {refused}"
    ));
    assert_ne!(odd.code, 0, "{odd:#?}");
    for words in [
        "instances show alice.example -o json",
        "instances ls -o json",
        "instances modify alice.example --email alice@example.org --settings offer:free -o json",
        "instances block alice.example --reason PAYMENT_FAILED -o json",
        "instances unblock alice.example",
        "instances show-db-prefix alice.example",
        "operations ls -o json",
    ] {
        let _ = life.types(words).done();
    }
    let set = life.types(&format!(
        "instances set-passphrase alice.example --force --passphrase-file {second} -o json"
    ));
    let _ = set.done();
    secrets.extend(life.stored("alice.example", "after a new passphrase"));
    let _ = life
        .types("instances clean-sessions alice.example -o json")
        .done();

    // The same by the JSON API, where a passphrase stands in the query.
    let target = format!("/instances?Domain=carol.example&Passphrase={FIRST}");
    let created = life.sends("POST", &target, false);
    assert_eq!(created.status.as_u16(), 201, "{created:?}");
    secrets.extend(life.stored("carol.example", "by JSON"));
    assert_eq!(life.sends("POST", &target, false).status.as_u16(), 409);
    let odd = format!("/instances?Domain=odd.example&Passphrase={REFUSED}%07");
    assert_eq!(life.sends("POST", &odd, false).status.as_u16(), 400);
    for (method, target) in [
        ("GET", "/instances"),
        ("GET", "/instances/carol.example"),
        ("PATCH", "/instances/carol.example?Locale=fr"),
        ("DELETE", "/instances/carol.example/sessions"),
    ] {
        let reply = life.sends(method, target, false);
        assert!(reply.status.is_success(), "{reply:?}");
    }
    let token = "/instances/token?Audience=cli&Domain=carol.example&Scope=io.cozy.files:GET";
    let token = life.sends("POST", token, true).text;
    assert_eq!(token.split('.').count(), 3, "a JWT");
    secrets.push(secret("a token by JSON", &token));
    let gone = life.sends("DELETE", "/instances/carol.example", false);
    assert_eq!(gone.status.as_u16(), 204);

    // An instance whose owner has not chosen a passphrase yet.
    let added = life.asks("instances add bob.example").done();
    secrets.push(secret("the register token", &register_token(&added)));
    secrets.extend(life.stored("bob.example", "at first"));
    for words in [
        "instances show bob.example -o json",
        "instances ls -o json",
        "operations ls -o json",
    ] {
        let _ = life.types(words).done();
    }
    let link = life.asks("instances register-link bob.example").done();
    assert_eq!(register_token(&link), register_token(&added));
    let rotated = life
        .asks("instances register-link bob.example --rotate")
        .done();
    assert_ne!(register_token(&rotated), register_token(&added));
    secrets.push(secret("the new register token", &register_token(&rotated)));
    secrets.extend(life.stored("bob.example", "after a new link"));
    let token = life
        .asks("instances token-cli bob.example io.cozy.files:GET")
        .done();
    let token = token.out.trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "a JWT");
    secrets.push(secret("a token of the command line", &token));
    for words in [
        "operations ls -o json",
        "instances show bob.example -o json",
        "instances destroy bob.example --force -o json",
        "instances destroy alice.example --force -o json",
        "instances orphans -o json",
    ] {
        let _ = life.types(words).done();
    }

    let Life { cluster, mut seen } = life;
    for arguments in processes.end() {
        seen.add("the list of processes", arguments);
    }
    for operation in operations.end() {
        seen.add("the documents of operations", operation);
    }
    for part in Part::ALL {
        let logged = cluster.logged(part, 0);
        let all = part == Part::Database || logged.contains("TRACE");
        assert!(all, "{} logs less than it can", part.program());
        seen.add(format!("the log of {}", part.program()), logged);
    }

    // Makes sure that the collected text is complete. A search in empty text would prove nothing.
    assert!(!seen.places("alice.example").is_empty());
    assert!(
        seen.places("--passphrase-file")
            .contains(&"the list of processes")
    );
    assert!(
        seen.places("\"kind\":\"create\"")
            .contains(&"the documents of operations")
    );
    let encoded: Vec<Secret> = secrets
        .iter()
        .map(|it| {
            secret(
                &format!("{} in base64", it.what),
                &STANDARD.encode(&it.text),
            )
        })
        .collect();
    secrets.extend(encoded);
    let basic = STANDARD.encode("admin:the first couchdb-password");
    secrets.push(secret("the database's credentials", &basic));
    assert!(secrets.len() >= 40, "{} secrets", secrets.len());
    let shown: Vec<String> = secrets
        .iter()
        .flat_map(|secret| {
            let places = seen.places(&secret.text).into_iter();
            places.map(|place| format!("{} stands in {place}", secret.what))
        })
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}
