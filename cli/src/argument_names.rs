//! The names of a command's arguments, for errors about a field of its request.

use clap::{ArgMatches, Command};
use hamlet_proto::fields::by_path;

/// What can be written in the command that was given: `--locale`, `DOMAIN`.
#[derive(Debug, Default)]
pub(crate) struct ArgumentNames(Vec<String>);

impl ArgumentNames {
    /// The arguments of the subcommand of `root` that was given.
    pub(crate) fn of(root: &Command, matches: &ArgMatches) -> Self {
        let mut command = root;
        let mut matches = matches;
        while let Some((name, below)) = matches.subcommand() {
            let Some(next) = command.find_subcommand(name) else {
                break;
            };
            (command, matches) = (next, below);
        }
        let names = command.get_arguments().flat_map(|argument| {
            match (argument.get_long(), argument.get_value_names()) {
                (Some(long), _) => vec![format!("--{long}")],
                (None, Some(names)) => names.iter().map(ToString::to_string).collect(),
                (None, None) => vec![argument.get_id().as_str().to_uppercase()],
            }
        });
        Self(names.collect())
    }

    /// The argument that sets a field of a request; `None` when the command has none for it.
    pub(crate) fn of_field(&self, field: &str) -> Option<String> {
        let field = field.strip_prefix("instance.").unwrap_or(field);
        let field = field.split(['.', '[']).next().unwrap_or(field);
        let flag = match by_path(field).and_then(|field| field.flag) {
            Some(flag) => format!("--{flag}"),
            None => format!("--{}", field.replace('_', "-")),
        };
        let others = other_arguments(field);
        [flag.as_str()]
            .iter()
            .chain(others)
            .find(|name| self.0.iter().any(|known| known == *name))
            .map(ToString::to_string)
    }
}

/// Arguments that set a field besides its flag of `instances add` and `modify`.
fn other_arguments(field: &str) -> &'static [&'static str] {
    match field {
        "name" | "domain" => &["DOMAIN", "OPERATION"],
        "disk_quota_bytes" => &["SIZE"],
        "auth_mode" => &["MODE"],
        "blocking_reason" | "reason" => &["--blocking-reason", "--reason"],
        "debug_until" => &["--ttl"],
        "passphrase" => &["PASSPHRASE"],
        "subject" => &["SLUG", "CLIENT"],
        "scopes" => &["SCOPES"],
        "lifetime" => &["--expire"],
        "validate_only" => &["--dry-run"],
        "path" => &["PATH"],
        "slug" => &["SLUG"],
        "source" => &["SOURCE"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::ArgumentNames;
    use crate::commands::Cli;

    fn names(words: &str) -> ArgumentNames {
        let command = Cli::command();
        let matches = command
            .clone()
            .try_get_matches_from(words.split_whitespace());
        matches
            .map(|matches| ArgumentNames::of(&command, &matches))
            .unwrap_or_default()
    }

    #[test]
    fn a_field_is_named_by_the_argument_that_sets_it() {
        let add = names("hamlet instances add bob.example");
        for (field, argument) in [
            ("instance.domain", "DOMAIN"),
            ("instance.domain_aliases[1]", "--domain-aliases"),
            ("instance.disk_quota_bytes", "--disk-quota"),
            ("instance.settings.offer", "--settings"),
            ("apps[0]", "--apps"),
            ("instance.timezone", "--tz"),
            ("request_id", "--request-id"),
        ] {
            assert_eq!(add.of_field(field).as_deref(), Some(argument), "{field}");
        }
        assert_eq!(add.of_field("instance.prefix"), None);
        let quota = names("hamlet instances set-disk-quota bob.example 1GB");
        assert_eq!(
            quota.of_field("instance.disk_quota_bytes").as_deref(),
            Some("SIZE")
        );
        let install = names("hamlet apps install bob.example home");
        assert_eq!(install.of_field("source").as_deref(), Some("SOURCE"));
    }
}
