//! The program: command line and start of the apps service.

use std::path::PathBuf;

use clap::{ArgMatches, FromArgMatches as _, Parser};
use couch::CouchFlags;
use service_kit::{
    config::Tables,
    peer,
    program::{BoxError, Program, ServiceFlags},
    telemetry::TelemetryFlags,
    tls::TlsFlags,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Dependencies, serve};

/// The apps service of Hamlet: where apps come from, and what they may do.
#[derive(Debug, Parser)]
#[command(
    name = "apps-svc",
    version,
    mut_arg("listen", |arg| arg.default_value("127.0.0.1:7003").required(false))
)]
pub struct Flags {
    #[command(flatten)]
    service: ServiceFlags,
    #[command(flatten)]
    couch: CouchFlags,
    /// A folder of apps in which slugs are looked up where no registry is configured.
    #[arg(long, env = "HAMLET_APP_FOLDER", value_name = "DIR", value_parser = process_kit::folder::existing)]
    app_folder: Option<PathBuf>,
    /// Where the instance service is: the address of each of its replicas, separated by commas, or a name that
    /// stands for several.
    #[arg(
        long,
        env = "HAMLET_INSTANCE_SERVICE",
        default_value = "http://127.0.0.1:7001",
        value_name = "URL"
    )]
    instance_service: String,
    #[command(flatten)]
    apps: Config,
}

impl Program for Flags {
    const NAME: &'static str = "apps-svc";

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
        let instances =
            peer::connect_over(self.service.tls()?, &self.instance_service, &cluster_key)
                .map_err(|error| format!("instance-service: {error}"))?;
        let listener = self.service.listen().await?;
        tracing::info!(address = %listener.local_addr()?, "apps service listens");
        let dependencies = Dependencies {
            couch,
            contexts: tables.contexts,
            cluster_key,
            instances,
            app_folder: self.app_folder,
        };
        Ok(serve(self.apps, dependencies, listener, shutdown).await?)
    }
}
