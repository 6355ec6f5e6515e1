//! `hamlet instances modify`.

use clap::Args;

use super::{AuthMode, Target};
use crate::values;

/// What changes of an instance. Only what is named changes.
#[derive(Args, Debug)]
pub(crate) struct Modify {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How the owner proves who they are.
    #[arg(long, value_name = "MODE")]
    pub(crate) auth_mode: Option<AuthMode>,
    /// Refuse access, or give it again with --blocked=false.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          hide_possible_values = true)]
    pub(crate) blocked: Option<bool>,
    /// Why access is refused: LOGIN_FAILED, PAYMENT_FAILED, UNKNOWN or a reason of your own.
    #[arg(long, value_name = "REASON", value_parser = values::names::not_empty)]
    pub(crate) blocking_reason: Option<String>,
    /// The group of settings that applies.
    #[arg(long, value_name = "CONTEXT", value_parser = values::names::not_empty)]
    pub(crate) context_name: Option<String>,
    /// Take away the flag with which other software began to destroy it: only --deleting=false.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "false",
          value_parser = not_deleting)]
    pub(crate) deleting: Option<bool>,
    /// How much may be stored: 10GB, "512 MiB" or bytes.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = values::quota::parse)]
    pub(crate) disk_quota: Option<i64>,
    /// All its other domains, separated by commas.
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',', value_parser = values::domain::parse)]
    pub(crate) domain_aliases: Vec<String>,
    /// The owner's mail address.
    #[arg(long, value_parser = values::names::not_empty)]
    pub(crate) email: Option<String>,
    /// The subject at FranceConnect.
    #[arg(long = "franceconnect_id", value_name = "SUBJECT", value_parser = values::names::not_empty)]
    pub(crate) franceconnect_id: Option<String>,
    /// The language, such as fr, fr-FR or de_AT.
    #[arg(long, value_name = "LANGUAGE", value_parser = values::names::not_empty)]
    pub(crate) locale: Option<String>,
    /// Refuse to destroy it until it is unlocked.
    #[arg(long, conflicts_with = "unlock")]
    pub(crate) lock: bool,
    /// Let it be destroyed again.
    #[arg(long)]
    pub(crate) unlock: bool,
    /// Let the owner log in by a link in a mail, or not.
    #[arg(long = "magic_link", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, value_name = "BOOL")]
    pub(crate) magic_link: Option<bool>,
    /// Leave apps at their version instead of updating them, or not.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
          value_name = "BOOL")]
    pub(crate) no_auto_update: Option<bool>,
    /// The subject at the OIDC provider.
    #[arg(long = "oidc_id", value_name = "SUBJECT", value_parser = values::names::not_empty)]
    pub(crate) oidc_id: Option<String>,
    /// A former domain: browsers are redirected from it, and clients hash passphrases with it.
    #[arg(long, value_name = "DOMAIN", value_parser = values::domain::parse)]
    pub(crate) old_domain: Option<String>,
    /// Let the owner log in. There is no way back.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true",
          value_parser = finished)]
    pub(crate) onboarding_finished: Option<bool>,
    /// The owner's phone number.
    #[arg(long, value_parser = values::names::not_empty)]
    pub(crate) phone: Option<String>,
    /// The owner's name as others see it.
    #[arg(long, value_name = "NAME", value_parser = values::names::not_empty)]
    pub(crate) public_name: Option<String>,
    /// Further settings, KEY:VALUE, several separated by commas. Other settings stay as they are.
    #[arg(long, value_name = "SETTINGS", value_delimiter = ',', value_parser = values::settings::parse)]
    pub(crate) settings: Vec<(String, String)>,
    /// Who pays, separated by commas.
    #[arg(long, value_name = "SPONSORS", value_delimiter = ',', value_parser = values::names::sponsor)]
    pub(crate) sponsorships: Vec<String>,
    /// The version of the terms of service that was signed.
    #[arg(long, value_name = "VERSION", value_parser = values::names::not_empty)]
    pub(crate) tos: Option<String>,
    /// The version of the terms of service that awaits a signature.
    #[arg(long, value_name = "VERSION", value_parser = values::names::not_empty)]
    pub(crate) tos_latest: Option<String>,
    /// The owner's time zone, such as Europe/Paris.
    #[arg(long, value_name = "ZONE", value_parser = values::names::not_empty)]
    pub(crate) tz: Option<String>,
    /// An id given by the hosting provider.
    #[arg(long, value_parser = values::names::not_empty)]
    pub(crate) uuid: Option<String>,
    /// What to clear, by the names of the flags, separated by commas: email, tz, disk-quota, domain-aliases, settings,
    /// settings.KEY, …
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = values::clearable::parse)]
    pub(crate) unset: Vec<String>,
}

fn not_deleting(text: &str) -> Result<bool, String> {
    match text {
        "false" => Ok(false),
        _ => Err(
            "the flag can only be taken away: write --deleting=false. To destroy the instance use `hamlet instances \
             destroy`"
                .to_owned(),
        ),
    }
}

fn finished(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        _ => Err("it can only be set: write --onboarding-finished".to_owned()),
    }
}
