//! `hamlet instances set-passphrase`.

use hamlet_proto::hamlet::instance::v1::{
    SetPassphraseRequest, instance_service_client::InstanceServiceClient,
};

use super::name_of;
use crate::{
    args::{Format, SetPassphrase},
    commands::change::Change,
    failure::Failure,
    passphrase,
    session::Session,
    terminal,
};

pub(super) async fn set(
    session: &Session,
    format: Format,
    wanted: SetPassphrase,
) -> Result<(), Failure> {
    let secret = match (wanted.passphrase, wanted.passphrase_file) {
        (Some(given), _) => passphrase::argument(given, "PASSPHRASE")?,
        (None, Some(file)) => passphrase::file(&file).await?,
        (None, None) if terminal::is_there() => passphrase::prompt().await?,
        (None, None) => passphrase::standard_input("PASSPHRASE").await?,
    };
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "passphrase", wanted.target.request);
    let request = SetPassphraseRequest {
        name: name_of(&wanted.target.domain),
        passphrase: secret.expose().to_owned(),
        etag: wanted.target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .set_passphrase(request.clone())
                .await
        })
        .await
}
