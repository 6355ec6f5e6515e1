//! Completion in a shell: the script that a shell loads calls this program, which completes commands, flags, the names of
//! fields, and the domains of the installation that commands use.

use std::{
    ffi::{OsStr, OsString},
    ops::ControlFlow,
    time::Duration,
};

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::{ArgValueCompleter, CompleteEnv, CompletionCandidate, Shell, env::Shells};
use process_kit::arguments;
use tokio::time::timeout;

use crate::{
    calls,
    commands::Cli,
    error::CommandError,
    fields::{columns, unset},
    output::text::clean,
    session::Session,
};

/// The variable by which a shell asks for completion.
const VARIABLE: &str = "HAMLET_COMPLETE";
/// The script of bash. That of clap does not know that bash breaks `bob.localhost:8080` into three words.
const BASH: &str = include_str!("completion.bash");
/// How long the server may take; a person waits for it with a finger on the key.
const WITHIN: Duration = Duration::from_millis(800);
/// How many domains to offer.
const MOST: usize = 100;

/// Completes and ends the program, when a shell asks for it.
pub(crate) fn complete_if_asked() {
    CompleteEnv::with_factory(|| with_completers(Cli::command()))
        .var(VARIABLE)
        .bin("hamlet")
        .complete();
}

/// The script that a shell loads.
///
/// # Errors
/// When this shell is not known.
pub(crate) fn script(shell: Shell) -> Result<String, CommandError> {
    if shell == Shell::Bash {
        return Ok(BASH.to_owned());
    }
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells
        .completer(&name)
        .ok_or_else(|| CommandError::Usage(format!("SHELL: {name} cannot be completed")))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "hamlet", "hamlet", "hamlet", &mut script)
        .map_err(|error| CommandError::Failed(format!("cannot write the script: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

fn with_completers(command: Command) -> Command {
    let names = match command.get_name() {
        // A new instance gets a domain that nobody has.
        "add" => Names::None,
        // Only the main domain destroys.
        "destroy" => Names::Main,
        _ => Names::All,
    };
    // A command is offered once, by its name. Of visible aliases clap offers the first in the alphabet instead.
    let aliases: Vec<_> = command.get_all_aliases().map(str::to_owned).collect();
    command
        .visible_alias(None)
        .aliases(aliases)
        .mut_args(|arg| match completer_of(&arg, names) {
            Some(completer) => arg.add(completer),
            None => arg,
        })
        .mut_subcommands(with_completers)
}

/// Which names of instances a command takes.
#[derive(Clone, Copy)]
enum Names {
    None,
    /// The main domains.
    Main,
    /// The main domains and the aliases.
    All,
}

fn completer_of(arg: &Arg, names: Names) -> Option<ArgValueCompleter> {
    let value = arg.get_value_names()?.first()?.as_str();
    match arg.get_id().as_str() {
        "fields" => Some(ArgValueCompleter::new(|typed: &OsStr| {
            listed(typed, columns::available().into_iter().map(str::to_owned))
        })),
        "unset" => Some(ArgValueCompleter::new(|typed: &OsStr| {
            // `settings.KEY` is a form, and no value.
            let names = unset::names().into_iter();
            listed(typed, names.filter(|name| !name.contains('.')))
        })),
        // No instance has its former domain now.
        "old_domain" => None,
        // Operations are listed by the main domain.
        "domain" if !arg.is_positional() => Some(ArgValueCompleter::new(|typed: &OsStr| {
            domains(typed, false)
        })),
        _ if value == "DOMAIN" => match names {
            Names::None => None,
            Names::Main => Some(ArgValueCompleter::new(|typed: &OsStr| {
                domains(typed, false)
            })),
            Names::All => Some(ArgValueCompleter::new(|typed: &OsStr| domains(typed, true))),
        },
        _ => None,
    }
}

/// Completes the last name of a list with commas.
fn listed(typed: &OsStr, names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let (before, last) = match typed.rfind(',') {
        Some(comma) => typed.split_at(comma + 1),
        None => ("", typed.as_ref()),
    };
    names
        .filter(|name| name.starts_with(last))
        .map(|name| CompletionCandidate::new(format!("{before}{name}")))
        .collect()
}

/// Completes a domain, and `with_aliases` an alias of which a part is typed: without that, an instance is offered once.
/// Without a server that answers at once, there is nothing to offer.
fn domains(typed: &OsStr, with_aliases: bool) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let asked = runtime
        .block_on(async { timeout(WITHIN, read_domains(&typed, with_aliases, &mut found)).await });
    // What was found before the time was over, or before an error, is offered. A message would land in the line that
    // somebody types.
    match asked {
        Ok(Ok(()) | Err(_)) | Err(_) => {}
    }
    found.into_iter().map(CompletionCandidate::new).collect()
}

async fn read_domains(
    typed: &str,
    with_aliases: bool,
    found: &mut Vec<String>,
) -> Result<(), CommandError> {
    // The environment and what `hamlet use` chose say which server; the line that is typed is not complete yet.
    let args = ["hamlet", "status"].map(OsString::from);
    // Variables that are empty count as not set here, too.
    let flags = arguments::matches(&mut Cli::command(), &args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| CommandError::Usage(error.to_string()))?
        .into_global();
    let session = Session::find(&flags)?;
    calls::each_page(&session, true, |instances| {
        let domains = instances.into_iter().flat_map(|instance| {
            let aliases = instance.domain_aliases.into_iter();
            let aliases = aliases.filter(|_| with_aliases && !typed.is_empty());
            std::iter::once(instance.domain).chain(aliases)
        });
        found.extend(
            domains
                .filter(|domain| domain.starts_with(typed))
                .map(|domain| clean(&domain).to_string()),
        );
        found.truncate(MOST);
        match found.len() {
            MOST => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .await
}
