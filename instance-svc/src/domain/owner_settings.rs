//! What owners change of their instance by programs of theirs: the attributes of `PUT /settings/instance`.

use serde_json::{Map, Value};

use super::{fields::Asked, spec::InvalidField};

/// Attributes that are shown to owners, and that they cannot change here.
const FIXED: [&str; 12] = [
    "auth_mode",
    "context",
    "moved_from",
    "moved_to",
    "oidc_id",
    "onboarding_finished",
    "org_domain",
    "org_id",
    "password_defined",
    "sponsorships",
    "tos",
    "uuid",
];
/// Attributes of documents in general, which say nothing about the owner.
const IGNORED: [&str; 4] = ["cozyMetadata", "_id", "_rev", "tos_latest"];

/// The attributes that differ from the `present` ones, as fields of the instance. What is left out stays: clients of other
/// versions know other attributes.
///
/// # Errors
/// The attributes that an owner cannot change, or not so.
pub(crate) fn wanted(
    present: &Map<String, Value>,
    given: &Map<String, Value>,
) -> Result<Asked, Vec<InvalidField>> {
    let mut asked = Asked::default();
    let mut wrong = Vec::new();
    for (name, value) in given {
        let now = present.get(name).unwrap_or(&Value::Null);
        if value == now || is_nothing(value) && is_nothing(now) || IGNORED.contains(&name.as_str())
        {
            continue;
        }
        match field_of(name, value) {
            Ok((path, value)) => asked = asked.with(&path, value),
            Err(told) => wrong.push(InvalidField {
                field: name.clone(),
                wrong: told.to_owned(),
            }),
        }
    }
    if wrong.is_empty() {
        Ok(asked)
    } else {
        Err(wrong)
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value == ""
}

fn field_of(name: &str, value: &Value) -> Result<(String, Value), &'static str> {
    if FIXED.contains(&name) {
        return Err("is not for the owner to change; send it as it is, or leave it out");
    }
    if name == "auto_update" {
        let on = value.as_bool().ok_or("is neither true nor false")?;
        return Ok(("no_auto_update".to_owned(), (!on).into()));
    }
    let text = match value {
        Value::Null => "",
        Value::String(text) => text,
        _ => return Err("is no text; settings are texts"),
    };
    let path = match name {
        "email" | "public_name" | "phone" | "locale" => name.to_owned(),
        "tz" => "timezone".to_owned(),
        other => format!("settings.{other}"),
    };
    Ok((path, text.into()))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Map, Value, json};

    use super::wanted;

    fn members(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn present() -> Map<String, Value> {
        members(&json!({
            "email": "a@example.org", "tz": "Europe/Paris", "locale": "en", "context": "", "auto_update": true,
            "default_redirection": "home/", "uuid": "u", "password_defined": true
        }))
    }

    #[test]
    fn only_what_differs_is_asked_for() {
        let mut given = present();
        given.remove("uuid");
        given.extend(members(&json!({
            "email": "b@example.org", "tz": "Europe/Berlin", "auto_update": false, "default_redirection": "drive/#/",
            "phone": null, "cozyMetadata": {"x": 1}
        })));
        let asked = wanted(&present(), &given).unwrap();
        assert_eq!(
            json!(asked.values()),
            json!({
                "email": "b@example.org", "timezone": "Europe/Berlin", "no_auto_update": true,
                "settings.default_redirection": "drive/#/"
            })
        );
        assert!(wanted(&present(), &present()).unwrap().values().is_empty());
    }

    #[test]
    fn what_is_not_the_owners_is_refused_by_its_name() {
        let given = members(
            &json!({"uuid": "other", "context": "rich", "tz": 5, "email": "b@example.org"}),
        );
        let wrong = wanted(&present(), &given).unwrap_err();
        let names: Vec<&str> = wrong.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(names, ["uuid", "context", "tz"]);
    }
}
