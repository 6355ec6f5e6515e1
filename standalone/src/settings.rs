//! The settings of `hamletd`.

use std::{net::SocketAddr, path::PathBuf};

use service_kit::{config::FileArg, secret::Secret, telemetry::LogConfig};

/// A whole Hamlet installation in one process: gateway, services and a database, under one folder.
///
/// When it serves, it prints one line on standard output: `ready public=ADDR admin=ADDR`.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "hamletd", version)]
// On one machine there is nobody to end TLS.
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
        value_name = "ADDR"
    )]
    pub(crate) listen: SocketAddr,
    /// Where administrators connect; port 0 picks a free one.
    #[arg(
        long,
        env = "HAMLET_ADMIN_LISTEN",
        default_value = "127.0.0.1:6060",
        value_name = "ADDR"
    )]
    pub(crate) admin_listen: SocketAddr,
    /// Another CouchDB instead of the embedded one: http://host:5984. Name and password may stand in the
    /// URL, or in --couchdb-user and --couchdb-password-file.
    #[arg(
        long,
        env = "HAMLET_COUCHDB",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) couchdb: Option<Secret>,
    /// The name of CouchDB's administrator.
    #[arg(long, env = "HAMLET_COUCHDB_USER", value_name = "NAME")]
    pub(crate) couchdb_user: Option<String>,
    /// A file with the password of CouchDB's administrator.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) couchdb_password_file: Option<PathBuf>,
    /// Makes sure that the instance alice.localhost exists, with an example app.
    #[arg(long, env = "HAMLET_DEMO")]
    pub(crate) demo: bool,
    /// A folder of apps in which slugs are looked up where no registry is configured. By default the
    /// examples/apps that lies beside the program or in the working directory.
    #[arg(long, env = "HAMLET_APP_FOLDER", value_name = "DIR")]
    pub(crate) app_folder: Option<PathBuf>,
    /// The instance service's settings.
    #[command(flatten)]
    pub(crate) instances: instance_svc::Config,
    /// What is logged.
    #[command(flatten)]
    pub(crate) log: LogConfig,
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

    /// `HAMLET_UPDATE_DOCS=1 cargo test -p standalone` writes the page anew.
    #[test]
    fn the_manual_is_generated_from_the_settings() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let text = format!(
            "# Settings of hamletd\n\n\
             <!-- Generated from standalone/src/settings.rs; HAMLET_UPDATE_DOCS=1 cargo test -p standalone writes it anew. -->\n\n\
             A flag wins over its environment variable, which wins over `hamlet.toml` (named by `--config`), which wins over the\n\
             default. A key of the file is the long name of a flag:\n\n\
             ```toml\n\
             listen = \"0.0.0.0:8080\"\n\n\
             [contexts.default]\n\
             registries = [\"https://apps.example.org\"]\n\n\
             [contexts.school]\n\
             registries = [\"https://school.example.org\"]\n\
             init_photos_folder = false\n\
             ```\n\n{}",
            service_kit::config::manual(&Settings::command())
        );
        if std::env::var_os("HAMLET_UPDATE_DOCS").is_some() {
            fs::write(&page, &text).unwrap();
        }
        let found = fs::read_to_string(&page).expect("docs/configuration.md can be read");
        assert_eq!(found, text, "docs/configuration.md is not up to date");
    }
}
