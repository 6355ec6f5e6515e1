//! `hamlet.instance.v1.OwnerService`.

use hamlet_proto::hamlet::instance::v1::{
    GetPermissionsRequest, GetSettingsRequest, OwnerSettings, Permissions,
    owner_service_server::OwnerService,
};
use service_kit::{
    caller::Caller,
    rights::{Rights, Verb, too_small},
};
use tonic::{Request, Response, Status};

use super::Shared;
use crate::{domain::claim::NameKind, error::Error, messages};

#[derive(Clone, Debug)]
pub(crate) struct Owners(pub(crate) Shared);

#[tonic::async_trait]
impl OwnerService for Owners {
    async fn get_settings(
        &self,
        request: Request<GetSettingsRequest>,
    ) -> Result<Response<OwnerSettings>, Status> {
        let caller = Caller::of(&request)?;
        // Whoever was only told who the owner is, learns nothing else.
        if matches!(caller.rights()?, Rights::Token([])) {
            return Err(too_small("io.cozy.settings", Verb::Get));
        }
        let tenant = caller.tenant()?;
        let found = self.0.store.found(&tenant.id, NameKind::Domain).await;
        let found = found.map_err(Error::from)?;
        let found = found.ok_or_else(|| Error::NoSuchInstance(tenant.domain.clone()))?;
        let shown = messages::instance(&found);
        Ok(Response::new(OwnerSettings {
            domain: shown.domain,
            email: shown.email,
            public_name: shown.public_name,
            timezone: shown.timezone,
            phone: shown.phone,
            locale: shown.locale,
            context: shown.context,
            uuid: shown.uuid,
            oidc_id: shown.oidc_id,
            settings: shown.settings,
            disk_quota_bytes: shown.disk_quota_bytes,
            tos_signed: shown.tos_signed,
            tos_latest: shown.tos_latest,
            onboarding_finished: shown.onboarding_finished,
        }))
    }

    async fn get_permissions(
        &self,
        request: Request<GetPermissionsRequest>,
    ) -> Result<Response<Permissions>, Status> {
        let caller = Caller::of(&request)?;
        let _all_may = caller.rights()?;
        let identity = caller.identity().cloned().unwrap_or_default();
        Ok(Response::new(Permissions {
            kind: identity.kind,
            subject: identity.subject,
            rules: identity.rules,
        }))
    }
}
