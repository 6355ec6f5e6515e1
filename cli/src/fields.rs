//! The fields of an instance that `--fields` takes.

use hamlet_proto::hamlet::instance::v1::{Instance, instance};
use prost_types::Timestamp;
use serde_json::Value;

/// A field of an instance.
#[derive(Debug)]
pub(crate) struct Field {
    /// How it is called.
    pub(crate) name: &'static str,
    /// Whether lists leave it out, so that it has to be asked for instance by instance.
    pub(crate) not_in_lists: bool,
    /// Its value in JSON; null when it is not known.
    pub(crate) read: fn(&Instance) -> Value,
}

const fn listed(name: &'static str, read: fn(&Instance) -> Value) -> Field {
    Field {
        name,
        not_in_lists: false,
        read,
    }
}

const fn not_listed(name: &'static str, read: fn(&Instance) -> Value) -> Field {
    Field {
        name,
        not_in_lists: true,
        read,
    }
}

/// All fields, by name.
pub(crate) static FIELDS: [Field; 40] = [
    listed("auth_mode", |i| auth_mode(i.auth_mode()).into()),
    listed("blocked", |i| i.blocked.into()),
    listed("blocking_reason", |i| text(&i.blocking_reason)),
    listed("context", |i| text(&i.context)),
    listed("couch_cluster", |i| i.couch_cluster.unwrap_or(0).into()),
    listed("create_time", |i| time(i.create_time.as_ref())),
    listed("db_prefix", |i| text(&i.prefix)),
    listed("debug_until", |i| time(i.debug_until.as_ref())),
    listed("delete_time", |i| time(i.delete_time.as_ref())),
    listed("deleting", |i| i.deleting.into()),
    // As text: not every reader of JSON keeps 64 bits.
    listed("disk_quota", |i| i.disk_quota_bytes.to_string().into()),
    listed("domain", |i| text(&i.domain)),
    listed("domain_aliases", |i| i.domain_aliases.clone().into()),
    not_listed("email", |i| text(&i.email)),
    not_listed("etag", |i| text(&i.etag)),
    listed("feature_sets", |i| i.feature_sets.clone().into()),
    listed("franceconnect_id", |i| text(&i.franceconnect_id)),
    listed("id", |i| text(&i.id)),
    listed("indexes_version", |i| i.indexes_version.into()),
    listed("locale", |i| text(&i.locale)),
    listed("locked", |i| i.locked.into()),
    listed("magic_link", |i| i.magic_link.into()),
    listed("no_auto_update", |i| i.no_auto_update.into()),
    listed("oidc_id", |i| text(&i.oidc_id)),
    listed("old_domain", |i| text(&i.old_domain)),
    listed("onboarding_finished", |i| i.onboarding_finished.into()),
    listed("operation", |i| text(&i.operation)),
    listed("password_defined", |i| i.password_defined.into()),
    not_listed("phone", |i| text(&i.phone)),
    listed("prefix", |i| text(&i.prefix)),
    not_listed("public_name", |i| text(&i.public_name)),
    listed("purge_time", |i| time(i.purge_time.as_ref())),
    listed("register_expire_time", |i| {
        time(i.register_expire_time.as_ref())
    }),
    not_listed("settings", settings),
    listed("sponsorships", |i| i.sponsorships.clone().into()),
    listed("state", |i| state(i.state()).into()),
    listed("tos", |i| text(&i.tos_signed)),
    listed("tos_latest", |i| text(&i.tos_latest)),
    not_listed("tz", |i| text(&i.timezone)),
    listed("uuid", |i| text(&i.uuid)),
];

/// Finds a field by its name.
///
/// # Errors
/// When there is none, with what to do instead.
pub(crate) fn parse(text: &str) -> Result<&'static Field, String> {
    let name = text.trim().replace('-', "_");
    let name = match name.as_str() {
        "timezone" => "tz",
        "disk_quota_bytes" => "disk_quota",
        "tos_signed" => "tos",
        "context_name" => "context",
        name => name,
    };
    if let Some(field) = FIELDS.iter().find(|field| field.name == name) {
        return Ok(field);
    }
    Err(match name {
        "register_token" => {
            "is a secret: `hamlet instances register-link DOMAIN` prints the link with it"
                .to_owned()
        }
        "passphrase_reset_token" | "passphrase_reset_time" => {
            "is not shown: a reset is between the owner and the instance".to_owned()
        }
        "swift_cluster" => "is not known: contents do not lie in Swift".to_owned(),
        _ => "is no field; `hamlet instances ls --available-fields` lists them".to_owned(),
    })
}

/// A value as a cell of a table. What is not known is empty.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| format!("{key}:{}", cell(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

/// The state in one word.
pub(crate) const fn state(state: instance::State) -> &'static str {
    match state {
        instance::State::Unspecified => "unknown",
        instance::State::Creating => "creating",
        instance::State::Onboarding => "onboarding",
        instance::State::Onboarded => "onboarded",
        instance::State::Pending => "pending",
        instance::State::Blocked => "blocked",
        instance::State::Deleting => "deleting",
        instance::State::Deleted => "deleted",
    }
}

/// The way in which the owner proves who they are; a passphrase unless something else is known.
pub(crate) const fn auth_mode(mode: instance::AuthMode) -> &'static str {
    match mode {
        instance::AuthMode::Unspecified | instance::AuthMode::Basic => "basic",
        instance::AuthMode::TwoFactorMail => "two_factor_mail",
        instance::AuthMode::TwoFactorOidc => "two_factor_oidc",
    }
}

fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        text.into()
    }
}

fn time(time: Option<&Timestamp>) -> Value {
    time.map(ToString::to_string).into()
}

fn settings(instance: &Instance) -> Value {
    let mut settings: Vec<_> = instance.settings.iter().collect();
    settings.sort();
    Value::Object(
        settings
            .into_iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use hamlet_proto::hamlet::instance::v1::Instance;

    use super::{FIELDS, cell, parse};

    #[test]
    fn fields_are_in_order_and_found_by_name() {
        assert!(FIELDS.is_sorted_by_key(|field| field.name));
        for field in &FIELDS {
            assert!(parse(field.name).is_ok(), "{}", field.name);
            // Each has a value, whatever is known.
            let _ = cell(&(field.read)(&Instance::default()));
        }
        assert!(parse("timezone").is_ok_and(|field| field.name == "tz"));
        for (wrong, hint) in [
            ("register_token", "register-link"),
            ("nonsense", "--available-fields"),
            ("", "--available-fields"),
        ] {
            assert!(parse(wrong).is_err_and(|error| error.contains(hint)));
        }
    }
}
