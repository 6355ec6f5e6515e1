//! What tokens allow, as far as apps are concerned: rules about their documents.

use serde_json::{Map, Value};

use super::app_type::AppType;

/// The verb of reading.
const READ: &str = "GET";

/// A rule, in a scope or in a permission document.
struct Rule<'a> {
    doctype: &'a str,
    /// Empty for all verbs.
    verbs: Vec<&'a str>,
    /// Empty for all documents.
    values: Vec<&'a str>,
    /// The field that has one of the values; empty for the id.
    selector: &'a str,
}

impl Rule<'_> {
    /// Whether it allows reading an app.
    fn allows(&self, kind: AppType, slug: &str) -> bool {
        let doctype = kind.doctype();
        let covers = self.doctype == doctype
            || self
                .doctype
                .strip_suffix('*')
                .is_some_and(|below| below.ends_with('.') && doctype.starts_with(below));
        let has_verb =
            self.verbs.is_empty() || self.verbs.iter().any(|verb| ["ALL", READ].contains(verb));
        let id = kind.document_id(slug);
        let has_value = self.values.is_empty()
            || match self.selector {
                "" | "_id" => self.values.contains(&id.as_str()),
                "slug" => self.values.contains(&slug),
                // Nothing else of an app is told apart here.
                _ => false,
            };
        covers && has_verb && has_value
    }
}

/// Whether the scope of a token allows reading an app: rules such as `io.cozy.apps:GET`, separated by spaces.
pub(crate) fn scope_allows(scope: &str, kind: AppType, slug: &str) -> bool {
    scope.split(' ').any(|rule| {
        if rule == "*" {
            return true;
        }
        let mut parts = rule.split(':');
        let list = |part: Option<&'_ str>| -> Vec<String> {
            let items = part.unwrap_or_default().split(',');
            let items = items.filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        };
        let doctype = parts.next().unwrap_or_default();
        let (verbs, values) = (list(parts.next()), list(parts.next()));
        let rule = Rule {
            doctype,
            verbs: verbs.iter().map(String::as_str).collect(),
            values: values.iter().map(String::as_str).collect(),
            selector: parts.next().unwrap_or_default(),
        };
        rule.allows(kind, slug)
    })
}

/// The app whose permissions a scope stands for, in the form `@io.cozy.apps/drive`.
pub(crate) fn linked_app(scope: &str) -> Option<&str> {
    scope
        .split(' ')
        .find_map(|rule| rule.strip_prefix("@io.cozy.apps/"))
}

/// Whether the rules of a permission document allow reading an app.
pub(crate) fn permissions_allow(rules: &Map<String, Value>, kind: AppType, slug: &str) -> bool {
    rules.values().any(|rule| {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        let list = |name: &str| -> Vec<&str> {
            let items = rule.get(name).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        let rule = Rule {
            doctype: text("type"),
            verbs: list("verbs"),
            values: list("values"),
            selector: text("selector"),
        };
        rule.allows(kind, slug)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{linked_app, permissions_allow, scope_allows};
    use crate::domain::app_type::AppType::{Konnector, Webapp};

    #[test]
    fn a_scope_allows_what_one_of_its_rules_says() {
        for right in [
            "*",
            "io.cozy.apps",
            "io.cozy.files io.cozy.apps:GET",
            "io.cozy.apps:POST,GET",
            "io.cozy.apps:ALL",
            "io.cozy.apps::io.cozy.apps/drive",
            "io.cozy.apps:GET:drive,home:slug",
            "io.cozy.*",
        ] {
            assert!(scope_allows(right, Webapp, "drive"), "{right}");
        }
        for wrong in [
            "",
            "io.cozy.files",
            "io.cozy.apps:POST",
            "io.cozy.apps:GET:io.cozy.apps/home",
            "io.cozy.apps:GET:ready:state",
            "io.cozy.apps.logs",
            "io.cozy.konnectors",
            "@io.cozy.apps/drive",
        ] {
            assert!(!scope_allows(wrong, Webapp, "drive"), "{wrong}");
        }
        assert!(scope_allows("io.cozy.konnectors", Konnector, "bills"));
        assert_eq!(linked_app("io.cozy.x @io.cozy.apps/drive"), Some("drive"));
    }

    #[test]
    fn permissions_allow_what_one_of_their_rules_says() {
        let allow = |rule: Value| match json!({"a": {"type": "io.cozy.files"}, "b": rule}) {
            Value::Object(rules) => permissions_allow(&rules, Webapp, "drive"),
            _ => false,
        };
        assert!(allow(json!({"type": "io.cozy.apps"})));
        assert!(allow(json!({"type": "io.cozy.apps", "verbs": ["GET"]})));
        assert!(allow(
            json!({"type": "io.cozy.apps", "selector": "slug", "values": ["drive"]})
        ));
        assert!(!allow(json!({"type": "io.cozy.apps", "verbs": ["DELETE"]})));
        assert!(!allow(
            json!({"type": "io.cozy.apps", "values": ["io.cozy.apps/home"]})
        ));
        assert!(!allow(json!({})));
    }
}
