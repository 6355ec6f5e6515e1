//! `hamlet status`.

use hamlet_proto::hamlet::instance::v1::{
    CountInstancesRequest, instance_service_client::InstanceServiceClient,
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    args::Format,
    failure::Failure,
    output,
    session::{Door, Session},
    table::facts,
};

/// What an installation serves.
const SERVICES: [&str; 3] = [
    "hamlet.instance.v1.InstanceService",
    "hamlet.files.v1.FilesService",
    "hamlet.apps.v1.AppsService",
];

/// Asks for the health of everything, and makes one call that goes all the way: gateway, instance service, database.
pub(super) async fn run(session: &Session, format: Format) -> Result<(), Failure> {
    let door = session.door().await?;
    let counted = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .count_instances(CountInstancesRequest {})
                .await
        })
        .await;
    let mut health = vec![("server", health_of("", session, &door).await?)];
    for service in SERVICES {
        health.push((service, health_of(service, session, &door).await?));
    }
    show(
        session,
        format,
        &health,
        counted.as_ref().ok().map(|answer| answer.count),
    )?;
    counted?;
    let down: Vec<_> = health
        .iter()
        .filter(|(_, state)| *state == "not serving")
        .map(|(name, _)| *name)
        .collect();
    if down.is_empty() {
        return Ok(());
    }
    Err(Failure::Unavailable(format!(
        "not serving: {}",
        down.join(", ")
    )))
}

/// The health of a service in words. A server that does not tell has it `unknown`.
async fn health_of(service: &str, session: &Session, door: &Door) -> Result<&'static str, Failure> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = session
        .ask(async || HealthClient::new(door.clone()).check(request.clone()).await)
        .await;
    match answer {
        Ok(answer) => Ok(match answer.status() {
            ServingStatus::Serving => "serving",
            ServingStatus::NotServing => "not serving",
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => "unknown",
        }),
        Err(Failure::Refused(status))
            if matches!(status.code(), Code::NotFound | Code::Unimplemented) =>
        {
            Ok("unknown")
        }
        Err(failure) => Err(failure),
    }
}

fn show(
    session: &Session,
    format: Format,
    health: &[(&str, &str)],
    instances: Option<i64>,
) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let instances = instances.map(|count| count.to_string());
    // No message of the contracts: the document is this program's own.
    let document = serde_json::json!({
        "address": session.url(),
        "health": health
            .iter()
            .map(|(name, state)| ((*name).to_owned(), serde_json::Value::from(*state)))
            .collect::<serde_json::Map<_, _>>(),
        "instances": instances,
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
        known.push(("version of hamlet", version.to_owned()));
        facts(&known)
    })
}
