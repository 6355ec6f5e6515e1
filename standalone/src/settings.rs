//! The settings of `hamletd`.

use std::{net::SocketAddr, path::PathBuf};

use service_kit::{config::FileArg, secret::Secret, telemetry::LogConfig};

/// A whole Hamlet installation in one process: gateway, services and a database, under one folder.
///
/// When it serves, it prints one line on standard output: `ready public=ADDR admin=ADDR`.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "hamletd", version)]
pub struct Settings {
    /// The settings' file.
    #[command(flatten)]
    pub file: FileArg,
    /// The folder in which everything is kept.
    #[arg(
        long,
        env = "HAMLET_DATA",
        default_value = "./hamlet-data",
        value_name = "DIR"
    )]
    pub data: PathBuf,
    /// Where browsers and clients of instances connect; port 0 picks a free one.
    #[arg(
        long,
        env = "HAMLET_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Where administrators connect; port 0 picks a free one.
    #[arg(
        long,
        env = "HAMLET_ADMIN_LISTEN",
        default_value = "127.0.0.1:6060",
        value_name = "ADDR"
    )]
    pub admin_listen: SocketAddr,
    /// Another CouchDB instead of the embedded one: http://host:5984. Name and password may stand in the
    /// URL, or in --couchdb-user and --couchdb-password-file.
    #[arg(
        long,
        env = "HAMLET_COUCHDB",
        value_name = "URL",
        hide_env_values = true
    )]
    pub couchdb: Option<Secret>,
    /// The name of CouchDB's administrator.
    #[arg(long, env = "HAMLET_COUCHDB_USER", value_name = "NAME")]
    pub couchdb_user: Option<String>,
    /// A file with the password of CouchDB's administrator.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    pub couchdb_password_file: Option<PathBuf>,
    /// Makes sure that the instance alice.localhost exists, with an example app.
    #[arg(long, env = "HAMLET_DEMO")]
    pub demo: bool,
    /// A folder of apps in which slugs are looked up where no registry is configured. By default the
    /// examples/apps that lies beside the program or in the working directory.
    #[arg(long, env = "HAMLET_APP_FOLDER", value_name = "DIR")]
    pub app_folder: Option<PathBuf>,
    /// The instance service's settings.
    #[command(flatten)]
    pub instances: instance_svc::Config,
    /// What is logged.
    #[command(flatten)]
    pub log: LogConfig,
}
