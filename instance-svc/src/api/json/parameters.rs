//! The names of parameters, and what they are in the contract.

use http::StatusCode;
use service_kit::json_api::Error;
use tonic::Status;

use crate::error;

/// The fields of the contract and the parameters that give them.
const NAMES: [(&str, &str); 38] = [
    ("apps", "Apps"),
    ("audience", "Audience"),
    ("auth_mode", "AuthMode"),
    ("blocked", "Blocked"),
    ("blocking_reason", "BlockingReason"),
    ("client_name", "ClientName"),
    ("context", "ContextName"),
    ("couch_cluster", "CouchCluster"),
    ("deleting", "Deleting"),
    ("disk_quota_bytes", "DiskQuota"),
    ("domain_aliases", "DomainAliases"),
    ("email", "Email"),
    ("franceconnect_id", "FranceConnectID"),
    ("kdf_iterations", "KdfIterations"),
    ("key", "Key"),
    ("lifetime", "Expire"),
    ("locale", "Locale"),
    ("magic_link", "MagicLink"),
    ("name", "domain"),
    ("oidc_id", "OIDCID"),
    ("old_domain", "OldDomain"),
    ("onboarding_finished", "OnboardingFinished"),
    ("org_domain", "OrgDomain"),
    ("org_id", "OrgID"),
    ("passphrase", "Passphrase"),
    ("phone", "Phone"),
    ("public_name", "PublicName"),
    ("redirect_uris", "RedirectURI"),
    ("request_id", "Idempotency-Key"),
    ("scopes", "Scope"),
    ("settings", "Settings"),
    ("software_id", "SoftwareID"),
    ("sponsorships", "Sponsorships"),
    ("subject", "Subject"),
    ("timezone", "Timezone"),
    ("tos_latest", "TOSLatest"),
    ("tos_signed", "TOSSigned"),
    ("uuid", "UUID"),
];

/// The fields whose faults compatible tools know as 400.
const BAD_REQUEST: [&str; 3] = ["Passphrase", "TOSLatest", "TOSSigned"];

fn parameter_of(field: &str) -> String {
    let field = field.strip_prefix("instance.").unwrap_or(field);
    // The position in a list, or the key in a map.
    let whole = field.split(['[', '.']).next().unwrap_or(field);
    let known = NAMES.iter().find(|(name, _)| *name == whole);
    known.map_or(whole, |(_, parameter)| parameter).to_owned()
}

/// A refusal of the handlers of gRPC, with the names of parameters and the statuses that compatible tools know.
pub(super) fn refusal(refused: Status) -> Error {
    let mut error = Error::from(refused).with_parameters(parameter_of);
    if error.parameters().any(|name| BAD_REQUEST.contains(&name)) {
        error = error.with_status(StatusCode::BAD_REQUEST);
    }
    error
}

/// The same for an error of an action.
pub(super) fn refused(error: error::Error) -> Error {
    refusal(error.into())
}

#[cfg(test)]
mod tests {
    use super::parameter_of;

    #[test]
    fn fields_have_the_names_of_parameters() {
        for (field, parameter) in [
            ("instance.domain", "domain"),
            ("domain_aliases[1]", "DomainAliases"),
            ("tos_signed", "TOSSigned"),
            ("settings.offer", "Settings"),
            ("scopes[0]", "Scope"),
            ("other", "other"),
        ] {
            assert_eq!(parameter_of(field), parameter);
        }
    }
}
