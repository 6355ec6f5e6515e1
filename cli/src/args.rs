//! The commands, their flags and the manual.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::values;

/// Administers an installation of Hamlet.
///
/// The server and its credential are found by themselves when a hamletd runs on this machine: in the folder that
/// HAMLET_DATA names, or in the folder hamlet-data here or above. A credential found there is sent to that server only;
/// for another one, name --server and --credential-file.
///
/// Data goes to stdout, everything else to stderr. A header and progress are shown on a terminal only; an empty cell
/// of a table is a dash.
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 exists or conflict, 5 not allowed, 6 unavailable or too
/// late, 130 stopped by Ctrl-C.
#[derive(Debug, Parser)]
#[command(
    name = "hamlet",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 120,
    after_help = "Examples:
  hamlet instances add bob.localhost:8080 --locale de --apps home --public-name Bob
  hamlet instances ls -o json | jq -r .domain
  hamlet files tree bob.localhost:8080
  hamlet status"
)]
pub(crate) struct Cli {
    /// The admin door: http://HOST:PORT. The credential travels unencrypted: reach another machine through a tunnel.
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
    #[command(subcommand, visible_alias = "instance", arg_required_else_help = true)]
    Instances(Instances),
    /// See what is and was at work.
    #[command(subcommand, visible_alias = "operation", arg_required_else_help = true)]
    Operations(Operations),
    /// See the files of an instance.
    #[command(subcommand, arg_required_else_help = true)]
    Files(Files),
    /// See the apps of an instance.
    #[command(subcommand, arg_required_else_help = true)]
    Apps(Apps),
    /// Tell whether the installation can be reached, takes the credential, and serves.
    ///
    /// Exit code 5 when the credential is refused, 6 when something does not serve. A service whose health the server
    /// does not tell is unknown.
    Status,
    /// Print a script that completes commands in a shell.
    #[command(
        after_help = "Examples:\n  hamlet completions bash > ~/.local/share/bash-completion/completions/hamlet\n  hamlet completions fish > ~/.config/fish/completions/hamlet.fish"
    )]
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
    /// Prints the link by which the owner chooses a passphrase. It is a secret: whoever has it can take the instance.
    /// An app that cannot be installed does not undo the instance: it is warned about, and the exit code is 1. Ctrl-C
    /// leaves the creation to the server, and says how to follow it again.
    #[command(
        visible_alias = "create",
        after_help = "Examples:\n  hamlet instances add bob.localhost:8080\n  hamlet instances add bob.localhost:8080 --locale de --apps home --public-name Bob --email bob@example.org\n  hamlet instances add eve.example.org --apps home,file:///srv/apps/notes --disk-quota 10GB\n  hamlet instances add eve.example.org --settings offer:freemium,partner:acme --domain-aliases www.eve.example.org --dry-run"
    )]
    Add(Box<Add>),
    /// List instances, in the order of their creation.
    ///
    /// Columns: domain, locale, quota, state, version of the indexes, prefix of the databases.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet instances ls\n  hamlet instances ls -o name"
    )]
    Ls,
    /// Show an instance, by its domain or an alias.
    #[command(
        after_help = "Examples:\n  hamlet instances show bob.localhost:8080\n  hamlet instances show bob.localhost:8080 -o yaml"
    )]
    Show {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Count instances.
    #[command(after_help = "Examples:\n  hamlet instances count")]
    Count,
    /// Print the link by which the owner chooses a passphrase. It is a secret.
    ///
    /// Once the owner has chosen a passphrase there is none.
    #[command(after_help = "Examples:\n  hamlet instances register-link bob.localhost:8080")]
    RegisterLink {
        /// The domain or an alias.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Destroy an instance and all that it holds.
    ///
    /// Asks for the domain again, and reads the answer from standard input, be it a terminal or not. There is no way
    /// back, and no way to stop it once it has begun. Only the main domain destroys, never an alias.
    #[command(visible_aliases = ["rm", "delete", "remove"], after_help = "Examples:\n  hamlet instances destroy bob.localhost:8080\n  hamlet instances destroy bob.localhost:8080 --force")]
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
    /// by commas. A comma within an address is written %2C.
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
    #[arg(long, value_name = "SETTINGS", value_delimiter = ',', value_parser = values::settings::parse)]
    pub(crate) settings: Vec<(String, String)>,
    /// Other domains, separated by commas.
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',', value_parser = values::domain::parse)]
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
    ///
    /// Columns: operation, kind, domain, phase, the step at work.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet operations ls"
    )]
    Ls,
    /// Show one.
    #[command(
        after_help = "Examples:\n  hamlet operations show 0198f3c2\n  hamlet operations show 0198f3c2 -o json"
    )]
    Show {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
    /// Follow one to its end.
    ///
    /// Prints what came of it and ends with the exit code of the command that began it.
    #[command(after_help = "Examples:\n  hamlet operations wait 0198f3c2")]
    Wait {
        /// Its id, as `operations ls` shows it.
        #[arg(value_parser = values::names::operation)]
        operation: String,
    },
}

/// Commands for files.
#[derive(Debug, Subcommand)]
pub(crate) enum Files {
    /// List a directory, sorted by name.
    ///
    /// Columns: name, kind, size, id.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet files ls bob.localhost:8080\n  hamlet files ls bob.localhost:8080 /Fotos"
    )]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The directory.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
    },
    /// Show a directory and all below it.
    #[command(
        after_help = "Examples:\n  hamlet files tree bob.localhost:8080\n  hamlet files tree bob.localhost:8080 /Fotos --max-depth 1"
    )]
    Tree {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// Where to begin.
        #[arg(default_value = "/", value_parser = values::names::path)]
        path: String,
        /// How deep to go; all the way by default.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        max_depth: Option<i32>,
    },
}

/// Commands for apps.
#[derive(Debug, Subcommand)]
pub(crate) enum Apps {
    /// List installed web apps, sorted by slug.
    ///
    /// Columns: slug, version, state, source.
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  hamlet apps ls bob.localhost:8080"
    )]
    Ls {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
    },
    /// Show one.
    #[command(after_help = "Examples:\n  hamlet apps show bob.localhost:8080 home")]
    Show {
        /// The instance's domain.
        #[arg(value_parser = values::domain::parse)]
        domain: String,
        /// The app's slug.
        #[arg(value_parser = values::names::slug)]
        slug: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
