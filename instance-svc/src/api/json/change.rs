//! `PATCH /instances/{domain}`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::{
    Instance, UpdateInstanceRequest, instance_service_server::InstanceService as _,
};
use http::StatusCode;
use serde::Deserialize;
use service_kit::{
    caller::Caller,
    json_api::{
        Administrator, Error, Query, Segments,
        query::{flag, list, number, text},
    },
};
use utoipa::IntoParams;

use super::{
    debug,
    operation::OperationAnswer,
    parameters::refusal,
    resource::{InstanceAnswer, answer},
    settings,
    show::find,
    write::{Outcome, Write, WriteHeaders},
};
use crate::{
    api::{Shared, instances::Instances},
    messages,
};

/// The parameters of a change. What is not given stays as it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeParameters {
    /// The language.
    #[serde(deserialize_with = "text")]
    locale: Option<String>,
    /// Whether access is blocked.
    #[serde(deserialize_with = "flag")]
    blocked: Option<bool>,
    /// Why access is blocked.
    #[serde(deserialize_with = "text")]
    blocking_reason: Option<String>,
    /// Other domains, separated by commas. A lone comma is an empty list.
    #[serde(deserialize_with = "list")]
    #[param(value_type = Option<String>)]
    domain_aliases: Option<Vec<String>>,
    /// A former domain.
    #[serde(deserialize_with = "text")]
    old_domain: Option<String>,
    /// An id given by the hosting provider.
    #[serde(rename = "UUID", deserialize_with = "text")]
    uuid: Option<String>,
    /// The subject at the OIDC provider.
    #[serde(rename = "OIDCID", deserialize_with = "text")]
    oidc_id: Option<String>,
    /// The subject at FranceConnect.
    #[serde(rename = "FranceConnectID", deserialize_with = "text")]
    franceconnect_id: Option<String>,
    /// The context.
    #[serde(deserialize_with = "text")]
    context_name: Option<String>,
    /// Whether the owner logs in with a mailed link.
    #[serde(deserialize_with = "flag")]
    magic_link: Option<bool>,
    /// Whether the owner has finished onboarding; it can be set only.
    #[serde(deserialize_with = "flag")]
    onboarding_finished: Option<bool>,
    /// The sponsors, separated by commas.
    #[serde(alias = "sponsorships", deserialize_with = "list")]
    #[param(value_type = Option<String>)]
    sponsorships: Option<Vec<String>>,
    /// Bytes of files; 0 leaves the quota as it is, a negative number removes it.
    #[serde(deserialize_with = "number")]
    disk_quota: Option<i64>,
    /// The version of the terms to sign.
    #[serde(rename = "TOSLatest", deserialize_with = "text")]
    tos_latest: Option<String>,
    /// The version of the terms that was signed.
    #[serde(rename = "TOSSigned", deserialize_with = "text")]
    tos_signed: Option<String>,
    /// The owner's time zone.
    #[serde(deserialize_with = "text")]
    timezone: Option<String>,
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
    /// Whether calls are logged in detail, for a day.
    #[serde(deserialize_with = "flag")]
    debug: Option<bool>,
    /// `false` takes back the mark that other software is destroying the instance. All else is ignored then.
    #[serde(deserialize_with = "flag")]
    deleting: Option<bool>,
}

/// The fields of the contract that a change sets.
#[derive(Debug, Default)]
struct Patch {
    instance: Instance,
    mask: Vec<String>,
}

impl Patch {
    fn set<T>(&mut self, path: &str, given: Option<T>, put: impl FnOnce(&mut Instance, T)) {
        if let Some(value) = given {
            put(&mut self.instance, value);
            self.mask.push(path.to_owned());
        }
    }
}

impl ChangeParameters {
    fn patch(self, shared: &Shared) -> Result<Patch, Error> {
        let mut patch = Patch::default();
        if self.deleting.is_some() {
            patch.set("deleting", self.deleting, |it, v| it.deleting = v);
            return Ok(patch);
        }
        patch.set("locale", self.locale, |it, v| it.locale = v);
        patch.set("blocked", self.blocked, |it, v| it.blocked = v);
        patch.set("blocking_reason", self.blocking_reason, |it, v| {
            it.blocking_reason = v;
        });
        patch.set("domain_aliases", self.domain_aliases, |it, v| {
            it.domain_aliases = v;
        });
        patch.set("old_domain", self.old_domain, |it, v| it.old_domain = v);
        patch.set("uuid", self.uuid, |it, v| it.uuid = v);
        patch.set("oidc_id", self.oidc_id, |it, v| it.oidc_id = v);
        patch.set("franceconnect_id", self.franceconnect_id, |it, v| {
            it.franceconnect_id = v;
        });
        patch.set("context", self.context_name, |it, v| it.context = v);
        patch.set("magic_link", self.magic_link, |it, v| it.magic_link = v);
        patch.set("onboarding_finished", self.onboarding_finished, |it, v| {
            it.onboarding_finished = v;
        });
        patch.set("sponsorships", self.sponsorships, |it, v| {
            it.sponsorships = v;
        });
        let quota = self.disk_quota.filter(|bytes| *bytes != 0);
        patch.set("disk_quota_bytes", quota, |it, v| {
            it.disk_quota_bytes = v.max(0);
        });
        patch.set("tos_latest", self.tos_latest, |it, v| it.tos_latest = v);
        patch.set("tos_signed", self.tos_signed, |it, v| it.tos_signed = v);
        patch.set("timezone", self.timezone, |it, v| it.timezone = v);
        patch.set("email", self.email, |it, v| it.email = v);
        patch.set("public_name", self.public_name, |it, v| it.public_name = v);
        patch.set("phone", self.phone, |it, v| it.phone = v);
        patch.set("debug_until", self.debug, |it, v| {
            it.debug_until = v.then(|| messages::timestamp(shared.clock.after(debug::LIFE)));
        });
        let text = self.settings.unwrap_or_default();
        for path in settings::take(&text, &mut patch.instance)? {
            if !patch.mask.contains(&path) {
                patch.mask.push(path);
            }
        }
        Ok(patch)
    }
}

/// Changes an instance.
///
/// A change of nothing writes nothing.
#[utoipa::path(
    patch,
    path = "/instances/{domain}",
    operation_id = "change_instance",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        ChangeParameters,
        WriteHeaders
    ),
    responses(
        (status = 200, description = "The instance", body = InstanceAnswer, content_type = "application/vnd.api+json"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn change(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    Query(parameters): Query<ChangeParameters>,
    write: Write,
) -> Result<Response, Error> {
    let patch = parameters.patch(&shared)?;
    if patch.mask.is_empty() {
        let found = find(&shared, &domain).await?;
        return Ok(answer(StatusCode::OK, &found, None, &shared.clock)?.into_response());
    }
    let done = match make(
        &shared,
        &caller,
        &domain,
        patch.instance,
        patch.mask,
        &write,
    )
    .await?
    {
        Outcome::Begun(response) => return Ok(response),
        Outcome::Done(done) => done,
    };
    let found = done.instance(&shared).await?;
    Ok(answer(StatusCode::OK, &found, Some(done.meta()), &shared.clock)?.into_response())
}

/// Changes these fields of an instance.
pub(super) async fn make(
    shared: &Shared,
    caller: &Caller,
    domain: &str,
    mut instance: Instance,
    paths: Vec<String>,
    write: &Write,
) -> Result<Outcome, Error> {
    instance.name = format!("instances/{domain}");
    let request = UpdateInstanceRequest {
        instance: Some(instance),
        update_mask: Some(prost_types::FieldMask { paths }),
        request_id: write.request_id.clone(),
        validate_only: false,
    };
    let operation = Instances(shared.clone())
        .update_instance(caller.call(request))
        .await
        .map_err(refusal)?;
    write.end(shared, operation.into_inner()).await
}
