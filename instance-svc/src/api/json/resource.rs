//! Instances as resources of JSON:API.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::json_api::{Error, JsonApi};
use utoipa::ToSchema;

use crate::{
    clock::Clock,
    domain::{instance::InstanceDocument, record::Record},
    error,
    store::Found,
};

/// The document of one instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstanceAnswer {
    /// The instance.
    pub(super) data: InstanceResource,
    /// What an administrator has to know of the write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<WriteMeta>,
}

/// The document of a list of instances.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstancesAnswer {
    /// The instances of the page.
    pub(super) data: Vec<InstanceResource>,
    /// About the page.
    pub(super) meta: ListMeta,
    /// Where the list goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) links: Option<NextLink>,
}

/// About a page.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListMeta {
    /// How many instances the page has.
    pub(super) count: usize,
}

/// Where a list goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NextLink {
    /// The path of the next page.
    pub(super) next: String,
}

/// What an administrator has to know of a write.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WriteMeta {
    /// The operation that carried it out.
    pub(super) operation: String,
    /// Warnings, such as an unknown context.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
    /// What came of each app that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) apps: Vec<AppOutcome>,
}

/// What came of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AppOutcome {
    /// What was asked for.
    pub(super) source: String,
    /// The installed version; empty if it was not installed.
    pub(super) version: String,
    /// Why it was not installed; empty if it was.
    pub(super) error: String,
}

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstanceResource {
    /// Always `instances`.
    #[serde(rename = "type")]
    #[schema(example = "instances")]
    kind: &'static str,
    /// The id of its document.
    id: String,
    /// Its document, without secrets.
    attributes: Attributes,
    /// About the document.
    meta: RevisionMeta,
    /// Where it is.
    links: SelfLink,
}

/// About a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevisionMeta {
    /// Its revision.
    rev: String,
}

/// Where a resource is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SelfLink {
    /// Its path.
    #[serde(rename = "self")]
    path: String,
}

macro_rules! attributes {
    ($($(#[$about:meta])* $name:ident: $shown:ty,)*) => {
        /// The document of an instance as administrators see it. Only these members are shown: others may be secret.
        #[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
        pub(super) struct Attributes {
            $(
                $(#[$about])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                #[schema(value_type = Option<$shown>)]
                $name: Option<Value>,
            )*
        }
    };
}

attributes! {
    /// The main domain, with its port.
    domain: String,
    /// Other domains.
    domain_aliases: Vec<String>,
    /// The domain of the organisation.
    org_domain: String,
    /// The id of the organisation.
    org_id: String,
    /// A former domain.
    old_domain: String,
    /// The prefix of the databases.
    prefix: String,
    /// The language.
    locale: String,
    /// An id given by the hosting provider.
    uuid: String,
    /// The subject at the OIDC provider.
    oidc_id: String,
    /// The subject at FranceConnect.
    franceconnect_id: String,
    /// The context.
    context: String,
    /// The sponsors.
    sponsorships: Vec<String>,
    /// The version of the terms that was signed.
    tos: String,
    /// The version of the terms that awaits a signature.
    tos_latest: String,
    /// How the owner logs in: 1 with a code by mail, 2 with OIDC; absent with a passphrase only.
    auth_mode: i64,
    /// Whether the owner logs in with a mailed link.
    magic_link: bool,
    /// Whether the instance is being destroyed.
    deleting: bool,
    /// Whether it was moved elsewhere.
    moved: bool,
    /// Whether access is blocked.
    blocked: bool,
    /// Why access is blocked.
    blocking_reason: String,
    /// Whether apps are kept at their version.
    no_auto_update: bool,
    /// Whether the owner may log in.
    onboarding_finished: bool,
    /// Whether a passphrase is set; null when unknown.
    password_defined: bool,
    /// Bytes of files, as digits; absent without a limit.
    disk_quota: String,
    /// The version of the indexes and views in place.
    indexes_version: i64,
    /// The version of the profile at a shared profile service.
    common_settings_version: i64,
    /// The layout in Swift, of other software.
    swift_cluster: i64,
    /// The position of the CouchDB cluster.
    couch_cluster: i64,
    /// Until when a token for a new passphrase is valid.
    passphrase_reset_time: String,
    /// The token with which the owner chooses the first passphrase: base64 of 16 bytes. Absent once it is used or expired.
    register_token: String,
    /// The flags of this instance.
    feature_flags: Map<String, Value>,
    /// The feature sets.
    feature_sets: Vec<String>,
    /// When a client was last active that does not exist any more.
    last_activity_from_deleted_oauth_clients: String,
}

impl Attributes {
    fn of(
        document: &InstanceDocument,
        record: Option<&Record>,
        clock: &Clock,
    ) -> Result<Self, error::Error> {
        let whole = serde_json::to_value(document)?;
        let mut shown: Self = serde_json::from_value(whole)?;
        let has_expired = record
            .and_then(|record| record.register_expires_at)
            .is_some_and(|end| end <= clock.now());
        if has_expired || document.open_register_token().is_empty() {
            shown.register_token = None;
        }
        // The only member that is there without a value.
        shown.password_defined.get_or_insert(Value::Null);
        Ok(shown)
    }
}

impl InstanceResource {
    /// The resource of these documents.
    ///
    /// # Errors
    /// When the document cannot be written as JSON.
    pub(super) fn new(
        id: &str,
        rev: &str,
        document: &InstanceDocument,
        record: Option<&Record>,
        clock: &Clock,
    ) -> Result<Self, error::Error> {
        Ok(Self {
            kind: "instances",
            id: id.to_owned(),
            attributes: Attributes::of(document, record, clock)?,
            meta: RevisionMeta {
                rev: rev.to_owned(),
            },
            links: SelfLink {
                path: format!("/instances/{id}"),
            },
        })
    }
}

/// The response with one instance.
pub(super) fn answer(
    status: StatusCode,
    found: &Found,
    meta: Option<WriteMeta>,
    clock: &Clock,
) -> Result<JsonApi<InstanceAnswer>, Error> {
    let data = InstanceResource::new(
        &found.id,
        found.document.rev.as_str(),
        &found.document.body,
        found.record.as_ref().map(|record| &record.body),
        clock,
    )?;
    Ok(JsonApi(status, InstanceAnswer { data, meta }))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::Attributes;
    use crate::{clock::Clock, domain::record::Record};

    fn shown(document: Value) -> Value {
        let document = serde_json::from_value(document).unwrap();
        let record = Record::default();
        let shown = Attributes::of(&document, Some(&record), &Clock::default()).unwrap();
        serde_json::to_value(shown).unwrap()
    }

    #[test]
    fn no_secret_is_shown_and_nothing_unknown() {
        let seen = shown(json!({
            "domain": "a.example", "locale": "en", "password_defined": null, "tos": "1.0.0",
            "disk_quota": "7", "auth_mode": 1, "org_id": "o", "feature_flags": {"x": 1},
            "passphrase_hash": "c2VjcmV0", "session_secret": "c2VjcmV0", "oauth_secret": "c2VjcmV0",
            "cli_secret": "c2VjcmV0", "passphrase_reset_token": "c2VjcmV0",
            "register_token": "AAAAAAAAAAAAAAAAAAAAAA==", "unheard_of": "c2VjcmV0"
        }));
        assert_eq!(
            seen,
            json!({
                "domain": "a.example", "org_id": "o", "locale": "en", "tos": "1.0.0", "auth_mode": 1,
                "password_defined": null, "disk_quota": "7", "register_token": "AAAAAAAAAAAAAAAAAAAAAA==",
                "feature_flags": {"x": 1}
            })
        );
    }

    #[test]
    fn a_used_register_token_is_not_shown() {
        let seen = shown(json!({
            "domain": "a.example", "locale": "en", "password_defined": true, "onboarding_finished": true,
            "register_token": "AAAAAAAAAAAAAAAAAAAAAA=="
        }));
        assert_eq!(seen.get("register_token"), None);
    }
}
