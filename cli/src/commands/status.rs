//! `hamlet status`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, CountInstancesResponse, instance_service_client::InstanceServiceClient,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    error::CommandError,
    flags::{format::Format, global::GlobalFlags},
    output::{self, table::facts},
    session::{AdminChannel, Session},
};

/// The services of an installation.
const SERVICES: [&str; 3] = [
    "hamlet.instance.v1.InstanceService",
    "hamlet.files.v1.FilesService",
    "hamlet.apps.v1.AppsService",
];

/// Tell whether the installation can be reached, takes the credential, and serves.
///
/// Exit code 5 when the credential is refused, 6 when something does not serve. A service whose health the server
/// does not tell is unknown.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet status\n  hamlet status -o json")]
pub(crate) struct Status;

impl Status {
    /// Asks for the health of each service, and makes one call that needs them all: gateway, instance service, database.
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let counted = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .count_instances(CountInstancesRequest {})
                    .await
            })
            .await;
        let mut health = vec![("server", health_of("", &session, &channel).await?)];
        for service in SERVICES {
            health.push((service, health_of(service, &session, &channel).await?));
        }
        show(&session, global.output, &health, counted.as_ref().ok())?;
        counted?;
        let down: Vec<_> = health
            .iter()
            .filter(|(_, state)| *state == "not serving")
            .map(|(name, _)| *name)
            .collect();
        if down.is_empty() {
            return Ok(());
        }
        Err(CommandError::Unavailable(format!(
            "not serving: {}",
            down.join(", ")
        )))
    }
}

/// The health of a service in words; `unknown` when the server does not tell it.
async fn health_of(
    service: &str,
    session: &Session,
    channel: &AdminChannel,
) -> Result<&'static str, CommandError> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = session
        .call(async || {
            HealthClient::new(channel.clone())
                .check(request.clone())
                .await
        })
        .await;
    match answer {
        Ok(answer) => Ok(match answer.status() {
            ServingStatus::Serving => "serving",
            ServingStatus::NotServing => "not serving",
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => "unknown",
        }),
        Err(CommandError::Refused(status))
            if matches!(status.code(), Code::NotFound | Code::Unimplemented) =>
        {
            Ok("unknown")
        }
        Err(error) => Err(error),
    }
}

fn show(
    session: &Session,
    format: Format,
    health: &[(&str, &str)],
    counted: Option<&CountInstancesResponse>,
) -> Result<(), CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    let instances = counted.map(|answer| answer.count.to_string());
    let bare = counted.map_or(0, |answer| answer.without_database_count);
    let unadopted = counted.map_or(0, |answer| answer.unadopted_count);
    // The document is no message of the contracts.
    let document = serde_json::json!({
        "address": session.url(),
        "health": health
            .iter()
            .map(|(name, state)| ((*name).to_owned(), serde_json::Value::from(*state)))
            .collect::<serde_json::Map<_, _>>(),
        "instances": instances,
        "withoutDatabase": counted.map(|answer| answer.without_database_count.to_string()),
        "unadopted": counted.map(|answer| answer.unadopted_count.to_string()),
        "clientVersion": version,
    });
    output::document(format, &document, session.url(), || {
        let mut known = vec![("address", session.url().to_owned())];
        known.extend(
            health
                .iter()
                .map(|(name, state)| (*name, (*state).to_owned())),
        );
        known.push(("instances", instances.clone().unwrap_or_default()));
        if unadopted > 0 {
            known.push((
                "still to be adopted",
                format!(
                    "{unadopted} made by other software; they are found by name, and not listed yet"
                ),
            ));
        }
        if bare > 0 {
            known.push((
                "without a database",
                format!("{bare} (hamlet instances orphans lists them)"),
            ));
        }
        known.push(("version of hamlet", version.to_owned()));
        facts(&known)
    })
}
