//! The settings of `hamletd`.

use std::{net::SocketAddr, path::PathBuf};

use couch::CouchOptions;
use process_kit::address;
use service_kit::{
    config::FileArg, program::OverlapFlag, secret::Secret, telemetry::TelemetryFlags,
};

/// A whole Hamlet installation in one process: gateway, services and a database, under one folder.
///
/// When it serves, it prints one line on standard output: `ready public=ADDR admin=ADDR`.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "hamletd", version)]
// On one machine there is usually no proxy that terminates TLS.
#[command(mut_arg("instance_scheme", |arg| arg.default_value("http")))]
pub(crate) struct Settings {
    /// The settings' file.
    #[command(flatten)]
    pub(crate) file: FileArg,
    /// The folder in which everything is kept.
    #[arg(
        long,
        env = "HAMLET_DATA",
        default_value = "./hamlet-data",
        value_name = "DIR"
    )]
    pub(crate) data: PathBuf,
    /// Where browsers and clients of instances connect; port 0 picks a free one.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR",
        value_parser = address::parse
    )]
    pub(crate) listen: SocketAddr,
    /// Where administrators connect; port 0 picks a free one.
    #[arg(
        long,
        env = "HAMLET_ADMIN_LISTEN",
        default_value = "127.0.0.1:6060",
        value_name = "ADDR",
        value_parser = address::parse
    )]
    pub(crate) admin_listen: SocketAddr,
    /// How both doors are reached from outside.
    #[command(flatten)]
    pub(crate) exposure: gateway::ExposureFlags,
    /// What calls and connections may take.
    #[command(flatten)]
    pub(crate) limits: gateway::LimitFlags,
    /// Another CouchDB instead of the embedded one: http://host:5984. Name and password are in --couchdb-user and
    /// --couchdb-password-file; in the URL, everybody who lists the processes of this machine sees them.
    #[arg(
        long,
        env = "HAMLET_COUCHDB",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) couchdb: Option<Secret>,
    /// How a CouchDB is used.
    #[command(flatten)]
    pub(crate) couch: CouchOptions,
    /// Makes sure that the instance alice.localhost exists, with an example app.
    #[arg(long, env = "HAMLET_DEMO")]
    pub(crate) demo: bool,
    /// A folder of apps in which slugs are looked up where no registry is configured. By default the
    /// examples/apps that lies beside the program or in the working directory.
    #[arg(long, env = "HAMLET_APP_FOLDER", value_name = "DIR", value_parser = process_kit::folder::existing)]
    pub(crate) app_folder: Option<PathBuf>,
    /// Where apps may come from.
    #[command(flatten)]
    pub(crate) sources: apps_svc::SourceFlags,
    /// The instance service's settings.
    #[command(flatten)]
    pub(crate) instances: instance_svc::Config,
    /// How long a changed credential still holds.
    #[command(flatten)]
    pub(crate) overlap: OverlapFlag,
    /// What it tells about itself.
    #[command(flatten)]
    pub(crate) telemetry: TelemetryFlags,
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{fs, path::Path};

    use clap::CommandFactory as _;

    use super::Settings;

    const HEAD: &str = "# Settings

<!-- Generated from the flags of the programs; HAMLET_UPDATE_DOCS=1 cargo test -p standalone writes it anew. -->

A flag wins over its environment variable, which wins over `hamlet.toml` (named by `--config`), which wins over the
default. A key of the file is the long name of a flag:

```toml
listen = \"0.0.0.0:8080\"

[contexts.default]
registries = [\"https://apps.example.org\"]

[contexts.school]
registries = [\"https://school.example.org\"]
init_photos_folder = false

[[couch-clusters]]
url = \"http://couch-one:5984\"
user = \"admin\"
password_file = \"/run/secrets/couch-one\"
```

Tables have no flags. An unknown key, and a value of a wrong form, end the start with a message that names the file and the
line. A relative path counts from the folder in which the program was started, not from that of the file. What a path leads
to is tried by whoever needs it:

| path | when it is tried |
|---|---|
| the files of the program's own credentials and certificates, `password_file` of `[[couch-clusters]]` and of `mail` | at the start, which ends when a file cannot be read; the message names the setting |
| `storage`, `admin_backend_password_file` | when they are used; `hamlet contexts check NAME` tries them |

| key of `[contexts.NAME]` | default | meaning |
|---|---|---|
| `registries` | `[]` | Where apps are looked up, in this order; the registries of `[contexts.default]` follow |
| `init_administrative_folder` | `true` | Whether a new instance gets a directory for papers |
| `init_photos_folder` | `true` | Whether a new instance gets directories for photos |
| `operator_name`, `operator_contact`, `operator_link` | none | Who runs the installation, for the owners of its instances: a name, a mail address or telephone number, a page; without them, those of `[contexts.default]` |
| `block_after_failed_logins` | `0` | After how many wrong passphrases in an hour an instance is blocked, with the reason `LOGIN_FAILED`, until an administrator unblocks it; 0 for never, because a stranger could lock owners out. Not taken over from `[contexts.default]` |
| `features` | `{}` | Feature flags of all instances of the context, by name. A name with a dot stands in quotes: `\"drive.office\" = true` below `[contexts.NAME.features]`. Not taken over from `[contexts.default]` |
| `subdomains` | `\"nested\"` | Whether the hosts of apps are `slug.instance` (`\"nested\"`) or `name-slug.parent` (`\"flat\"`); with flat ones, no name of an instance may have a hyphen before its first dot |
| `storage` | none | A folder on which other software keeps the files of instances, as `file:///var/lib/files`: see [file-store.md](file-store.md). Not taken over from `[contexts.default]` |
| `backend` | none | The server that serves the instances in Hamlet's stead, as `http://127.0.0.1:8085`, or a list of such addresses: see [gateway.md](gateway.md#a-backend). Not taken over from `[contexts.default]` |
| `own` | `[]` | The groups of routes that Hamlet serves although there is a `backend`: `apps`, `konnectors` (both need `storage`), `flags`, `passphrase` |
| `admin_backend`, `admin_backend_password_file` | those of `--admin-backend` | The admin door of that server, as `http://127.0.0.1:6060`, and the file with its password. It destroys instances with accounts at other services, and answers the [routes that Hamlet does not have](json-api.md#passed-on) |
| `mail` | that of `[contexts.default]` | A table, `[contexts.NAME.mail]`: how mail to owners is sent. Its keys are in [mail.md](mail.md#settings) |

Instances that name no context, or one that the file does not know, have the settings of `[contexts.default]`.

| key of `[[couch-clusters]]` | default | meaning |
|---|---|---|
| `url` | required | The root URL of a CouchDB, or of a cluster of them. Name and password may stand in it |
| `user` |  | The name of its administrator; wins over the one in the URL |
| `password_file` |  | A file with the password of its administrator; wins over the one in the URL |
| `instance_creation` | `true` | Whether new instances may lie there |

The databases of an instance lie on one server of this list: the one that was asked for at its creation, or one drawn
among those that take new instances. The instance keeps the position, counted from 0, so the list may only grow at its
end. The server of `--couchdb` always holds what belongs to the whole installation (`global/…`); without a list it holds
the instances too. Every service needs the same list.

`PROGRAM health` says in one line whether the running program serves. It exits with 0 if it does, and with 1 if it does not. It
takes the environment and the flags of the program; the flags follow the word. `embedded-couchdb health` needs `--listen` alone,
before the word or after it; its other flags may only come before the word.

The administrator of embedded-couchdb is set in the environment only: `HAMLET_COUCHDB_USER` or `HAMLET_COUCHDB_USER_FILE`, and
`HAMLET_COUCHDB_PASSWORD` or `HAMLET_COUCHDB_PASSWORD_FILE`. The command line reads `HAMLET_SERVER`,
`HAMLET_CREDENTIAL_FILE`, `HAMLET_CA_FILE`, `HAMLET_AT` and `HAMLET_DATA` (`hamlet --help`), and
`HAMLET_DISABLE_INSTANCES_ADD_RM`, which forbids it to [add and destroy instances](lifecycle.md#destroy). `.env.example` has
the variables of the compose files.
";

    /// `HAMLET_UPDATE_DOCS=1 cargo test -p standalone` regenerates the page.
    #[test]
    fn the_manual_is_generated_from_the_settings() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let mut text = HEAD.to_owned();
        for command in [
            Settings::command(),
            gateway::program::Flags::command(),
            instance_svc::program::Flags::command(),
            files_svc::program::Flags::command(),
            apps_svc::program::Flags::command(),
            embedded_couchdb::program::Flags::command(),
        ] {
            let table = service_kit::config::manual(&command);
            text.push_str(&format!("\n## {}\n\n{table}", command.get_name()));
        }
        for command in setup::command().get_subcommands() {
            if command.get_arguments().all(|arg| arg.get_env().is_none()) {
                continue;
            }
            let table = service_kit::config::manual(command);
            text.push_str(&format!(
                "\n## hamlet-setup {}\n\n{table}",
                command.get_name()
            ));
        }
        if std::env::var_os("HAMLET_UPDATE_DOCS").is_some() {
            fs::write(&page, &text).unwrap();
        }
        let found = fs::read_to_string(&page).expect("docs/configuration.md can be read");
        assert_eq!(found, text, "docs/configuration.md is not up to date");
    }
}
