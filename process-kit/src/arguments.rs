//! The command line and the environment, read by clap, with two rules for every program: an empty environment variable
//! counts as not set, and an error about the value of a variable names the variable.

use std::{
    env,
    ffi::{OsStr, OsString},
};

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue},
};

/// Reads the arguments of a program; the first one is its name.
///
/// # Errors
/// When they cannot be used, or help is asked for.
pub fn parse<A: CommandFactory + FromArgMatches>(args: &[OsString]) -> Result<A, clap::Error> {
    let mut command = A::command();
    let matches = matches(&mut command, args)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Reads the arguments of a command; the first one is its name. The command then ignores the empty variables.
///
/// # Errors
/// As [`parse`].
pub fn matches(command: &mut Command, args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    *command = without_empty_variables(command.clone());
    command
        .try_get_matches_from_mut(args)
        .map_err(|error| name_variable(command, args, error))
}

/// The command with the variables left out that are empty now.
fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let is_empty = arg
                .get_env()
                .and_then(env::var_os)
                .is_some_and(|value| value.is_empty());
            if is_empty {
                arg.env(Resettable::Reset)
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// Names the variable, when the value that clap refuses is one of a variable.
fn name_variable(command: &Command, args: &[OsString], mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(refused)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // As clap shows it: `--listen <ADDR>`.
    let refused = refused.clone();
    let flag = refused.split(' ').next().unwrap_or_default();
    let flag = flag.split("[=").next().unwrap_or_default();
    let variable = all_arguments(command)
        .into_iter()
        .find(|arg| is_flag(OsStr::new(flag), arg))
        .filter(|arg| !args.iter().any(|given| is_flag(given, arg)))
        .and_then(Arg::get_env)
        .filter(|name| env::var_os(name).is_some());
    if let Some(variable) = variable {
        let named = format!("{} ({refused})", variable.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

fn all_arguments(command: &Command) -> Vec<&Arg> {
    let below = command.get_subcommands().flat_map(all_arguments);
    command.get_arguments().chain(below).collect()
}

/// Whether an argument as it was given is this flag, with or without its value.
fn is_flag(given: &OsStr, arg: &Arg) -> bool {
    let given = given.to_string_lossy();
    let is_long = arg.get_long().is_some_and(|long| {
        given
            .strip_prefix("--")
            .and_then(|rest| rest.strip_prefix(long))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    let is_short = arg
        .get_short()
        .is_some_and(|short| given.starts_with(&format!("-{short}")));
    is_long || is_short
}

/// The flags that were given on the command line with a password in a URL: everybody who lists the processes of the
/// machine sees it.
#[must_use]
pub fn shown_passwords(args: &[OsString]) -> Vec<String> {
    let mut shown = Vec::new();
    let mut flag = String::new();
    for arg in args.iter().map(|arg| arg.to_string_lossy()) {
        let (named, value) = match arg.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) => (format!("--{name}"), value),
            None => (std::mem::take(&mut flag), arg.as_ref()),
        };
        if named.starts_with("--") && has_password(value) {
            shown.push(named);
        }
        if arg.starts_with("--") {
            flag = arg.into_owned();
        }
    }
    shown
}

fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::ffi::OsString;

    use clap::Parser;

    use super::{parse, shown_passwords};

    /// Cargo sets the variables for tests: one is text, one is always empty for a crate without a pre-release.
    #[derive(Debug, Parser)]
    struct Program {
        #[arg(long, env = "CARGO_PKG_NAME")]
        number: Option<u16>,
        #[arg(long, env = "CARGO_PKG_VERSION_PRE")]
        other: Option<u16>,
    }

    fn args(words: &[&str]) -> Vec<OsString> {
        ["program"].iter().chain(words).map(Into::into).collect()
    }

    #[test]
    fn an_empty_variable_is_not_set_and_a_wrong_one_is_named() {
        let error = parse::<Program>(&args(&[])).unwrap_err().to_string();
        assert!(
            error.contains("'process-kit' for 'CARGO_PKG_NAME (--number <NUMBER>)'"),
            "{error}"
        );
        let read: Program = parse(&args(&["--number", "3"])).unwrap();
        assert_eq!((read.number, read.other), (Some(3), None));
        let error = parse::<Program>(&args(&["--number=x"])).unwrap_err();
        assert!(!error.to_string().contains("CARGO_PKG_NAME"), "{error}");
    }

    #[test]
    fn a_password_on_the_command_line_is_found() {
        for (given, shown) in [
            (vec!["--couchdb", "http://admin:secret@h:5984"], 1),
            (vec!["--couchdb=https://admin:secret@h"], 1),
            (vec!["--couchdb=http://h:5984"], 0),
            (vec!["--couchdb", "http://admin@h:5984/a:b@c"], 0),
            (vec!["http://a:b@c"], 0),
        ] {
            let found = shown_passwords(&args(&given));
            assert_eq!(found.len(), shown, "{given:?}: {found:?}");
        }
    }
}
