//! `hamlet instances add`.

use hamlet_proto::hamlet::instance::v1::{
    CreateInstanceRequest, Instance, instance_service_client::InstanceServiceClient,
};

use super::settings::auth_mode_of;
use crate::{
    args::{Add, Format, Passphrase},
    commands::change::Change,
    failure::Failure,
    passphrase,
    session::Session,
    values::settings,
};

pub(super) async fn run(session: &Session, format: Format, wanted: Add) -> Result<(), Failure> {
    let settings = settings::collect(wanted.settings).map_err(Failure::Usage)?;
    let passphrase = first_passphrase(wanted.passphrase).await?;
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "create", wanted.request);
    let request = CreateInstanceRequest {
        instance: Some(Instance {
            domain: wanted.domain,
            domain_aliases: wanted.domain_aliases,
            locale: wanted.locale,
            context: wanted.context_name,
            email: wanted.email,
            public_name: wanted.public_name,
            timezone: wanted.tz,
            phone: wanted.phone,
            settings,
            uuid: wanted.uuid,
            oidc_id: wanted.oidc_id,
            franceconnect_id: wanted.franceconnect_id,
            old_domain: wanted.old_domain,
            sponsorships: wanted.sponsorships,
            tos_signed: wanted.tos,
            tos_latest: wanted.tos_latest,
            auth_mode: wanted
                .auth_mode
                .map(auth_mode_of)
                .unwrap_or_default()
                .into(),
            magic_link: wanted.magic_link,
            no_auto_update: wanted.no_auto_update,
            disk_quota_bytes: wanted.disk_quota,
            // -1 lets the server draw one.
            couch_cluster: Some(wanted.couch_cluster).filter(|cluster| *cluster >= 0),
            ..Instance::default()
        }),
        apps: wanted.apps,
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
        passphrase,
        trace: wanted.trace,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .create_instance(request.clone())
                .await
        })
        .await
}

/// The first passphrase; empty when the owner chooses it.
async fn first_passphrase(wanted: Passphrase) -> Result<String, Failure> {
    let secret = match (
        wanted.passphrase,
        wanted.passphrase_file,
        wanted.passphrase_prompt,
    ) {
        (Some(given), _, _) => passphrase::argument(given, "--passphrase")?,
        (None, Some(file), _) => passphrase::file(&file).await?,
        (None, None, true) => passphrase::prompt().await?,
        (None, None, false) => return Ok(String::new()),
    };
    Ok(secret.expose().to_owned())
}
