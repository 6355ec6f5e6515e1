//! What `--fields` takes, and the values it prints.

use std::sync::LazyLock;

use hamlet_proto::{
    fields::{FIELDS, Field, Kept, by_column},
    hamlet::instance::v1::Instance,
    json::to_json_fields,
};
use serde_json::Value;

use super::words;
use crate::{error::CommandError, flags::format::Format, output::time};

/// A field that `--fields` named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// The name under which it is printed: that of the JSON form.
    pub(crate) name: &'static str,
    /// Whether lists have it; otherwise each instance has to be asked for.
    pub(crate) listed: bool,
    path: &'static str,
}

/// The fields that are columns, by their names in the JSON form.
static COLUMNS: LazyLock<Vec<(String, &'static Field)>> = LazyLock::new(|| {
    let columns = FIELDS.iter().filter(|field| field.column.is_some());
    columns
        .map(|field| (json_name(field.path), field))
        .collect()
});

/// What the headers of lists call a field.
const HEADERS: [(&str, &str); 5] = [
    ("aliases", "domain_aliases"),
    ("created", "create_time"),
    ("indexes", "indexes_version"),
    ("owner", "onboarding_finished"),
    ("quota", "disk_quota_bytes"),
];

/// The name of a field in the JSON form: `diskQuotaBytes`.
fn json_name(path: &str) -> String {
    let mut name = String::new();
    for word in path.split('_') {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if !name.is_empty() => name.extend(first.to_uppercase()),
            Some(first) => name.push(first),
            None => {}
        }
        name.push_str(letters.as_str());
    }
    name
}

/// The names of all columns, sorted.
pub(crate) fn available() -> Vec<&'static str> {
    let mut names: Vec<_> = COLUMNS.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Finds a column by its name, or by another one that was or is in use.
///
/// # Errors
/// When there is none, with what to do instead.
pub(crate) fn parse(text: &str) -> Result<Column, String> {
    let name = text.trim().replace('-', "_");
    let header = HEADERS.iter().find(|(header, _)| *header == name);
    let path = match (by_column(&name), header) {
        (Some((_, field)), _) => field.path,
        (None, Some((_, path))) => path,
        (None, None) => name.as_str(),
    };
    let found = COLUMNS
        .iter()
        .find(|(json, field)| field.path == path || *json == name);
    if let Some((name, field)) = found {
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
            .filter(|field| field.column.is_some())
            .map(|field| json_name(field.path))
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

/// The values of some fields, in their order. A text that is empty and a time that is not set are null. Programs that read
/// JSON get the values of the JSON form; tables have words, and times as people read them.
///
/// # Errors
/// When the instance has no JSON form.
pub(crate) fn read(
    instance: &Instance,
    columns: &[Column],
    format: Format,
) -> Result<Vec<(&'static str, Value)>, CommandError> {
    let mut fields = to_json_fields(instance)?;
    let is_json = matches!(format, Format::Json | Format::Yaml);
    let words = [
        ("auth_mode", words::auth_mode(instance.auth_mode())),
        ("state", words::state(instance.state())),
    ];
    if let Some(fields) = fields.as_object_mut() {
        let cluster = instance.couch_cluster.unwrap_or_default();
        fields.insert("couch_cluster".to_owned(), cluster.into());
        for (path, word) in words.into_iter().filter(|_| !is_json) {
            fields.insert(path.to_owned(), word.into());
        }
    }
    let value = |column: &Column| match fields.get(column.path) {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(text)) if text.is_empty() => Value::Null,
        Some(Value::String(text)) if is_time(column.path) && format.is_table() => {
            time::moment_of(text).into()
        }
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

fn is_time(path: &str) -> bool {
    path.ends_with("_time") || path == "debug_until"
}

#[cfg(test)]
mod tests {
    use hamlet_proto::{hamlet::instance::v1::Instance, json::to_json};
    use serde_json::{Value, json};

    use super::{available, parse, read};
    use crate::flags::format::Format;

    #[test]
    fn columns_are_found_by_their_names_and_aliases() {
        for name in available() {
            assert!(
                parse(name).is_ok_and(|column| column.name == name),
                "{name}"
            );
        }
        for (alias, name) in [
            ("tz", "timezone"),
            ("disk-quota", "diskQuotaBytes"),
            ("disk_quota", "diskQuotaBytes"),
            ("disk_quota_bytes", "diskQuotaBytes"),
            ("domain_aliases", "domainAliases"),
            ("tos", "tosSigned"),
            ("context_name", "context"),
            ("db_prefix", "prefix"),
            ("quota", "diskQuotaBytes"),
            ("created", "createTime"),
            ("aliases", "domainAliases"),
            ("owner", "onboardingFinished"),
            ("indexes", "indexesVersion"),
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
        let values = read(&Instance::default(), &columns, Format::Table)?;
        assert_eq!(values.len(), available().len());
        for (name, value) in values {
            let expected = match name {
                "authMode" => json!("basic"),
                "state" => json!("unknown"),
                // As text: many readers of JSON round integers of 64 bits.
                "diskQuotaBytes" => json!("0"),
                "couchCluster" | "indexesVersion" => json!(0),
                "blocked" | "deleting" | "locked" | "magicLink" | "noAutoUpdate"
                | "onboardingFinished" => json!(false),
                "domainAliases" | "featureSets" | "sponsorships" | "warnings" => json!([]),
                "featureFlags" | "labels" | "settings" => json!({}),
                _ => Value::Null,
            };
            assert_eq!(value, expected, "{name}");
        }
        Ok(())
    }

    #[test]
    fn names_and_values_are_those_of_the_json_form() -> Result<(), Box<dyn std::error::Error>> {
        let mut instance = Instance {
            domain: "a.example".to_owned(),
            domain_aliases: vec!["b.example".to_owned()],
            disk_quota_bytes: 5,
            couch_cluster: Some(1),
            ..Instance::default()
        };
        instance.set_state(hamlet_proto::hamlet::instance::v1::instance::State::Onboarded);
        let whole = to_json(&instance)?;
        let names = whole.as_object().ok_or("no object")?;
        let columns: Vec<_> = names.keys().flat_map(|name| parse(name)).collect();
        assert_eq!(columns.len(), names.len());
        for (name, value) in read(&instance, &columns, Format::Json)? {
            assert_eq!(names.get(name), Some(&value), "{name}");
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
        let values = read(&instance, &[parse("settings")?], Format::Table)?;
        let texts: Vec<_> = values.iter().map(|(_, value)| value.to_string()).collect();
        assert_eq!(texts, [r#"{"a":"1","b":"1","c":"1","d":"1"}"#]);
        Ok(())
    }
}
