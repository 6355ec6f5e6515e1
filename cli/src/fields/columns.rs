//! What `--fields` takes, and the values it prints.

use hamlet_proto::{
    fields::{FIELDS, Kept, by_column},
    hamlet::instance::v1::Instance,
    json::to_json_fields,
};
use serde_json::Value;

use super::words;
use crate::error::CommandError;

/// A field that `--fields` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// The name under which it is printed.
    pub(crate) name: &'static str,
    /// Whether lists have it; otherwise each instance has to be asked for.
    pub(crate) listed: bool,
    path: &'static str,
}

/// The names of all columns, sorted.
pub(crate) fn available() -> Vec<&'static str> {
    let mut names: Vec<_> = FIELDS
        .iter()
        .flat_map(|field| field.column.iter().chain(field.also_columns))
        .copied()
        .collect();
    names.sort_unstable();
    names
}

/// Finds a column by its name or an alias.
///
/// # Errors
/// When there is none, with what to do instead.
pub(crate) fn parse(text: &str) -> Result<Column, String> {
    let name = text.trim().replace('-', "_");
    if let Some((name, field)) = by_column(&name) {
        return Ok(Column {
            name,
            listed: field.listed,
            path: field.path,
        });
    }
    Err(match name.as_str() {
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

/// The help of `instances ls --fields`, which names the columns that cost a call for each instance.
pub(crate) fn help() -> String {
    let of = |in_settings: bool| {
        FIELDS
            .iter()
            .filter(|field| !field.listed)
            .filter(|field| matches!(field.kept, Kept::Settings(_)) == in_settings)
            .filter_map(|field| field.column)
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "Only these, in this order, separated by commas. What lies in an owner's settings ({}) and {} cost one call \
         an instance",
        of(true),
        of(false)
    )
}

/// The values of some fields, in their order. A text that is empty and a time that is not set are null.
///
/// # Errors
/// When the instance has no JSON form.
pub(crate) fn read(
    instance: &Instance,
    columns: &[Column],
) -> Result<Vec<(&'static str, Value)>, CommandError> {
    let mut fields = to_json_fields(instance)?;
    // The three fields whose JSON differs from what people are used to.
    for (path, value) in [
        ("auth_mode", words::auth_mode(instance.auth_mode()).into()),
        ("state", words::state(instance.state()).into()),
        (
            "couch_cluster",
            instance.couch_cluster.unwrap_or_default().into(),
        ),
    ] {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert(path.to_owned(), value);
        }
    }
    let value = |column: &Column| match fields.get(column.path) {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(text)) if text.is_empty() => Value::Null,
        Some(Value::Object(map)) => {
            let mut map = map.clone();
            map.sort_keys();
            Value::Object(map)
        }
        Some(value) => value.clone(),
    };
    Ok(columns
        .iter()
        .map(|column| (column.name, value(column)))
        .collect())
}

#[cfg(test)]
mod tests {
    use hamlet_proto::hamlet::instance::v1::Instance;
    use serde_json::{Value, json};

    use super::{available, parse, read};

    #[test]
    fn columns_are_found_by_their_names_and_aliases() {
        for name in available() {
            assert!(
                parse(name).is_ok_and(|column| column.name == name),
                "{name}"
            );
        }
        for (alias, name) in [
            ("timezone", "tz"),
            ("disk-quota", "disk_quota"),
            ("disk_quota_bytes", "disk_quota"),
            ("tos_signed", "tos"),
            ("context_name", "context"),
        ] {
            assert!(
                parse(alias).is_ok_and(|column| column.name == name),
                "{alias}"
            );
        }
        for (wrong, hint) in [
            ("register_token", "register-link"),
            ("nonsense", "--available-fields"),
            ("name", "--available-fields"),
            ("", "--available-fields"),
        ] {
            assert!(parse(wrong).is_err_and(|error| error.contains(hint)));
        }
    }

    #[test]
    fn an_empty_instance_has_a_value_in_each_column() -> Result<(), Box<dyn std::error::Error>> {
        let columns: Vec<_> = available().into_iter().flat_map(parse).collect();
        let values = read(&Instance::default(), &columns)?;
        assert_eq!(values.len(), available().len());
        for (name, value) in values {
            let expected = match name {
                "auth_mode" => json!("basic"),
                "state" => json!("unknown"),
                // As text: many readers of JSON round integers of 64 bits.
                "disk_quota" => json!("0"),
                "couch_cluster" | "indexes_version" => json!(0),
                "blocked"
                | "deleting"
                | "locked"
                | "magic_link"
                | "no_auto_update"
                | "onboarding_finished" => json!(false),
                "domain_aliases" | "feature_sets" | "sponsorships" => json!([]),
                "labels" | "settings" => json!({}),
                _ => Value::Null,
            };
            assert_eq!(value, expected, "{name}");
        }
        Ok(())
    }

    #[test]
    fn keys_of_a_map_are_sorted() -> Result<(), Box<dyn std::error::Error>> {
        let pairs = ["c", "a", "d", "b"].map(|key| (key.to_owned(), "1".to_owned()));
        let instance = Instance {
            settings: pairs.into(),
            ..Instance::default()
        };
        let values = read(&instance, &[parse("settings")?])?;
        let texts: Vec<_> = values.iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(texts, [r#"{"a":"1","b":"1","c":"1","d":"1"}"#]);
        Ok(())
    }
}
