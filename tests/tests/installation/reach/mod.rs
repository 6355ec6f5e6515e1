//! What each credential reaches: every method of the contracts and every route, through both doors.

mod ends;
mod methods;
mod pages;
mod routes;
mod sessions;

use std::time::Duration;

use hamlet_tests::{
    daemon::{Daemon, Options},
    database::Database,
    grpc::Door,
    programs::root,
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Who may call a method or a route at the public door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Whoever likes to.
    ToStrangers,
    /// Every token of the instance.
    ToTokens,
    /// Tokens with this scope, and not those with another one.
    To(&'static str),
    /// Nobody but administrators, at their door.
    ToAdministrators,
}

use Open::{To, ToAdministrators, ToStrangers, ToTokens};

/// The methods that the public door lets through.
const METHODS: [(&str, Open); 15] = [
    (
        "hamlet.apps.v1.AppsService/ListApps",
        To("io.cozy.apps:GET"),
    ),
    ("hamlet.apps.v1.AppsService/GetApp", To("io.cozy.apps:GET")),
    (
        "hamlet.apps.v1.AppsService/InstallApp",
        To("io.cozy.apps:POST"),
    ),
    (
        "hamlet.apps.v1.AppsService/UpdateApp",
        To("io.cozy.apps:POST"),
    ),
    (
        "hamlet.apps.v1.AppsService/UninstallApp",
        To("io.cozy.apps:DELETE"),
    ),
    (
        "hamlet.files.v1.FilesService/GetFile",
        To("io.cozy.files:GET"),
    ),
    (
        "hamlet.files.v1.FilesService/ListChildren",
        To("io.cozy.files:GET"),
    ),
    (
        "hamlet.files.v1.FilesService/WalkTree",
        To("io.cozy.files:GET"),
    ),
    ("hamlet.files.v1.FilesService/CheckTree", ToAdministrators),
    (
        "hamlet.files.v1.FilesService/GetUsage",
        To("io.cozy.settings:GET"),
    ),
    ("hamlet.instance.v1.OwnerService/GetSettings", ToTokens),
    ("hamlet.instance.v1.OwnerService/GetPermissions", ToTokens),
    ("hamlet.instance.v1.TenantService/GetTenant", ToStrangers),
    (
        "hamlet.instance.v1.TenantService/CheckRegisterToken",
        ToStrangers,
    ),
    (
        "hamlet.instance.v1.TenantService/RegisterPassphrase",
        ToStrangers,
    ),
];

/// The services of the admin door beside those.
const ADMIN_SERVICES: [&str; 4] = [
    "google.longrunning.Operations",
    "hamlet.instance.v1.FeatureService",
    "hamlet.instance.v1.InstanceService",
    "hamlet.instance.v1.OperationService",
];

/// A scope that opens none of the methods and routes that need one.
const ANOTHER: &str = "io.cozy.contacts";

/// A `hamletd` with three instances: `ann`, `ben` who is blocked, and `cat` who is being destroyed by other software.
struct World {
    _place: TempDir,
    daemon: Daemon,
    ann: String,
    ben: String,
    cat: String,
}

impl World {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        // The same ports after a new start: they are parts of the domains.
        let listen = |name: &str| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("--{name}={}", free.local_addr().unwrap())
        };
        let options = Options::new(&place.path().join("data"))
            .flag(listen("listen"))
            .flag(format!("--app-folder={}", apps.display()));
        let mut daemon = options.start();
        let [ann, ben, cat] = ["ann", "ben", "cat"].map(|name| daemon.domain(name));
        for domain in [&ann, &ben, &cat] {
            for words in [
                format!("instances add {domain} --apps home"),
                format!("instances set-passphrase {domain} --force a-passphrase-of-many-words"),
            ] {
                let _ = daemon.cli().run(&words).done();
            }
        }
        let _ = daemon.cli().run(&format!("instances block {ben}")).done();
        // Only other software leaves an instance in this state.
        daemon.signal("TERM");
        let _ = daemon.wait(Duration::from_secs(30));
        let database = Database::of_stopped(daemon.data()).await;
        let instances = database.plain_documents("global/instances").await;
        let mut document = instances
            .into_iter()
            .find(|it| it["domain"] == cat.as_str())
            .unwrap();
        document["deleting"] = json!(true);
        let id = document["_id"].as_str().unwrap();
        let target = format!("global%2Finstances/{id}");
        let (status, _) = database.call(Method::PUT, &target, Some(document)).await;
        assert!(status.is_success(), "{status}");
        database.close().await;
        let daemon = options.start();
        Self {
            _place: place,
            daemon,
            ann,
            ben,
            cat,
        }
    }

    fn cli(&self, words: &str) -> String {
        self.daemon.cli().run(words).done().out.trim().to_owned()
    }

    fn token(&self, domain: &str, scope: &str) -> String {
        self.cli(&format!("instances token-cli {domain} {scope}"))
    }

    /// A token of `ann` that has expired.
    async fn expired(&self) -> String {
        let token = self.cli(&format!(
            "instances token-app {} home --expire 1s",
            self.ann
        ));
        tokio::time::sleep(Duration::from_secs(2)).await;
        token
    }

    async fn call(&self, method: &str, host: &str, token: Option<&str>) -> Result<(), Status> {
        let door = Door::public(&self.daemon, host, token).await;
        door.call(method, &json!({})).await
    }
}

fn reason(refused: &Status) -> String {
    let details = refused.get_error_details();
    details
        .error_info()
        .map_or_else(String::new, |it| it.reason.clone())
}

/// The reason of a refusal of who calls; empty when the caller was let in, whatever came of the empty request.
fn refusal_of(answer: &Result<(), Status>) -> String {
    match answer {
        Ok(()) => String::new(),
        Err(status) if [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code()) => {
            reason(status)
        }
        Err(_) => String::new(),
    }
}

fn of_public_door(method: &str) -> Option<Open> {
    let mut methods = METHODS.iter();
    methods.find(|(it, _)| *it == method).map(|(_, open)| *open)
}

fn is_public_service(service: &str) -> bool {
    METHODS
        .iter()
        .any(|(method, _)| method.split('/').next() == Some(service))
}
