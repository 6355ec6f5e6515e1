//! The commands, their flags and the manual.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::values;

/// Administers an installation of Hamlet.
///
/// The server and its credential are found by themselves when a hamletd runs on this machine: from HAMLET_DATA, or
/// from the folder hamlet-data here or above.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too
/// late.
#[derive(Debug, Parser)]
#[command(
    name = "hamlet",
    version,
    arg_required_else_help = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    /// The admin door: http://host:port.
    #[arg(long, global = true, env = "HAMLET_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The file with the admin credential.
    #[arg(
        long,
        global = true,
        env = "HAMLET_CREDENTIAL_FILE",
        value_name = "FILE"
    )]
    pub(crate) credential_file: Option<PathBuf>,
    /// How answers look: for people, or for programs.
    #[arg(
        short,
        long,
        global = true,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns or lines for people.
    Table,
    /// The contract's JSON form: one document, or one line an item of a list.
    Json,
    /// The same as YAML.
    Yaml,
    /// The names alone, one a line.
    Name,
}

/// The groups of commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, show and destroy instances.
    #[command(subcommand, visible_alias = "instance")]
    Instances(Instances),
    /// See what is and was at work.
    #[command(subcommand, visible_alias = "operation")]
    Operations(Operations),
    /// See the files of an instance.
    #[command(subcommand)]
    Files(Files),
    /// See the apps of an instance.
    #[command(subcommand)]
    Apps(Apps),
    /// Tell whether the installation can be reached.
    Status,
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Commands for instances.
#[derive(Debug, Subcommand)]
pub(crate) enum Instances {
    /// Create an instance and follow its creation.
    ///
    /// Example: hamlet instances add bob.localhost:8080 --locale de --apps home --public-name Bob
    #[command(visible_alias = "create")]
    Add(Box<Add>),
    /// List instances, in the order of their creation.
    #[command(visible_alias = "list")]
    Ls,
    /// Show an instance, by its domain or an alias.
    Show {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Count instances.
    Count,
    /// Print the link by which the owner chooses a passphrase. It is a secret.
    RegisterLink {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Destroy an instance and all that it holds.
    #[command(visible_aliases = ["rm", "delete", "remove"])]
    Destroy {
        /// The main domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// Do not ask for the domain again.
        #[arg(long)]
        force: bool,
        /// Check everything and destroy nothing; never asks.
        #[arg(long, visible_alias = "validate-only")]
        dry_run: bool,
        /// A UUID under which the same request is made only once.
        #[arg(long, value_name = "UUID", value_parser = values::names::request_id)]
        request_id: Option<String>,
    },
}

/// What is known of a new instance.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The domain, with its port when it has one.
    #[arg(value_parser = values::domain::parse)]
    pub(crate) domain: String,
    /// The language, such as fr, fr-FR or de_AT.
    #[arg(long, default_value = "en", value_name = "LANGUAGE")]
    pub(crate) locale: String,
    /// Apps to install: slugs, or addresses (file://, http://, https://, registry://slug/channel); several separated
    /// by commas.
    #[arg(long, value_name = "APPS", value_delimiter = ',', value_parser = values::apps::source)]
    pub(crate) apps: Vec<String>,
    /// The owner's name as others see it.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    pub(crate) public_name: String,
    /// The owner's mail address.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) email: String,
    /// The owner's time zone, such as Europe/Paris.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "ZONE"
    )]
    pub(crate) tz: String,
    /// The owner's phone number.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) phone: String,
    /// Further settings, KEY:VALUE, several separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = values::settings::parse)]
    pub(crate) settings: Vec<(String, String)>,
    /// Other domains, separated by commas.
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',')]
    pub(crate) domain_aliases: Vec<String>,
    /// The group of settings that applies.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "CONTEXT"
    )]
    pub(crate) context_name: String,
    /// An id given by the hosting provider.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) uuid: String,
    /// The subject at the OIDC provider.
    #[arg(
        long = "oidc_id",
        default_value = "",
        hide_default_value = true,
        value_name = "SUBJECT"
    )]
    pub(crate) oidc_id: String,
    /// A former domain.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "DOMAIN"
    )]
    pub(crate) old_domain: String,
    /// How much may be stored: 10GB, 512MiB or bytes; no limit by default.
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = values::quota::parse)]
    pub(crate) disk_quota: i64,
    /// Who pays, separated by commas.
    #[arg(long, value_name = "SPONSORS", value_delimiter = ',')]
    pub(crate) sponsorships: Vec<String>,
    /// The version of the terms of service that was signed.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "VERSION"
    )]
    pub(crate) tos: String,
    /// Show how long each step took.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Check everything and create nothing.
    #[arg(long, visible_alias = "validate-only")]
    pub(crate) dry_run: bool,
    /// A UUID under which the same request is made only once.
    #[arg(long, value_name = "UUID", value_parser = values::names::request_id)]
    pub(crate) request_id: Option<String>,
}

/// Commands for operations.
#[derive(Debug, Subcommand)]
pub(crate) enum Operations {
    /// List operations, newest first.
    #[command(visible_alias = "list")]
    Ls,
    /// Show one.
    Show {
        /// Its id.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
    /// Follow one to its end.
    Wait {
        /// Its id.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
}

/// Commands for files.
#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// List a directory, sorted by name.
    #[command(visible_alias = "list")]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The directory.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
    },
    /// Show a directory and all below it.
    Tree {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// Where to begin.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
    },
}

/// Commands for apps.
#[derive(Debug, Subcommand)]
pub(crate) enum Apps {
    /// List installed web apps.
    #[command(visible_alias = "list")]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Show one.
    Show {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The app's slug.
        #[arg(value_parser = values::names::slug)]
        slug: String,
    },
}
