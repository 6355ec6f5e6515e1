//! The program: command line and start of the files service.

use clap::{ArgMatches, FromArgMatches as _, Parser};
use couch::CouchFlags;
use service_kit::{
    config::Tables,
    program::{BoxError, Program, ServiceFlags},
    telemetry::TelemetryFlags,
    tls::TlsFlags,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, serve};

/// The files service of Hamlet: the tree of an instance.
#[derive(Debug, Parser)]
#[command(
    name = "files-svc",
    version,
    mut_arg("listen", |arg| arg.default_value("127.0.0.1:7002").required(false))
)]
pub struct Flags {
    #[command(flatten)]
    service: ServiceFlags,
    #[command(flatten)]
    couch: CouchFlags,
    #[command(flatten)]
    files: Config,
}

impl Program for Flags {
    const NAME: &'static str = "files-svc";

    fn telemetry(&self) -> &TelemetryFlags {
        self.service.telemetry()
    }

    fn health_tls(settings: &ArgMatches) -> Result<TlsFlags, clap::Error> {
        TlsFlags::from_arg_matches(settings)
    }

    async fn serve(self, tables: Tables, shutdown: CancellationToken) -> Result<(), BoxError> {
        let credentials = self.service.credentials();
        let cluster_key = credentials.cluster_key()?;
        let couch =
            database_kit::connect(&self.couch, &tables.couch_clusters, credentials.overlap())?;
        let listener = self.service.listen().await?;
        tracing::info!(address = %listener.local_addr()?, "files service listens");
        let dependencies = Dependencies {
            couch,
            contexts: tables.contexts,
            cluster_key,
        };
        Ok(serve(self.files, dependencies, listener, shutdown).await?)
    }
}
