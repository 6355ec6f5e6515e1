//! Manifests: how an app describes itself. They are validated when they are read.

mod steps;

use serde_json::{Map, Value, json};

use super::{app_type::AppType, path, permissions, slug, version};

/// The largest manifest, in bytes.
pub(crate) const LARGEST: usize = 2 << 20;

/// Members that only the server writes. They are dropped from manifests.
const SERVER_OWNED: [&str; 8] = [
    "state",
    "checksum",
    "source",
    "error",
    "available_version",
    "created_at",
    "updated_at",
    "slug",
];

/// The kinds of triggers that a service may use.
const TRIGGERS: [&str; 11] = [
    "@cron", "@every", "@at", "@in", "@event", "@hourly", "@daily", "@weekly", "@monthly",
    "@webhook", "@client",
];

/// The date that means "no trigger".
const NEVER: &str = "@at 2000-01-01T00:00:00.000Z";

/// Members of a notification, in the order in which they are stored.
const NOTIFICATION: [&str; 8] = [
    "description",
    "collapsible",
    "multiple",
    "stateful",
    "default_priority",
    "time_to_live",
    "templates",
    "min_interval",
];

/// A validated manifest, in the form in which it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The slug in the manifest, if it is valid.
    pub(crate) own_slug: Option<String>,
    /// The version; may be empty.
    pub(crate) version: String,
    /// The permission rules; `None` when the manifest has none.
    pub(crate) permissions: Option<Map<String, Value>>,
    /// The triggers of its services.
    pub(crate) triggers: Vec<Trigger>,
    /// The members of the app's document that come from the manifest, sorted by name.
    pub(crate) members: Map<String, Value>,
}

/// A trigger that runs a service automatically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// The name of the service.
    pub(crate) service: String,
    /// For example `@every`.
    pub(crate) kind: String,
    /// For example `24h`.
    pub(crate) arguments: String,
    /// How long to wait for further events before the service runs, such as `5m`; may be empty.
    pub(crate) debounce: String,
}

impl Manifest {
    /// Parses the bytes of a manifest.
    ///
    /// # Errors
    /// A message that says what is wrong and what a valid value looks like.
    pub(crate) fn from_bytes(kind: AppType, bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        let value =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))?;
        Self::from_json(kind, value)
    }

    /// Validates a manifest.
    ///
    /// # Errors
    /// A message that says what is wrong and what a valid value looks like.
    pub(crate) fn from_json(kind: AppType, value: Value) -> Result<Self, String> {
        let Value::Object(mut given) = value else {
            return Err("it is no JSON object".to_owned());
        };
        check_type(kind, &given)?;
        for text in ["name", "name_prefix", "editor", "icon", "version", "slug"] {
            if given
                .get(text)
                .is_some_and(|value| !value.is_string() && !value.is_null())
            {
                return Err(format!("{text}: is no text"));
            }
        }
        let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = text("version").to_owned();
        if !version::is_plain(&version) {
            let shown: String = version.chars().take(80).collect();
            return Err(format!(
                "version: {shown:?} is no version; one looks like 1.2.3"
            ));
        }
        steps::stay_inside(&given)?;
        stays_inside(&given, &["icon", "screenshots", "on_delete_account"])?;
        if let Some(Value::Object(partnership)) = given.get("partnership") {
            stays_inside(partnership, &["icon"]).map_err(|wrong| format!("partnership.{wrong}"))?;
        }
        let own_slug = Some(text("slug").to_owned()).filter(|text| slug::wrong(text).is_none());
        let permissions = permissions::read(given.get("permissions"))?;
        given.retain(|name, _| !name.starts_with('_') && !SERVER_OWNED.contains(&name.as_str()));
        let mut members: Map<String, Value> = given
            .into_iter()
            .map(|(name, value)| (name, sorted(value)))
            .collect();
        members.insert("type".to_owned(), json!(kind.as_str()));
        members.insert(
            "permissions".to_owned(),
            permissions.clone().map_or_else(|| json!({}), Value::Object),
        );
        let triggers = match kind {
            AppType::Webapp => webapp(&mut members)?,
            AppType::Konnector => {
                if members.get("parameters").is_some_and(Value::is_null) {
                    members.shift_remove("parameters");
                }
                Vec::new()
            }
        };
        Ok(Self {
            own_slug,
            version,
            permissions,
            triggers,
            members,
        })
    }
}

/// Checks that these members are paths in the app. A path may begin with a slash, which is the top of the app.
fn stays_inside(members: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    for name in names {
        let texts: Vec<&str> = match members.get(*name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        for text in texts {
            path::plain(text.trim_start_matches('/').as_bytes())
                .map_err(|wrong| format!("{name}: {wrong}"))?;
        }
    }
    Ok(())
}

fn check_type(kind: AppType, given: &Map<String, Value>) -> Result<(), String> {
    let other = match kind {
        AppType::Webapp => AppType::Konnector,
        AppType::Konnector => AppType::Webapp,
    };
    match given.get("type") {
        Some(Value::String(text)) if text == other.as_str() => Err(format!(
            "type: it is a {text}, and a {} was asked for",
            kind.as_str()
        )),
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err("type: is no text".to_owned()),
    }
}

/// Converts the members that only web apps have to their stored form. Returns the triggers of the app's services.
fn webapp(members: &mut Map<String, Value>) -> Result<Vec<Trigger>, String> {
    let terms = object(members, "terms")?.unwrap_or_default();
    let term = |name: &str| terms.get(name).and_then(Value::as_str).unwrap_or_default();
    let terms = json!({ "url": term("url"), "version": term("version") });
    members.insert("terms".to_owned(), terms);

    let routes = match object(members, "routes")? {
        Some(routes) => each(routes, "routes", |route| {
            let route = fields(
                route,
                &[
                    ("folder", json!("")),
                    ("index", json!("")),
                    ("public", json!(false)),
                ],
            )?;
            stays_inside(&route, &["folder", "index"])?;
            Ok(route)
        })?,
        None => json!({"/": {"folder": "/", "index": "index.html", "public": false}}),
    };
    members.insert("routes".to_owned(), routes);

    let mut triggers = Vec::new();
    let services = match object(members, "services")? {
        Some(services) => each_named(services, "services", |name, service| {
            let service = fields(
                service,
                &[
                    ("type", json!("")),
                    ("file", json!("")),
                    ("debounce", json!("")),
                    ("trigger", json!("")),
                ],
            )?;
            stays_inside(&service, &["file"])?;
            triggers.extend(trigger(name, &service)?);
            let mut service = service;
            service.insert("trigger_id".to_owned(), json!(""));
            Ok(service)
        })?,
        None => Value::Null,
    };
    members.insert("services".to_owned(), services);

    let intents = match members.get("intents") {
        None | Some(Value::Null) => Value::Null,
        Some(Value::Array(intents)) => intents
            .iter()
            .map(|intent| {
                let Value::Object(intent) = intent else {
                    return Err("intents: holds what is no object".to_owned());
                };
                let types = intent.get("type").cloned().unwrap_or(Value::Null);
                fields(intent, &[("action", json!("")), ("href", json!(""))])
                    .map(|known| {
                        json!({"action": known.get("action"), "type": types, "href": known.get("href")})
                    })
                    .map_err(|wrong| format!("intents: {wrong}"))
            })
            .collect::<Result<Value, String>>()?,
        Some(_) => return Err("intents: is no array".to_owned()),
    };
    members.insert("intents".to_owned(), intents);

    let notifications = match object(members, "notifications")? {
        Some(kinds) => each(kinds, "notifications", |kind| {
            let mut rest = kind.clone();
            let mut stored = Map::new();
            for name in NOTIFICATION {
                if let Some(value) = rest.shift_remove(name) {
                    stored.insert(name.to_owned(), value);
                }
            }
            stored.extend(rest);
            Ok(stored)
        })?,
        None => Value::Null,
    };
    members.insert("notifications".to_owned(), notifications);

    let locales = object(members, "locales")?.map_or(Value::Null, Value::Object);
    members.insert("locales".to_owned(), locales);
    Ok(triggers)
}

fn trigger(service: &str, fields: &Map<String, Value>) -> Result<Option<Trigger>, String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let asked = text("trigger");
    if asked.is_empty() || asked == NEVER {
        return Ok(None);
    }
    let (kind, arguments) = asked.split_once(' ').unwrap_or((asked, ""));
    if !TRIGGERS.contains(&kind) {
        return Err(format!(
            "trigger: {kind:?} is none of {}",
            TRIGGERS.join(", ")
        ));
    }
    Ok(Some(Trigger {
        service: service.to_owned(),
        kind: kind.to_owned(),
        arguments: arguments.to_owned(),
        debounce: text("debounce").to_owned(),
    }))
}

fn object(members: &Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(format!("{name}: is no object")),
    }
}

fn each(
    objects: Map<String, Value>,
    of: &str,
    mut make: impl FnMut(&Map<String, Value>) -> Result<Map<String, Value>, String>,
) -> Result<Value, String> {
    each_named(objects, of, |_, object| make(object))
}

fn each_named(
    objects: Map<String, Value>,
    of: &str,
    mut make: impl FnMut(&str, &Map<String, Value>) -> Result<Map<String, Value>, String>,
) -> Result<Value, String> {
    objects
        .into_iter()
        .map(|(name, value)| {
            let Value::Object(object) = &value else {
                return Err(format!("{of}.{name}: is no object"));
            };
            let made = make(&name, object).map_err(|wrong| format!("{of}.{name}.{wrong}"))?;
            Ok((name, Value::Object(made)))
        })
        .collect::<Result<Map<_, _>, String>>()
        .map(Value::Object)
}

/// Returns exactly these members, in this order. A missing member gets its default; one of another type is an error.
fn fields(
    given: &Map<String, Value>,
    wanted: &[(&str, Value)],
) -> Result<Map<String, Value>, String> {
    wanted
        .iter()
        .map(|(name, default)| {
            let value = match given.get(*name) {
                None | Some(Value::Null) => default.clone(),
                Some(value) if value.is_string() && default.is_string() => value.clone(),
                Some(value) if value.is_boolean() && default.is_boolean() => value.clone(),
                Some(_) if default.is_boolean() => {
                    return Err(format!("{name}: is neither true nor false"));
                }
                Some(_) => return Err(format!("{name}: is no text")),
            };
            Ok(((*name).to_owned(), value))
        })
        .collect()
}

/// The same value with the members of each object sorted, as they are stored.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::json;

    use super::Manifest;
    use crate::domain::app_type::AppType;

    #[test]
    fn members_owned_by_the_server_are_dropped() {
        let manifest = Manifest::from_json(
            AppType::Webapp,
            json!({
                "state": "ready", "checksum": "f", "source": "file:///etc", "error": "e", "_deleted": true,
                "available_version": "9", "created_at": "1999", "_id": "x", "name": "N",
                "services": {"x": {"type": "node", "file": "app.js", "trigger_id": "another's"}},
            }),
        )
        .unwrap();
        for name in [
            "state",
            "checksum",
            "source",
            "error",
            "_deleted",
            "_id",
            "created_at",
        ] {
            assert!(!manifest.members.contains_key(name), "{name}");
        }
        let services = manifest.members.get("services").unwrap();
        assert_eq!(services.pointer("/x/trigger_id").unwrap(), "");
    }

    #[test]
    fn errors_name_the_invalid_member() {
        let wrong = |value| Manifest::from_json(AppType::Webapp, value).unwrap_err();
        assert!(wrong(json!({"type": "konnector"})).contains("a webapp was asked for"));
        assert!(wrong(json!({"version": "../home/1.0.0"})).contains("version"));
        assert!(wrong(json!({"routes": {"/": {"public": "yes"}}})).starts_with("routes./.public"));
        assert!(
            wrong(json!({"services": {"s": {"trigger": "@sometimes"}}}))
                .starts_with("services.s.trigger")
        );
        assert!(wrong(json!({"permissions": {"all": {"type": "io.cozy.*"}}})).contains("too wide"));
        assert!(wrong(json!([])).contains("no JSON object"));
        for outside in [
            json!({"icon": "../../etc/passwd"}),
            json!({"screenshots": ["a.png", "/../b.png"]}),
            json!({"on_delete_account": "../../x.js"}),
            json!({"partnership": {"icon": "a/../../b"}}),
            json!({"routes": {"/": {"folder": "/../../.."}}}),
            json!({"routes": {"/": {"folder": "/", "index": "../x.html"}}}),
            json!({"services": {"s": {"file": "services/../../s.js"}}}),
            json!({"routes": {"/../../..": {"folder": "/", "index": "x.html"}}}),
            json!({"routes": {"/": {"folder": "/%2e%2e/%2E."}}}),
            json!({"locales": {"fr": {"screenshots": ["../../x.png"]}}}),
            json!({"tiles": [{"icon": "../../x"}]}),
            json!({"intents": [{"action": "A", "type": [], "href": "/../../../x"}]}),
            json!({"serviceworkers": [{"src": "..\\..\\x.js", "scope": "/"}]}),
            json!({"anything": {"deep": [{"path": "a/.%2e/b c"}]}}),
        ] {
            assert!(wrong(outside.clone()).contains(".."), "{outside}");
        }
    }

    #[test]
    fn paths_in_the_app_are_kept_as_they_are() {
        let manifest = Manifest::from_json(
            AppType::Webapp,
            json!({
                "icon": "/public/icon.svg",
                "routes": {"/": {"folder": "/", "index": "index.html"}, "/p": {"folder": "/public/"}},
                "services": {"s": {"file": "services/s.js"}},
                "intents": [{"action": "A", "type": [], "href": "/#/a..b?c=..."}],
                "short_description": "Two dots .. and a path / in words",
                "editor_url": "https://example.org/a/../b",
                "permissions": {"p": {"type": "io.cozy.files", "values": ["../x"]}},
            }),
        )
        .unwrap();
        assert_eq!(manifest.members["icon"], "/public/icon.svg");
        assert_eq!(manifest.members["routes"]["/p"]["folder"], "/public/");
    }
}
