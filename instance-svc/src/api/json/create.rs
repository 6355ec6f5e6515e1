//! `POST /instances`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::{
    CreateInstanceRequest, Instance, instance_service_server::InstanceService as _,
};
use http::StatusCode;
use serde::Deserialize;
use service_kit::json_api::{
    Administrator, Error, Query,
    query::{flag, list, number, text},
};
use utoipa::IntoParams;

use super::{
    operation::OperationAnswer,
    parameters::refusal,
    resource::{AppOutcome, InstanceAnswer, answer},
    settings,
    write::{Outcome, Write, WriteHeaders},
};
use crate::{
    api::{Shared, instances::Instances},
    operations::Work,
};

/// The parameters of a creation.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(super) struct CreateParameters {
    /// The main domain.
    #[serde(deserialize_with = "text")]
    domain: Option<String>,
    /// Other domains, separated by commas.
    #[serde(deserialize_with = "list")]
    #[param(value_type = Option<String>)]
    domain_aliases: Option<Vec<String>>,
    /// The domain of the organisation.
    #[serde(deserialize_with = "text")]
    org_domain: Option<String>,
    /// The id of the organisation.
    #[serde(rename = "OrgID", deserialize_with = "text")]
    org_id: Option<String>,
    /// A former domain, from which browsers are redirected.
    #[serde(deserialize_with = "text")]
    old_domain: Option<String>,
    /// The language; `en` by default.
    #[serde(deserialize_with = "text")]
    locale: Option<String>,
    /// An id given by the hosting provider.
    #[serde(rename = "UUID", deserialize_with = "text")]
    uuid: Option<String>,
    /// The subject at the OIDC provider.
    #[serde(rename = "OIDCID", deserialize_with = "text")]
    oidc_id: Option<String>,
    /// The subject at FranceConnect.
    #[serde(rename = "FranceConnectID", deserialize_with = "text")]
    franceconnect_id: Option<String>,
    /// The version of the terms that was signed.
    #[serde(rename = "TOSSigned", deserialize_with = "text")]
    tos_signed: Option<String>,
    /// The version of the terms to sign.
    #[serde(rename = "TOSLatest", deserialize_with = "text")]
    tos_latest: Option<String>,
    /// The owner's time zone.
    #[serde(deserialize_with = "text")]
    timezone: Option<String>,
    /// The context.
    #[serde(deserialize_with = "text")]
    context_name: Option<String>,
    /// The owner's mail address.
    #[serde(deserialize_with = "text")]
    email: Option<String>,
    /// The owner's name.
    #[serde(deserialize_with = "text")]
    public_name: Option<String>,
    /// The owner's phone number.
    #[serde(deserialize_with = "text")]
    phone: Option<String>,
    /// Further settings: `NAME:VALUE`, separated by commas.
    #[serde(deserialize_with = "text")]
    settings: Option<String>,
    /// `basic`, `two_factor_mail` or `two_factor_oidc`.
    #[serde(deserialize_with = "text")]
    auth_mode: Option<String>,
    /// The first passphrase: in plain text, or as a client hashed it.
    #[serde(deserialize_with = "text")]
    passphrase: Option<String>,
    /// The vault key of a client that hashed the passphrase.
    #[serde(deserialize_with = "text")]
    key: Option<String>,
    /// How many iterations a client made to hash the passphrase; 0 for a plain one.
    #[serde(deserialize_with = "number")]
    kdf_iterations: Option<i64>,
    /// Apps to install, separated by commas.
    #[serde(deserialize_with = "list")]
    #[param(value_type = Option<String>)]
    apps: Option<Vec<String>>,
    /// The sponsors, separated by commas. `Sponsorships` is read too.
    #[serde(
        rename = "sponsorships",
        alias = "Sponsorships",
        deserialize_with = "list"
    )]
    #[param(value_type = Option<String>)]
    sponsorships: Option<Vec<String>>,
    /// Feature sets, separated by commas.
    #[serde(rename = "feature_sets", deserialize_with = "list")]
    #[param(value_type = Option<String>)]
    feature_sets: Option<Vec<String>>,
    /// Whether apps are updated.
    #[serde(deserialize_with = "flag")]
    auto_update: Option<bool>,
    /// Whether the owner logs in with a mailed link.
    #[serde(deserialize_with = "flag")]
    magic_link: Option<bool>,
    /// A layout in Swift, of other software: it means nothing here.
    #[serde(deserialize_with = "number")]
    swift_layout: Option<i64>,
    /// The position of the CouchDB cluster; -1 lets one be drawn.
    #[serde(deserialize_with = "number")]
    couch_cluster: Option<i64>,
    /// Bytes of files; 0 and negative numbers for no limit.
    #[serde(deserialize_with = "number")]
    disk_quota: Option<i64>,
    /// Whether the operation keeps how long each step took.
    #[serde(deserialize_with = "flag")]
    trace: Option<bool>,
}

impl CreateParameters {
    fn request(self, write: &Write) -> Result<CreateInstanceRequest, Error> {
        let couch_cluster = match self.couch_cluster {
            None | Some(..0) => None,
            Some(position) => Some(i32::try_from(position).map_err(|_| {
                Error::parameter("CouchCluster", "is too large; the first position is 0")
            })?),
        };
        // What is too large for the contract is too large for a client.
        let kdf_iterations = self.kdf_iterations.unwrap_or_default();
        let kdf_iterations = i32::try_from(kdf_iterations).unwrap_or(i32::MAX);
        let mut instance = Instance {
            domain: self.domain.unwrap_or_default(),
            domain_aliases: self.domain_aliases.unwrap_or_default(),
            old_domain: self.old_domain.unwrap_or_default(),
            locale: self.locale.unwrap_or_default(),
            uuid: self.uuid.unwrap_or_default(),
            oidc_id: self.oidc_id.unwrap_or_default(),
            franceconnect_id: self.franceconnect_id.unwrap_or_default(),
            org_domain: self.org_domain.unwrap_or_default(),
            org_id: self.org_id.unwrap_or_default(),
            tos_signed: self.tos_signed.unwrap_or_default(),
            tos_latest: self.tos_latest.unwrap_or_default(),
            timezone: self.timezone.unwrap_or_default(),
            context: self.context_name.unwrap_or_default(),
            email: self.email.unwrap_or_default(),
            public_name: self.public_name.unwrap_or_default(),
            phone: self.phone.unwrap_or_default(),
            sponsorships: self.sponsorships.unwrap_or_default(),
            feature_sets: self.feature_sets.unwrap_or_default(),
            no_auto_update: self.auto_update == Some(false),
            magic_link: self.magic_link.unwrap_or_default(),
            couch_cluster,
            disk_quota_bytes: self.disk_quota.unwrap_or_default().max(0),
            ..Instance::default()
        };
        if let Some(mode) = &self.auth_mode {
            instance.set_auth_mode(settings::auth_mode_of("AuthMode", mode)?);
        }
        settings::take(&self.settings.unwrap_or_default(), &mut instance)?;
        Ok(CreateInstanceRequest {
            instance: Some(instance),
            apps: self.apps.unwrap_or_default(),
            request_id: write.request_id.clone(),
            passphrase: self.passphrase.unwrap_or_default(),
            kdf_iterations,
            key: self.key.unwrap_or_default(),
            trace: self.trace.unwrap_or_default(),
            validate_only: false,
        })
    }
}

/// Creates an instance.
///
/// The response comes when the instance is ready. With `Prefer: respond-async` it comes at once, with the operation.
#[utoipa::path(
    post,
    path = "/instances",
    operation_id = "create_instance",
    tag = "instances",
    params(
        CreateParameters,
        WriteHeaders
    ),
    responses(
        (status = 201, description = "The instance", body = InstanceAnswer, content_type = "application/vnd.api+json"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn create(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Query(parameters): Query<CreateParameters>,
    write: Write,
) -> Result<Response, Error> {
    let request = parameters.request(&write)?;
    let operation = Instances(shared.clone())
        .create_instance(caller.call(request))
        .await
        .map_err(refusal)?;
    let done = match write.end(&shared, operation.into_inner()).await? {
        Outcome::Begun(response) => return Ok(response),
        Outcome::Done(done) => done,
    };
    let mut meta = done.meta();
    if let Work::Create(work) = &done.operation.work {
        let apps = work.apps.iter().map(|app| AppOutcome {
            source: app.source.clone(),
            version: app.version.clone(),
            error: app.error.clone(),
        });
        meta.apps.extend(apps);
    }
    let found = done.instance(&shared).await?;
    Ok(answer(StatusCode::CREATED, &found, Some(meta), &shared.clock)?.into_response())
}
