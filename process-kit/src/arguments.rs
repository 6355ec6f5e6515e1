//! The command line and the environment, read by clap, with three rules for every program: an empty environment variable
//! counts as not set, an error about the value of a variable names the variable, and the usage that an error shows is the
//! same whatever the environment is.

use std::{
    env,
    ffi::{OsStr, OsString},
    num::{IntErrorKind, ParseIntError},
};

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
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
        .map_err(|error| without_variables_in_usage(command, args, error))
        .map_err(|error| whole_usage_of_conflict(command, args, error))
        .map_err(|error| number_in_words(command, error))
        .map_err(shortened)
}

/// Shows a very long value in part.
fn shortened(mut error: clap::Error) -> clap::Error {
    /// No value of everyday is longer.
    const LONGEST: usize = 400;
    const SHOWN: usize = 80;
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && value.len() > LONGEST
    {
        let start: String = value.chars().take(SHOWN).chain(['…']).collect();
        error.insert(ContextKind::InvalidValue, ContextValue::String(start));
    }
    error
}

/// Says of a wrong number what would be right, instead of how the parser failed.
fn number_in_words(command: &Command, error: clap::Error) -> clap::Error {
    let source = std::error::Error::source(&error);
    let Some(wrong) = source.and_then(|source| source.downcast_ref::<ParseIntError>()) else {
        return error;
    };
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(arg), Some(value)) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let why = match wrong.kind() {
        IntErrorKind::PosOverflow => "it is too large; give a smaller whole number",
        IntErrorKind::NegOverflow => "it is too small; give a larger whole number",
        _ => "it is no whole number; give one such as 3",
    };
    let message = format!("invalid value '{value}' for '{arg}': {why}\n");
    let mut told = clap::Error::raw(error.kind(), message).with_cmd(command);
    told.insert(ContextKind::InvalidArg, ContextValue::String(arg));
    told.insert(ContextKind::InvalidValue, ContextValue::String(value));
    told
}

/// The flags and arguments that an error is about, as help names them: `--fields`, `DOMAIN`.
#[must_use]
pub fn blamed(error: &clap::Error) -> Vec<String> {
    let shown: Vec<String> = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(several)) => several.clone(),
        _ => Vec::new(),
    };
    shown
        .iter()
        .map(|argument| {
            // One of a variable is `HAMLET_X (--flag <VALUE>)`.
            let argument = argument
                .split_once(" (")
                .map_or(argument.as_str(), |(_, flag)| flag);
            let name = argument.split([' ', '=']).next().unwrap_or(argument);
            let name = name.split('[').next().unwrap_or(name);
            name.trim_matches(['.', ')', '<', '>']).to_owned()
        })
        .collect()
}

/// The message of a program that began with these arguments. Where it begins with the name of a setting, as in
/// `listen: …`, it names what gave the value: the flag, as `--listen`, or its variable. A setting of neither keeps the
/// name that it has in the file.
#[must_use]
pub fn name_variable_in(command: &Command, args: &[OsString], message: &str) -> String {
    let Some((flag, why)) = message.split_once(": ") else {
        return message.to_owned();
    };
    let long = flag.strip_prefix("--").unwrap_or(flag);
    let Some(setting) = all_arguments(command)
        .into_iter()
        .find(|arg| arg.get_long() == Some(long))
    else {
        return message.to_owned();
    };
    if args.iter().any(|given| is_flag(given, setting)) {
        return format!("--{long}: {why}");
    }
    let variable = setting
        .get_env()
        .filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    match variable {
        Some(variable) => format!("{} (--{long}): {why}", variable.to_string_lossy()),
        None => message.to_owned(),
    }
}

/// Shows the usage as it is without any variable: clap shows an argument that has a value as one that must be given.
fn without_variables_in_usage(
    command: &Command,
    args: &[OsString],
    mut error: clap::Error,
) -> clap::Error {
    let mut plain = without_variables(command.clone());
    if let Err(other) = plain.try_get_matches_from_mut(args)
        && other.kind() == error.kind()
        && let Some(ContextValue::StyledStr(usage)) = other.get(ContextKind::Usage)
    {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage.clone()));
    }
    error
}

/// Shows the whole usage after two arguments that exclude each other: clap shows one of them as if it had to be given.
fn whole_usage_of_conflict(
    command: &Command,
    args: &[OsString],
    mut error: clap::Error,
) -> clap::Error {
    if error.kind() == ErrorKind::ArgumentConflict {
        let mut command = without_variables(command.clone());
        command.build();
        let usage = called(&command, args).clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

/// The subcommand that the arguments name, or the command itself.
fn called<'a>(command: &'a Command, args: &[OsString]) -> &'a Command {
    let below = args.iter().enumerate().skip(1).find_map(|(place, word)| {
        let below = command.find_subcommand(word)?;
        Some((below, args.get(place..)?))
    });
    match below {
        Some((below, rest)) => called(below, rest),
        None => command,
    }
}

fn without_variables(command: Command) -> Command {
    command
        .mut_args(|arg| arg.env(Resettable::Reset))
        .mut_subcommands(without_variables)
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

    use clap::{CommandFactory as _, Parser};

    use super::{blamed, matches, name_variable_in, parse, shown_passwords};

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
            error.contains(
                "'process-kit' for 'CARGO_PKG_NAME (--number <NUMBER>)': it is no whole number"
            ),
            "{error}"
        );
        let read: Program = parse(&args(&["--number", "3"])).unwrap();
        assert_eq!((read.number, read.other), (Some(3), None));
        let error = parse::<Program>(&args(&["--number=x"])).unwrap_err();
        assert!(!error.to_string().contains("CARGO_PKG_NAME"), "{error}");
        assert_eq!(blamed(&error), ["--number"]);
    }

    #[test]
    fn the_usage_is_the_same_with_a_variable_and_without_it() {
        let error = parse::<Program>(&args(&["--unknown"]))
            .unwrap_err()
            .to_string();
        assert!(!error.contains("--number"), "{error}");
    }

    #[test]
    fn the_usage_after_a_conflict_shows_neither_argument_as_required() {
        let command = clap::Command::new("program").subcommand(
            clap::Command::new("change")
                .arg(clap::arg!(--on).conflicts_with("off"))
                .arg(clap::arg!(--off))
                .arg(clap::arg!(<NAME>)),
        );
        let args = args(&["change", "--on", "--off", "x"]);
        let error = matches(&mut command.clone(), &args).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("Usage: program change [OPTIONS] <NAME>"),
            "{error}"
        );
    }

    #[test]
    fn a_message_about_a_setting_names_the_flag_or_the_variable() {
        let command = Program::command();
        let told = |words: &[&str], message| name_variable_in(&command, &args(words), message);
        assert_eq!(
            told(&[], "number: is odd"),
            "CARGO_PKG_NAME (--number): is odd"
        );
        assert_eq!(told(&["--number=3"], "number: is odd"), "--number: is odd");
        for (words, message) in [
            // Its variable is empty.
            (vec![], "other: is odd"),
            (vec![], "the number: is odd"),
            (vec![], "number is odd"),
        ] {
            assert_eq!(told(&words, message), message, "{words:?}");
        }
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
