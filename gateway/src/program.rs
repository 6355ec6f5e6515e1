//! The gateway as a program: its flags, and how they are used.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgMatches, Parser};
use service_kit::{
    config::FileArg,
    config::Tables,
    program::{BoxError, CredentialFlags, Program, listen},
    telemetry::TelemetryFlags,
    tls::TlsFlags,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Secrets, serve};

/// Finds the instance by the host of a request and forwards the request.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version,
    // As clap writes it, in two lines: in one, it is longer than a terminal is wide.
    override_usage = "gateway [OPTIONS] --cluster-key-file <FILE>\n       --admin-credential-file <FILE>"
)]
pub struct Flags {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    telemetry: TelemetryFlags,
    #[command(flatten)]
    gateway: Config,
    #[command(flatten)]
    credentials: CredentialFlags,
    #[command(flatten)]
    tls: TlsFlags,
    /// The file that holds the admin credential.
    #[arg(long, env = "HAMLET_ADMIN_CREDENTIAL_FILE", value_name = "FILE")]
    admin_credential_file: PathBuf,
}

impl Program for Flags {
    const NAME: &'static str = "gateway";

    fn telemetry(&self) -> &TelemetryFlags {
        &self.telemetry
    }

    async fn serve(self, _: Tables, shutdown: CancellationToken) -> Result<(), BoxError> {
        let secrets = Secrets {
            cluster_key: self.credentials.cluster_key()?,
            admin_credential: self
                .credentials
                .keyring("admin-credential-file", &self.admin_credential_file)?,
            tls: self.tls.open()?,
        };
        let public = listen("listen", self.gateway.listen).await?;
        let admin = listen("admin-listen", self.gateway.admin_listen).await?;
        Ok(serve(self.gateway, public, admin, secrets, shutdown).await?)
    }

    // The admin door answers health checks, without the credential.
    fn health_address(settings: &ArgMatches) -> Option<SocketAddr> {
        settings.get_one("admin_listen").copied()
    }

    fn is_health_at_a_tls_door(settings: &ArgMatches) -> bool {
        settings.contains_id("admin_tls_certificates")
    }
}
