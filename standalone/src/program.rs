//! The program: command line and start of `hamletd`.

use std::{net::SocketAddr, path::PathBuf};

use clap::ArgMatches;
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

    // The system may have chosen the ports at the start, so the address is read from the data folder.
    fn health_address(settings: &ArgMatches) -> Option<SocketAddr> {
        settings
            .get_one::<PathBuf>("data")
            .and_then(|folder| folder::published_admin_address(folder))
            .or_else(|| settings.get_one("admin_listen").copied())
    }

    fn is_health_at_a_tls_door(settings: &ArgMatches) -> bool {
        settings.contains_id("admin_tls_certificates")
    }
}
