//! The instance service as a program: its flags, and what becomes of them.

use std::path::PathBuf;

use clap::{ArgMatches, FromArgMatches as _, Parser};
use couch::{CouchFlags, DocId};
use process_kit::folder::Folder;
use service_kit::{
    config::Tables,
    peer,
    program::{BoxError, Program, ServiceFlags},
    telemetry::TelemetryFlags,
    tls::TlsFlags,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    operations::{Peers, Settings},
    serve::ORPHAN_GRACE,
    serve::{Dependencies, serve},
};

/// The instance service of Hamlet: the life of an instance.
#[derive(Debug, Parser)]
#[command(
    name = "instance-svc",
    version,
    mut_arg("listen", |arg| arg.default_value("127.0.0.1:7001").required(false))
)]
pub struct Flags {
    #[command(flatten)]
    service: ServiceFlags,
    #[command(flatten)]
    couch: CouchFlags,
    /// Where the files service is: the address of each of its replicas, separated by commas, or a name that
    /// stands for several.
    #[arg(
        long,
        env = "HAMLET_FILES_SERVICE",
        default_value = "http://127.0.0.1:7002",
        value_name = "URL"
    )]
    files_service: String,
    /// Where the apps service is, likewise.
    #[arg(
        long,
        env = "HAMLET_APPS_SERVICE",
        default_value = "http://127.0.0.1:7003",
        value_name = "URL"
    )]
    apps_service: String,
    /// A folder on this machine by which a restarted process proves that the one before it is dead: it takes up that
    /// one's operations at once, and not after their leases have lapsed. Several processes may share it.
    #[arg(long, env = "HAMLET_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    instances: Config,
}

impl Program for Flags {
    const NAME: &'static str = "instance-svc";

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
        let tls = self.service.tls()?;
        let peers = Peers::new(
            peer::connect_over(tls.clone(), &self.files_service, &cluster_key)
                .map_err(|error| format!("files-service: {error}"))?,
            peer::connect_over(tls, &self.apps_service, &cluster_key)
                .map_err(|error| format!("apps-service: {error}"))?,
        );
        let listener = self.service.listen().await?;
        tracing::info!(address = %listener.local_addr()?, "instance service listens");
        let slot = self
            .state_dir
            .as_deref()
            .map(Folder::take_slot)
            .transpose()?;
        let engine = match &slot {
            Some(slot) => Settings {
                alone: true,
                ..Settings::new(slot.replica()?)
            },
            // Nothing proves that a process of the same name is dead, so every start has a name of its own.
            None => Settings::new(DocId::ascending().into_string()),
        };
        let dependencies = Dependencies {
            couch,
            peers,
            contexts: tables.contexts,
            cluster_key,
            engine,
            orphan_grace: ORPHAN_GRACE,
        };
        let served = serve(self.instances, dependencies, listener, shutdown).await;
        // Nobody may take the slot before this process has stopped driving its operations.
        drop(slot);
        Ok(served?)
    }
}
