//! Flags of every command.

use std::path::PathBuf;

use clap::{ArgMatches, Args, parser::ValueSource};

use super::format::Format;

/// Which server to ask, and how to print its answer.
#[derive(Args, Debug)]
pub(crate) struct GlobalFlags {
    /// The admin door: https://HOST:PORT, or http://HOST:PORT without TLS. Over http the credential travels unencrypted:
    /// reach another machine by https, or through a tunnel.
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
    /// A PEM file with the certificate of the authority of an https server. By default those count that this system
    /// trusts.
    #[arg(long, global = true, env = "HAMLET_CA_FILE", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The installation with this name, as `hamlet use` stored it.
    #[arg(long, global = true, env = "HAMLET_AT", value_name = "NAME")]
    pub(crate) at: Option<String>,
    /// How answers look: for people, or for programs.
    #[arg(
        short,
        long,
        global = true,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// Which of them were typed; the others are from the environment.
    #[arg(skip)]
    pub(crate) typed: Typed,
}

/// The flags of [`GlobalFlags`] that were typed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typed {
    /// `--server`.
    pub(crate) server: bool,
    /// `--credential-file`.
    pub(crate) credential_file: bool,
    /// `--ca`.
    pub(crate) ca: bool,
    /// `--at`.
    pub(crate) at: bool,
}

impl Typed {
    /// What was typed, by what clap read.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        Self {
            server: typed("server"),
            credential_file: typed("credential_file"),
            ca: typed("ca"),
            at: typed("at"),
        }
    }
}
