//! `Settings`: `NAME:VALUE`, separated by commas. Some names stand for a field of the instance.

use hamlet_proto::hamlet::instance::v1::{Instance, instance::AuthMode};
use service_kit::json_api::Error;

/// The mode of this name; `None` when there is none.
pub(super) fn auth_mode(name: &str) -> Option<AuthMode> {
    match name {
        "basic" => Some(AuthMode::Basic),
        "two_factor_mail" => Some(AuthMode::TwoFactorMail),
        "two_factor_oidc" => Some(AuthMode::TwoFactorOidc),
        _ => None,
    }
}

/// The same for a parameter.
///
/// # Errors
/// When there is no mode of this name.
pub(super) fn auth_mode_of(parameter: &str, name: &str) -> Result<AuthMode, Error> {
    auth_mode(name).ok_or_else(|| {
        Error::parameter(
            parameter,
            format!("{name:?} is no mode; use basic, two_factor_mail or two_factor_oidc"),
        )
    })
}

/// Writes the settings of a text into the instance, and returns the fields that they set. Pieces without a colon, or
/// without a name, are left out as in the original.
///
/// # Errors
/// When a value does not fit the field that its name stands for.
pub(super) fn take(text: &str, instance: &mut Instance) -> Result<Vec<String>, Error> {
    let mut set = Vec::new();
    let pieces = text.split(',').filter_map(|piece| piece.split_once(':'));
    for (name, value) in pieces {
        let name = name.trim();
        if name.is_empty() {
            continue;
        }
        let text = match name {
            "context" => &mut instance.context,
            "locale" => &mut instance.locale,
            "uuid" => &mut instance.uuid,
            "oidc_id" => &mut instance.oidc_id,
            "tos" => &mut instance.tos_signed,
            "tos_latest" => &mut instance.tos_latest,
            "tz" => &mut instance.timezone,
            "email" => &mut instance.email,
            "public_name" => &mut instance.public_name,
            "phone" => &mut instance.phone,
            "auto_update" => {
                instance.no_auto_update = !is_true(value)?;
                set.push("no_auto_update".to_owned());
                continue;
            }
            "auth_mode" => {
                instance.set_auth_mode(auth_mode_of("Settings", value)?);
                set.push("auth_mode".to_owned());
                continue;
            }
            other => {
                let entries = &mut instance.settings;
                entries.insert(other.to_owned(), value.to_owned());
                set.push(format!("settings.{other}"));
                continue;
            }
        };
        value.clone_into(text);
        set.push(field_of(name).to_owned());
    }
    Ok(set)
}

/// The field of the contract for which a name stands.
fn field_of(name: &str) -> &str {
    match name {
        "tos" => "tos_signed",
        "tz" => "timezone",
        same => same,
    }
}

fn is_true(value: &str) -> Result<bool, Error> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::parameter(
            "Settings",
            format!("auto_update: {value:?} is neither true nor false"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{AuthMode, Instance, take};

    #[test]
    fn names_of_fields_set_the_field() {
        let mut instance = Instance::default();
        let text = "locale:fr,tz:Europe/Paris,auto_update:false,auth_mode:two_factor_mail,bad,k:v:w,:x,tos:1.0.0";
        let set = take(text, &mut instance).unwrap();
        assert_eq!(
            set,
            [
                "locale",
                "timezone",
                "no_auto_update",
                "auth_mode",
                "settings.k",
                "tos_signed"
            ]
        );
        assert_eq!(instance.locale, "fr");
        assert_eq!(instance.timezone, "Europe/Paris");
        assert!(instance.no_auto_update);
        assert_eq!(instance.auth_mode(), AuthMode::TwoFactorMail);
        assert_eq!(instance.tos_signed, "1.0.0");
        assert_eq!(instance.settings.len(), 1);
        assert_eq!(instance.settings.get("k").unwrap(), "v:w");
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused() {
        for text in ["auto_update:maybe", "auth_mode:zzz"] {
            let refused = take(text, &mut Instance::default()).unwrap_err();
            assert_eq!(refused.parameters().collect::<Vec<_>>(), ["Settings"]);
        }
    }
}
