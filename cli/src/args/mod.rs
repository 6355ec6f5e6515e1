//! The commands, their flags and the manual: one module a group.

mod add;
mod apps;
mod files;
mod instances;
mod modify;
mod operations;
mod request;

use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::{failure::Failure, fields::Field};

pub(crate) use self::{
    add::{Add, AuthMode, Passphrase},
    apps::Apps,
    files::Files,
    instances::{Destroy, Fsck, Instances, Ls, Orphans, SetPassphrase, Show, Target},
    modify::Modify,
    operations::Operations,
    request::{Condition, Request, cannot_take_effect},
};

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

impl Format {
    /// This format, or JSON when `--json` was given.
    ///
    /// # Errors
    /// When both were given and say different things.
    pub(crate) fn or_json(self, json: bool) -> Result<Self, Failure> {
        match self {
            _ if !json => Ok(self),
            Self::Table | Self::Json => Ok(Self::Json),
            Self::Yaml | Self::Name => Err(Failure::Usage(
                "--json and --output contradict each other; give one".to_owned(),
            )),
        }
    }

    /// Refuses `-o name` where fields are chosen.
    ///
    /// # Errors
    /// When both were given.
    pub(crate) fn refuse_names_with(self, fields: &[&Field]) -> Result<(), Failure> {
        if self == Self::Name && !fields.is_empty() {
            return Err(Failure::Usage(
                "--fields and --output name contradict each other; give one".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The groups of commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, list, show, change, block and destroy instances.
    #[command(subcommand, visible_alias = "instance", arg_required_else_help = true)]
    Instances(Instances),
    /// See what is and was at work, wait for it, cancel it.
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
    #[command(after_help = "Examples:\n  hamlet status\n  hamlet status -o json")]
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

/// Reads the command line. Ends the program when it means nothing, or asks for the manual.
pub(crate) fn parse() -> (Cli, Spelling) {
    let matches = Cli::command().get_matches();
    let spelling = Spelling::of(&matches);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, spelling),
        Err(error) => error.exit(),
    }
}

/// What a person can write in the command that was given: `--locale`, `DOMAIN`.
#[derive(Debug, Default)]
pub(crate) struct Spelling(Vec<String>);

impl Spelling {
    fn of(matches: &ArgMatches) -> Self {
        let mut command = Cli::command();
        let mut matches = matches;
        while let Some((name, below)) = matches.subcommand() {
            let Some(next) = command.find_subcommand(name).cloned() else {
                break;
            };
            (command, matches) = (next, below);
        }
        let spelled = command.get_arguments().filter_map(|argument| {
            match (argument.get_long(), argument.get_value_names()) {
                (Some(long), _) => Some(format!("--{long}")),
                (None, Some(names)) => names.first().map(ToString::to_string),
                (None, None) => Some(argument.get_id().as_str().to_uppercase()),
            }
        });
        Self(spelled.collect())
    }

    /// How the command spells a field of a request; `None` when a person cannot write it.
    pub(crate) fn of_field(&self, field: &str) -> Option<String> {
        let field = field.strip_prefix("instance.").unwrap_or(field);
        let field = field.split(['.', '[']).next().unwrap_or(field);
        let own = format!("--{}", field.replace('_', "-"));
        let words: &[&str] = match field {
            "name" | "domain" => &["DOMAIN", "OPERATION"],
            "context" => &["--context-name"],
            "timezone" => &["--tz"],
            "tos_signed" => &["--tos"],
            "oidc_id" => &["--oidc_id"],
            "franceconnect_id" => &["--franceconnect_id"],
            "magic_link" => &["--magic_link"],
            "disk_quota_bytes" => &["--disk-quota", "SIZE"],
            "auth_mode" => &["--auth-mode", "MODE"],
            "blocking_reason" | "reason" => &["--blocking-reason", "--reason"],
            "locked" => &["--lock"],
            "debug_until" => &["--ttl"],
            "passphrase" => &["--passphrase", "PASSPHRASE"],
            "subject" => &["SLUG", "CLIENT"],
            "scopes" => &["SCOPES"],
            "lifetime" => &["--expire"],
            "validate_only" => &["--dry-run"],
            "path" => &["PATH"],
            "slug" => &["SLUG"],
            _ => &[own.as_str()],
        };
        words
            .iter()
            .find(|word| self.0.iter().any(|known| known == *word))
            .map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, Spelling};

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_of_the_manual_mean_something() {
        let mut commands = vec![Cli::command()];
        let mut examples = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let manual = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in manual.lines().map(str::trim) {
                let Some(line) = line.split(['|', '>']).next() else {
                    continue;
                };
                if line.starts_with("hamlet ") {
                    let read = Cli::command().try_get_matches_from(line.split_whitespace());
                    assert!(read.is_ok(), "{line}: {:?}", read.err());
                    examples += 1;
                }
            }
        }
        assert!(examples > 50, "{examples}");
    }

    #[test]
    fn a_field_is_spelled_as_the_command_spells_it() {
        let spelling = |words: &str| {
            let words = words.split_whitespace();
            Cli::command()
                .try_get_matches_from(words)
                .map(|matches| Spelling::of(&matches))
                .unwrap_or_default()
        };
        let add = spelling("hamlet instances add bob.example");
        for (field, word) in [
            ("instance.domain", "DOMAIN"),
            ("instance.domain_aliases[1]", "--domain-aliases"),
            ("instance.disk_quota_bytes", "--disk-quota"),
            ("instance.settings.offer", "--settings"),
            ("apps[0]", "--apps"),
            ("instance.timezone", "--tz"),
            ("request_id", "--request-id"),
        ] {
            assert_eq!(add.of_field(field).as_deref(), Some(word), "{field}");
        }
        assert_eq!(add.of_field("instance.prefix"), None);
        let quota = spelling("hamlet instances set-disk-quota bob.example 1GB");
        assert_eq!(
            quota.of_field("instance.disk_quota_bytes").as_deref(),
            Some("SIZE")
        );
    }
}
