//! The program: command line and start of `hamletd`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgMatches, parser::ValueSource};
use service_kit::{
    config::Tables,
    program::{BoxError, Program},
    telemetry::TelemetryFlags,
};
use tokio_util::sync::CancellationToken;

use crate::{folder, installation, settings::Settings};

impl Program for Settings {
    const NAME: &'static str = "hamletd";

    fn telemetry(&self) -> &TelemetryFlags {
        &self.telemetry
    }

    async fn serve(self, tables: Tables, shutdown: CancellationToken) -> Result<(), BoxError> {
        Ok(installation::run(self, tables, shutdown).await?)
    }

    // The system may have chosen the port at the start, so that of the data folder comes before a default.
    fn health_address(settings: &ArgMatches) -> Option<SocketAddr> {
        let admin = settings.get_one::<SocketAddr>("admin_listen").copied();
        let is_named = matches!(
            settings.value_source("admin_listen"),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        admin
            .filter(|address| is_named && address.port() != 0)
            .or_else(|| {
                settings
                    .get_one::<PathBuf>("data")
                    .and_then(|folder| folder::published_admin_address(folder))
            })
            .or(admin)
    }

    fn is_health_at_a_tls_door(settings: &ArgMatches) -> bool {
        settings.contains_id("admin_tls_certificates")
    }
}
