//! Flags, environment variables, keys of `hamlet.toml` and the manual, from one struct.
//!
//! A server describes its settings as a [`clap::Parser`]. A flag wins over its environment variable,
//! which wins over the file, which wins over the default. A key of the file is the long name of a flag
//! (`admin-listen = "127.0.0.1:6060"`); beside these the file may hold `[contexts.NAME]`
//! and `[[couch-clusters]]` tables.
//! An unknown key of the file is refused, with its line.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, builder::Resettable};
use toml::de::{DeTable, DeValue};

use process_kit::arguments;

use crate::{
    clusters::{self, CouchCluster, TableError},
    contexts::{self, Contexts},
};

/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "HAMLET_CONFIG";

/// Where the file is. A server flattens it into its settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FileArg {
    /// A file with settings, usually hamlet.toml.
    #[arg(long, env = "HAMLET_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The settings of a server, merged from all sources.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// The settings.
    pub args: A,
    /// The tables of the file.
    pub tables: Tables,
}

/// The tables of the file. They have no flags.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The groups of settings that instances choose from.
    pub contexts: Contexts,
    /// The servers on which the databases of instances lie; none means the one of `--couchdb`.
    pub couch_clusters: Vec<CouchCluster>,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{by}: cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// What names the file: the flag, or its variable.
        by: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// Something on the command line or in the environment is wrong, or help was asked for.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
}

impl Error {
    /// Prints the error and ends the process: exit code 2 for a wrong command line, 1 for a wrong file, 0
    /// after help.
    pub fn exit(self) -> ! {
        match self {
            Self::CommandLine(error) => error.exit(),
            other => {
                #[expect(clippy::print_stderr, reason = "logging has not begun yet")]
                {
                    eprintln!("error: {other}");
                }
                std::process::exit(1)
            }
        }
    }
}

/// Reads the settings of a server from the command line, the environment and the file.
///
/// # Errors
/// The error names the flag, or the line of the file.
pub fn load<A: CommandFactory + FromArgMatches>(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Loaded<A>, Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = A::command();
    let Some((path, by)) = file_named_by(&args) else {
        return Ok(Loaded {
            args: parse(command, &args)?,
            tables: Tables::default(),
        });
    };
    let text = fs::read_to_string(&path).map_err(|source| Error::Unreadable {
        by,
        path: path.clone(),
        source,
    })?;
    let file = File::read(&path, &text, &command)?;
    let merged = file
        .settings
        .iter()
        .fold(command.clone(), |command, setting| setting.apply(command));
    let parsed = match parse(merged, &args) {
        Ok(parsed) => parsed,
        Err(error) => return Err(file.blame(&command, &args, error)),
    };
    Ok(Loaded {
        args: parsed,
        tables: file.tables,
    })
}

/// The settings of an empty command line and an empty environment: for the `Default` of settings whose
/// flags all have defaults, so that no default value stands in two places.
///
/// # Panics
/// When a flag has no default, or one that its own parser refuses. Both depend on the code alone: a test
/// that makes the settings once rules it out.
#[must_use]
pub fn defaults<A: clap::Args>() -> A {
    let command = A::augment_args(Command::new("defaults").no_binary_name(true))
        .mut_args(|arg| arg.env(Resettable::Reset));
    #[expect(
        clippy::expect_used,
        reason = "decided by the code of the settings, not by its input"
    )]
    command
        .try_get_matches_from(std::iter::empty::<OsString>())
        .and_then(|matches| A::from_arg_matches(&matches))
        .expect("every flag of these settings has a default that can be read")
}

fn parse<A: FromArgMatches>(mut command: Command, args: &[OsString]) -> Result<A, clap::Error> {
    let matches = arguments::matches(&mut command, args)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The file gives defaults to the flags, so `--config` has to be found before clap reads them.
fn file_named_by(args: &[OsString]) -> Option<(PathBuf, &'static str)> {
    const FLAG: &str = "--config";
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        if arg == OsStr::new("--") {
            break;
        }
        if arg == OsStr::new("--config") {
            return rest.next().map(|path| (path.into(), FLAG));
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some((PathBuf::from(path), FLAG));
        }
    }
    env::var_os(FILE_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(|path| (path.into(), FILE_VARIABLE))
}

/// One key of the file, which sets a flag.
struct Setting {
    id: String,
    key: String,
    value: String,
    line: usize,
}

impl Setting {
    fn apply(&self, command: Command) -> Command {
        command.mut_arg(&self.id, |arg| {
            arg.default_value(self.value.clone()).required(false)
        })
    }
}

struct File {
    path: PathBuf,
    settings: Vec<Setting>,
    tables: Tables,
}

impl File {
    fn read(path: &Path, text: &str, command: &Command) -> Result<Self, Error> {
        let wrong = |at: usize, what: String| Error::File {
            path: path.to_owned(),
            line: line_of(text, at),
            what,
        };
        let table = DeTable::parse(text).map_err(|error| {
            wrong(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let mut settings = Vec::new();
        let mut tables = Tables::default();
        for (key, value) in table.into_inner() {
            let at = key.span().start;
            let key = key.into_inner().into_owned();
            let misplaced = |wrong: TableError| Error::File {
                path: path.to_owned(),
                line: line_of(text, wrong.at),
                what: wrong.what,
            };
            match key.as_str() {
                "contexts" => {
                    tables.contexts = contexts::read(at, value.into_inner()).map_err(misplaced)?;
                    continue;
                }
                clusters::KEY => {
                    tables.couch_clusters =
                        clusters::read(at, value.into_inner()).map_err(misplaced)?;
                    continue;
                }
                _ => {}
            }
            let Some(arg) = settable(command).find(|arg| arg.get_long() == Some(key.as_str()))
            else {
                let known: Vec<_> = settable(command).filter_map(Arg::get_long).collect();
                return Err(wrong(
                    at,
                    format!(
                        "{key}: is no setting; known are {}, [contexts.NAME] and [[couch-clusters]]",
                        known.join(", ")
                    ),
                ));
            };
            let value = match value.into_inner() {
                DeValue::String(text) => text.into_owned(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                DeValue::Boolean(flag) => flag.to_string(),
                other => {
                    return Err(wrong(
                        at,
                        format!(
                            "{key}: is a {}; write text, a number, true or false",
                            other.type_str()
                        ),
                    ));
                }
            };
            settings.push(Setting {
                id: arg.get_id().to_string(),
                key,
                value,
                line: line_of(text, at),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            settings,
            tables,
        })
    }

    /// Names the line of the file when one of its values is the cause of `error`.
    fn blame(&self, command: &Command, args: &[OsString], error: clap::Error) -> Error {
        let fails = |command: &Command| arguments::matches(&mut command.clone(), args).err();
        if !error.use_stderr() || fails(command).is_some() {
            return Error::CommandLine(error);
        }
        for setting in &self.settings {
            if let Some(error) = fails(&setting.apply(command.clone())) {
                let text = error.to_string();
                // What is wrong, and on the next line which values are possible. After an empty line, clap speaks of help.
                let what: Vec<&str> = text
                    .lines()
                    .take_while(|line| !line.is_empty())
                    .map(str::trim)
                    .collect();
                let what = what.join(" ");
                return Error::File {
                    path: self.path.clone(),
                    line: setting.line,
                    what: format!("{}: {}", setting.key, what.trim_start_matches("error: ")),
                };
            }
        }
        Error::CommandLine(error)
    }
}

fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| {
        !matches!(
            arg.get_action(),
            ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version
        ) && arg.get_id() != "config"
    })
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// The settings of a command as a Markdown table: flag, environment variable, default, meaning.
#[must_use]
pub fn manual(command: &Command) -> String {
    let mut text = String::from("| flag | environment | default | meaning |\n|---|---|---|---|\n");
    let mut command = command.clone();
    command.build();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long().filter(|_| !arg.is_hide_set()) else {
            continue;
        };
        let value = arg
            .get_value_names()
            .filter(|_| arg.get_action().takes_values())
            .and_then(|names| names.first())
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        let variable = arg
            .get_env()
            .map(|name| format!("`{}`", name.to_string_lossy()))
            .unwrap_or_default();
        let default = arg
            .get_default_values()
            .iter()
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(", ");
        let meaning = arg
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `--{long}{value}` | {variable} | {default} | {meaning} |"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use std::{ffi::OsString, fs, net::SocketAddr};

    use clap::Parser;

    use super::{Error, FileArg, Loaded, load};

    #[derive(Debug, Parser)]
    struct Settings {
        #[command(flatten)]
        file: FileArg,
        #[arg(long, default_value = "127.0.0.1:1")]
        listen: SocketAddr,
        #[arg(long)]
        demo: bool,
        #[arg(long, value_parser = ["all", "none"])]
        shown: Option<String>,
    }

    fn with_file(text: &str, flags: &[&str]) -> Result<Loaded<Settings>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hamlet.toml");
        fs::write(&path, text).unwrap();
        let mut args: Vec<OsString> = vec!["test".into(), "--config".into(), path.into()];
        args.extend(flags.iter().map(OsString::from));
        load(args)
    }

    fn message(text: &str) -> String {
        with_file(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn the_file_wins_over_defaults_and_loses_to_flags() {
        let file = "listen = \"127.0.0.1:2\"\ndemo = true\n";
        let loaded = with_file(file, &[]).unwrap();
        assert_eq!(loaded.args.listen.port(), 2);
        assert!(loaded.args.demo);
        let loaded = with_file(file, &["--listen", "127.0.0.1:3"]).unwrap();
        assert_eq!(loaded.args.listen.port(), 3);
        assert!(loaded.args.file.config.is_some());
    }

    #[test]
    fn contexts_are_read() {
        let loaded = with_file("[contexts.school]\nregistries = [\"http://s\"]\n", &[]).unwrap();
        assert_eq!(loaded.tables.contexts.registries("school"), ["http://s"]);
    }

    #[test]
    fn couch_clusters_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "p4ss\n").unwrap();
        let file = format!(
            "[[couch-clusters]]\nurl = \"http://one:5984\"\nuser = \"admin\"\npassword_file = {password:?}\n\n\
             [[couch-clusters]]\nurl = \"https://u:p@two\"\ninstance_creation = false\n"
        );
        let clusters = with_file(&file, &[]).unwrap().tables.couch_clusters;
        let [one, two] = clusters.as_slice() else {
            panic!("{clusters:?}");
        };
        assert_eq!(one.url.expose(), "http://one:5984");
        assert_eq!(one.user.as_deref(), Some("admin"));
        assert_eq!(one.password_file.as_deref(), Some(password.as_path()));
        assert!(one.instance_creation);
        assert_eq!(two.url.expose(), "https://u:p@two");
        assert!(!two.instance_creation);
        assert!(!format!("{clusters:?}").contains("u:p@"), "{clusters:?}");
    }

    #[test]
    fn a_wrong_table_is_named_by_its_line_and_key() {
        let one = "[[couch-clusters]]\nurl = \"http://one:5984\"\n";
        for (file, told) in [
            (
                "couch-clusters = 1\n".to_owned(),
                ":1: couch-clusters: is no list of tables",
            ),
            (
                "couch-clusters = []\n".to_owned(),
                ":1: couch-clusters: is empty",
            ),
            (
                format!("{one}\n[[couch-clusters]]\n"),
                ":4: couch-clusters[1]: missing field `url`",
            ),
            (
                format!("{one}instance-creation = true\n"),
                ":3: couch-clusters[0]: unknown field",
            ),
            (
                format!("{one}instance_creation = 1\n"),
                ":3: couch-clusters[0]: invalid type",
            ),
            (
                format!("{one}\n[[couch-clusters]]\nurl = \"two\"\n"),
                ":5: couch-clusters[1].url: is no URL",
            ),
            (
                "[[couch-clusters]]\nurl = \"http://u:s3cret@one/path\"\n".to_owned(),
                ":2: couch-clusters[0].url: is no root URL",
            ),
            (
                "[[couch-clusters]]\nurl = \"http://u@one\"\n".to_owned(),
                ":2: couch-clusters[0].url: holds a name",
            ),
            (
                format!("{one}user = \"admin\"\n"),
                ":3: couch-clusters[0].user: has no password",
            ),
            (
                format!("{one}user = \"a:b\"\n"),
                ":3: couch-clusters[0].user: is empty or holds a colon",
            ),
            (
                format!("{one}user = \"a\"\npassword_file = \"/nowhere/p\"\n"),
                ":4: couch-clusters[0].password_file: cannot read /nowhere/p",
            ),
            (
                "[contexts.\"\"]\n".to_owned(),
                ":1: contexts.\"\": is no name",
            ),
            (
                "\n[contexts.a]\nregistries = [\"nowhere\"]\n".to_owned(),
                ":3: contexts.a: registries: one is no address",
            ),
            (
                "[contexts.a]\nsubdomains = \"deep\"\n".to_owned(),
                ":2: contexts.a: unknown variant",
            ),
        ] {
            let shown = message(&file);
            assert!(shown.contains(told), "{told:?} in {shown:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        assert!(
            message("\nlisen = 1\n")
                .contains("hamlet.toml:2: lisen: is no setting; known are listen, demo, shown")
        );
        assert!(
            message("\n\nlisten = \"nowhere\"\n")
                .contains("hamlet.toml:3: listen: invalid value 'nowhere'")
        );
        assert!(
            message("shown = \"some\"\n").ends_with("[possible values: all, none]"),
            "{}",
            message("shown = \"some\"\n")
        );
        assert!(
            message("[contexts.a]\n\nregistry = []\n")
                .contains("hamlet.toml:3: contexts.a: unknown field")
        );
        assert!(message("listen = [\n").contains("hamlet.toml:"));
    }

    #[test]
    fn a_wrong_flag_is_not_blamed_on_the_file() {
        let error = with_file("demo = true\n", &["--listen", "x"]).unwrap_err();
        assert!(matches!(error, Error::CommandLine(_)), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = load::<Settings>(["test".into(), "--config=/nowhere/h.toml".into()])
        else {
            panic!("there is no such file");
        };
        assert!(error.to_string().contains("/nowhere/h.toml"), "{error}");
    }
}
