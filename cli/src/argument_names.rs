//! The names of a command's arguments, for errors about a field of its request.

use clap::{ArgMatches, Command, parser::ValueSource};
use hamlet_proto::fields::by_path;

use crate::fields::instance::special_setting;

/// What can be written in the command that was given: `--locale`, `DOMAIN`. What was typed is told first.
#[derive(Debug, Default)]
pub(crate) struct ArgumentNames {
    known: Vec<String>,
    /// Those that were typed.
    typed: Vec<String>,
    /// The keys that `--settings` and `--setting` name, each with its flag.
    settings: Vec<(&'static str, String)>,
}

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
        let mut names = Self::default();
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let is_there = matches.try_contains_id(id).is_ok();
            let given = is_there && matches.value_source(id) == Some(ValueSource::CommandLine);
            match (argument.get_long(), argument.get_value_names()) {
                (Some(long), _) => {
                    let flag = format!("--{long}");
                    if given {
                        names.typed.push(flag.clone());
                    }
                    names.known.push(flag);
                }
                (None, Some(values)) => {
                    let values = values.iter().map(ToString::to_string);
                    if given {
                        names.typed.extend(values.clone());
                    }
                    names.known.extend(values);
                }
                (None, None) => names.known.push(id.to_uppercase()),
            }
        }
        for (id, flag, separator) in [
            ("settings", "--settings", ':'),
            ("setting", "--setting", '='),
        ] {
            for text in matches.try_get_raw(id).ok().flatten().into_iter().flatten() {
                let text = text.to_string_lossy();
                if let Some((key, _)) = text.split_once(separator) {
                    names.settings.push((flag, key.trim().to_owned()));
                }
            }
        }
        names
    }

    /// The argument that sets a field of a request; `None` when the command has none for it.
    pub(crate) fn of_field(&self, field: &str) -> Option<String> {
        let path = field.strip_prefix("instance.").unwrap_or(field);
        let field = path.split(['.', '[']).next().unwrap_or(path);
        let flag = match by_path(field).and_then(|field| field.flag) {
            Some(flag) => format!("--{flag}"),
            None => format!("--{}", field.replace('_', "-")),
        };
        let is_typed = |flag: &str| self.typed.iter().any(|typed| typed == flag);
        if !is_typed(&flag)
            && let Some(key) = special_setting(field)
            && let Some((flag, _)) = self.settings.iter().find(|(_, given)| given == key)
        {
            return Some(format!("{flag} {key}"));
        }
        if field == "settings"
            && let Some((_, key)) = path.split_once('.')
            && let Some((flag, _)) = self.settings.iter().find(|(_, given)| given == key)
        {
            return Some((*flag).to_owned());
        }
        let others = other_arguments(field);
        let names: Vec<_> = [flag.as_str()]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        let typed = names.iter().find(|name| is_typed(name));
        if typed.is_none()
            && self.known.iter().any(|known| known == "PASSPHRASE")
            && field == "passphrase"
        {
            // It came from standard input, or was asked for.
            return None;
        }
        typed
            .or_else(|| {
                let is_known = |name: &&&str| self.known.iter().any(|known| known == **name);
                names.iter().find(is_known)
            })
            .map(ToString::to_string)
    }

    /// A text of the server in the words of the command line: `instance.email` becomes `--email`.
    pub(crate) fn in_words(&self, text: &str) -> String {
        let mut told = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("instance.") {
            let (before, from) = rest.split_at(at);
            told.push_str(before);
            let is_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let name = from.strip_prefix("instance.").unwrap_or(from);
            let name = name.split(|c: char| !is_path(c)).next().unwrap_or(name);
            let begins_word =
                !before.ends_with(|c: char| c.is_alphanumeric() || ".-_/".contains(c));
            let (path, after) = from.split_at("instance.".len() + name.len());
            match by_path(name).filter(|_| begins_word) {
                Some(field) => told.push_str(&match (self.of_field(name), field.flag) {
                    (Some(argument), _) => argument,
                    (None, Some(flag)) => format!("--{flag} of `hamlet instances modify`"),
                    (None, None) => path.to_owned(),
                }),
                None => told.push_str(path),
            }
            rest = after;
        }
        told.push_str(rest);
        told
    }
}

/// Arguments that set a field besides its flag of `instances add` and `modify`.
fn other_arguments(field: &str) -> &'static [&'static str] {
    match field {
        "name" | "domain" => &["DOMAIN", "OPERATION", "--domain"],
        "disk_quota_bytes" => &["SIZE"],
        "auth_mode" => &["MODE"],
        "blocking_reason" | "reason" => &["--blocking-reason", "--reason"],
        "locked" => &["--unlock"],
        "settings" => &["--setting"],
        "debug_until" => &["--ttl", "true|false"],
        "passphrase" => &["PASSPHRASE", "--passphrase-file", "--passphrase-prompt"],
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
    fn what_was_typed_is_told_first() {
        let add = names(
            "hamlet instances add bob.example --settings locale:xx,tos:1,offer:a --setting email=b --uuid 1",
        );
        for (field, argument) in [
            ("instance.locale", "--settings locale"),
            ("instance.tos_signed", "--settings tos"),
            ("instance.uuid", "--uuid"),
            ("instance.settings.offer", "--settings"),
            ("instance.settings.email", "--setting"),
        ] {
            assert_eq!(add.of_field(field).as_deref(), Some(argument), "{field}");
        }
        let unlock = names("hamlet instances modify bob.example --unlock");
        assert_eq!(
            unlock.of_field("instance.locked").as_deref(),
            Some("--unlock")
        );
    }

    #[test]
    fn fields_in_a_text_are_told_by_their_flags() {
        let add = names("hamlet instances add bob.example");
        for (text, told) in [
            (
                "leave instance.magic_link or instance.tos_signed out",
                "leave --magic_link or --tos out",
            ),
            ("use instance.timezone.", "use --tz."),
            (
                "use instance.onboarding_finished",
                "use --onboarding-finished of `hamlet instances modify`",
            ),
            (
                "no-instance.email, instance.none",
                "no-instance.email, instance.none",
            ),
            ("instance.prefix, instance.", "instance.prefix, instance."),
        ] {
            assert_eq!(add.in_words(text), told);
        }
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
        for (words, argument) in [
            (
                "instances add bob.example --passphrase abc",
                Some("--passphrase"),
            ),
            (
                "instances add bob.example --passphrase-file f",
                Some("--passphrase-file"),
            ),
            (
                "instances add bob.example --passphrase-prompt",
                Some("--passphrase-prompt"),
            ),
            (
                "instances set-passphrase bob.example abc",
                Some("PASSPHRASE"),
            ),
            (
                "instances set-passphrase bob.example --passphrase-file f",
                Some("--passphrase-file"),
            ),
            // It is read from standard input.
            ("instances set-passphrase bob.example", None),
        ] {
            let names = names(&format!("hamlet {words}"));
            assert_eq!(names.of_field("passphrase").as_deref(), argument, "{words}");
        }
        let install = names("hamlet apps install bob.example home");
        assert_eq!(install.of_field("source").as_deref(), Some("SOURCE"));
    }
}
