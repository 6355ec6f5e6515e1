//! The `main` of a server: common flags, start, shutdown and the `health` subcommand.
//!
//! A server describes its settings as a [`clap::Parser`] and implements [`Program`]. [`run`] turns that
//! into `PROGRAM [flags]`, which serves until Ctrl-C or SIGTERM, and `PROGRAM health [flags]`, which
//! asks the running server for its health. An error is one line on stderr.

use std::{
    ffi::OsString,
    io,
    marker::PhantomData,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use process_kit::{address, arguments, folder};
use secret::{Keyring, Rule};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, FileArg, Tables},
    health::{self, Way},
    server::Listener,
    shutdown,
    telemetry::{self, TelemetryFlags},
    tls::{self, Tls, TlsFlags},
};

/// The subcommand that asks a running server for its health.
const HEALTH: &str = "health";
const ABOUT_HEALTH: &str = "Asks the running server of the same settings whether it serves; exits with 0 if it does, with 1 if not";

/// Any error that ends a program. Its text is shown to the user in one line.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A server with a command line.
pub trait Program: CommandFactory + FromArgMatches {
    /// The service name in traces.
    const NAME: &'static str;

    /// The flags for logs, traces and metrics.
    fn telemetry(&self) -> &TelemetryFlags;

    /// Serves until `shutdown`. `tables` are the tables of `hamlet.toml`.
    fn serve(
        self,
        tables: Tables,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), BoxError>>;

    /// Where a server with these settings answers health checks. By default where it listens.
    fn health_address(settings: &ArgMatches) -> Option<SocketAddr> {
        settings.get_one("listen").copied()
    }

    /// The TLS settings for that health check. By default it is made without TLS.
    fn health_tls(_settings: &ArgMatches) -> Result<TlsFlags, clap::Error> {
        Ok(TlsFlags::default())
    }

    /// Whether that address belongs to a door with certificates, which are for the hosts of the door and need not name
    /// this machine.
    fn is_health_at_a_tls_door(_settings: &ArgMatches) -> bool {
        false
    }
}

/// The settings that every service has. A service flattens them into its own and gives `listen` a
/// default.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceFlags {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    telemetry: TelemetryFlags,
    /// Where the service listens.
    #[arg(long, env = "HAMLET_LISTEN", value_name = "ADDR", value_parser = address::parse)]
    listen: SocketAddr,
    #[command(flatten)]
    credentials: CredentialFlags,
    #[command(flatten)]
    tls: TlsFlags,
}

impl ServiceFlags {
    /// The flags for logs, traces and metrics.
    #[must_use]
    pub const fn telemetry(&self) -> &TelemetryFlags {
        &self.telemetry
    }

    /// Binds the address of the settings.
    pub async fn listen(&self) -> Result<Listener, StartError> {
        let tls = self.tls()?;
        Ok(Listener::new(listen("listen", self.listen).await?, tls))
    }

    /// TLS between servers; `None` when it is not configured.
    pub fn tls(&self) -> Result<Option<Tls>, StartError> {
        Ok(self.tls.open()?)
    }

    /// The credentials.
    #[must_use]
    pub const fn credentials(&self) -> &CredentialFlags {
        &self.credentials
    }
}

/// The credentials of a server, and how long replaced ones stay valid. A program flattens them into its
/// settings.
#[derive(Clone, Debug, clap::Args)]
pub struct CredentialFlags {
    /// A file with the key by which services and gateways authenticate each other.
    #[arg(long, env = "HAMLET_CLUSTER_KEY_FILE", value_name = "FILE")]
    cluster_key_file: PathBuf,
    #[command(flatten)]
    overlap: OverlapFlag,
}

impl CredentialFlags {
    /// The key by which services and gateways authenticate each other.
    pub fn cluster_key(&self) -> Result<Keyring, StartError> {
        self.keyring("cluster-key-file", &self.cluster_key_file)
    }

    /// The credential in the file `path`, which has to be usable as a header value. Errors name the
    /// setting `flag`.
    pub fn keyring(&self, flag: &'static str, path: &Path) -> Result<Keyring, StartError> {
        Keyring::open(path, self.overlap(), Rule::Header).map_err(|source| StartError::Secret {
            flag,
            path: path.to_owned(),
            source,
        })
    }

    /// How long a replaced credential stays valid.
    #[must_use]
    pub const fn overlap(&self) -> Duration {
        self.overlap.get()
    }
}

/// How long a replaced credential stays valid. A program flattens it into its settings.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OverlapFlag {
    /// How long a credential is still accepted after its file was changed, as in 30s or 10m.
    #[arg(
        long,
        env = "HAMLET_CREDENTIAL_OVERLAP",
        value_name = "TIME",
        default_value = "10m",
        value_parser = process_kit::duration::or_seconds
    )]
    credential_overlap: Duration,
}

impl OverlapFlag {
    /// The duration.
    #[must_use]
    pub const fn get(&self) -> Duration {
        self.credential_overlap
    }
}

/// Why a program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("{flag}: cannot listen on {address}: {source}")]
    Listen {
        /// The setting that holds the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A secret cannot be read.
    #[error("{flag}: cannot read {}: {source}", path.display())]
    Secret {
        /// The setting that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Binds `address`. An error names the setting `flag`.
pub async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            flag,
            address,
            source,
        })
}

/// Runs a program: serves until Ctrl-C or SIGTERM, or asks the running one for its health.
pub async fn run<P: Program>(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let given = args.clone();
    let ended = if args.get(1).is_some_and(|word| word == HEALTH) {
        args.remove(1);
        tell_health::<P>(args).await
    } else {
        serve::<P>(args).await
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line that a person gets")]
            {
                let message = error.to_string();
                let command = Serving::<P>::command();
                eprintln!(
                    "error: {}",
                    arguments::name_variable_in(&command, &given, &message)
                );
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve<P: Program>(args: Vec<OsString>) -> Result<(), BoxError> {
    folder::keep_files_private();
    let shown = arguments::shown_passwords(&args);
    let loaded = config::load::<Serving<P>>(args).unwrap_or_else(|error| error.exit());
    let Serving(program) = loaded.args;
    let shutdown =
        shutdown::on_signal().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let telemetry = telemetry::init(P::NAME, program.telemetry(), &shutdown).await?;
    for flag in shown {
        tracing::warn!(
            flag,
            "holds a password, and everybody who lists the processes of this machine sees it: put it into a file, and \
             name that with --couchdb-password-file"
        );
    }
    let served = program.serve(loaded.tables, shutdown).await;
    telemetry.end().await;
    served
}

async fn tell_health<P: Program>(args: Vec<OsString>) -> Result<(), BoxError> {
    let loaded = config::load::<Asking<P>>(args).unwrap_or_else(|error| error.exit());
    let address = loaded
        .args
        .address
        .ok_or("listen: is not set; give the address that the server listens on")?;
    let way = match loaded.args.tls.open()? {
        Some(tls) => Way::Mutual(tls),
        None if loaded.args.is_tls_door => Way::Unchecked,
        None => Way::Plain,
    };
    let answered = health::ask(address, way).await?;
    #[expect(clippy::print_stdout, reason = "the answer")]
    {
        println!("{answered} serves");
    }
    Ok(())
}

/// The command line of a program, with the `health` subcommand in its help.
struct Serving<P>(P);

impl<P: CommandFactory> CommandFactory for Serving<P> {
    fn command() -> Command {
        // Only for the help: `run` removes the subcommand before the flags are read.
        P::command()
            .subcommand(Command::new(HEALTH).about(ABOUT_HEALTH))
            .args_conflicts_with_subcommands(true)
            .disable_help_subcommand(true)
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl<P: FromArgMatches> FromArgMatches for Serving<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        P::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// The command line of the `health` subcommand: the same flags, none of them required.
struct Asking<P> {
    address: Option<SocketAddr>,
    tls: TlsFlags,
    is_tls_door: bool,
    program: PhantomData<P>,
}

impl<P: CommandFactory> CommandFactory for Asking<P> {
    fn command() -> Command {
        let command = P::command();
        let name = format!("{} {HEALTH}", command.get_name());
        command
            .bin_name(name)
            .about(ABOUT_HEALTH)
            .long_about(None)
            .mut_args(|arg| arg.required(false))
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl<P: Program> FromArgMatches for Asking<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            address: P::health_address(matches),
            tls: P::health_tls(matches)?,
            is_tls_door: P::is_health_at_a_tls_door(matches),
            program: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use clap::{ArgMatches, CommandFactory, Parser};

    use super::{Asking, BoxError, Program, ServiceFlags, Serving};
    use crate::{
        config::{self, Tables},
        telemetry::TelemetryFlags,
    };

    #[derive(Debug, Parser)]
    #[command(name = "service", mut_arg("listen", |arg| arg.default_value("127.0.0.1:7000").required(false)))]
    struct Flags {
        #[command(flatten)]
        service: ServiceFlags,
    }

    impl Program for Flags {
        const NAME: &'static str = "service";

        fn telemetry(&self) -> &TelemetryFlags {
            self.service.telemetry()
        }

        async fn serve(
            self,
            _: Tables,
            _: tokio_util::sync::CancellationToken,
        ) -> Result<(), BoxError> {
            Ok(())
        }
    }

    fn asked(flags: &[&str]) -> Option<String> {
        let args = ["service"].iter().chain(flags).map(Into::into);
        let asking = config::load::<Asking<Flags>>(args).unwrap().args;
        asking.address.map(|address| address.to_string())
    }

    #[test]
    fn health_needs_no_more_than_the_address_and_takes_every_flag() {
        assert_eq!(asked(&[]).unwrap(), "127.0.0.1:7000");
        assert_eq!(
            asked(&["--listen=[::1]:1", "--cluster-key-file=/nowhere"]).unwrap(),
            "[::1]:1"
        );
    }

    #[test]
    fn the_manual_shows_health_and_no_flag_may_stand_before_it() {
        let mut command = Serving::<Flags>::command();
        assert!(command.render_help().to_string().contains("health"));
        let misplaced: Result<ArgMatches, _> =
            command.try_get_matches_from(["service", "--listen=[::1]:1", "health"]);
        assert!(misplaced.is_err());
    }
}
