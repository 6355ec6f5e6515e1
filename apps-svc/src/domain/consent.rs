//! What a new version of an app asks for beyond what its owner has granted. It waits until that is granted, too.

use serde_json::{Map, Value};

use super::app_type::AppType;

/// What konnectors may have without being asked for: certificates that their documents carry.
const FREE_FOR_KONNECTORS: [&str; 2] = [
    "io.cozy.certified.carbon_copy",
    "io.cozy.certified.electronic_safe",
];

/// The rules of a new version that no granted rule covers, by their names. Names and descriptions do not count, and asking for
/// less is not asking for more.
pub(crate) fn beyond(
    kind: AppType,
    granted: &Map<String, Value>,
    asked: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let asked = asked.into_iter().flatten();
    asked
        .filter(|(_, rule)| {
            let is_free =
                kind == AppType::Konnector && FREE_FOR_KONNECTORS.contains(&text(rule, "type"));
            !is_free && !granted.values().any(|granted| covers(granted, rule))
        })
        .map(|(name, rule)| (name.clone(), rule.clone()))
        .collect()
}

/// The rules that an app was granted besides those of its manifest.
pub(crate) fn extras(
    granted: &Map<String, Value>,
    of_manifest: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let is_extra = |name: &String| of_manifest.is_none_or(|rules| !rules.contains_key(name));
    let granted = granted.iter().filter(|(name, _)| is_extra(name));
    granted
        .map(|(name, rule)| (name.clone(), rule.clone()))
        .collect()
}

fn covers(granted: &Value, asked: &Value) -> bool {
    let (of, to) = (text(granted, "type"), text(asked, "type"));
    let has_doctype = of == to
        || of.strip_suffix(".*").is_some_and(|above| {
            let below = to.strip_prefix(above);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        });
    let is_within = |name: &str| {
        let (given, wanted) = (list(granted, name), list(asked, name));
        // An empty list is for all.
        given.is_empty() || !wanted.is_empty() && wanted.iter().all(|it| given.contains(it))
    };
    let has_values = list(granted, "values").is_empty()
        || text(granted, "selector") == text(asked, "selector") && is_within("values");
    has_doctype && is_within("verbs") && has_values
}

fn text<'a>(rule: &'a Value, name: &str) -> &'a str {
    rule.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(rule: &'a Value, name: &str) -> Vec<&'a str> {
    let items = rule.get(name).and_then(Value::as_array);
    let items = items.into_iter().flatten().filter_map(Value::as_str);
    // Other software may have stored it so.
    let items: Vec<&str> = items.collect();
    if name == "verbs" && items.contains(&"ALL") {
        return Vec::new();
    }
    items
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Map, Value, json};

    use super::{beyond, extras};
    use crate::domain::app_type::AppType::{self, Konnector, Webapp};

    fn rules(rules: &Value) -> Map<String, Value> {
        rules.as_object().unwrap().clone()
    }

    fn asks_for_more(kind: AppType, granted: &Value, asked: &Value) -> bool {
        let (granted, asked) = (json!({"a": granted}), json!({"b": asked}));
        !beyond(kind, &rules(&granted), Some(&rules(&asked))).is_empty()
    }

    #[test]
    fn a_rule_is_new_if_no_granted_rule_covers_it() {
        let files = json!({"type": "io.cozy.files"});
        let reading = json!({"type": "io.cozy.files", "verbs": ["GET"]});
        let both = json!({"type": "io.cozy.files", "verbs": ["GET", "POST"]});
        let one = json!({"type": "io.cozy.files", "values": ["x"]});
        let named = json!({"type": "io.cozy.files", "values": ["x"], "selector": "name"});
        let told = json!({"type": "io.cozy.files", "description": "other words"});
        let all = json!({"type": "io.cozy.files", "verbs": ["ALL"]});
        for (granted, asked, is_more) in [
            (&files, &files, false),
            (&files, &told, false),
            (&files, &reading, false),
            (&files, &one, false),
            (&all, &files, false),
            (&files, &all, false),
            (&both, &reading, false),
            (&reading, &both, true),
            (&reading, &files, true),
            (&reading, &all, true),
            (&one, &files, true),
            (&one, &named, true),
            (&named, &named, false),
        ] {
            assert_eq!(
                asks_for_more(Webapp, granted, asked),
                is_more,
                "{granted} {asked}"
            );
        }
        let bank = json!({"type": "io.cozy.bank.*"});
        let account = json!({"type": "io.cozy.bank.accounts"});
        assert!(!asks_for_more(Webapp, &bank, &account));
        assert!(asks_for_more(Webapp, &account, &bank));
        let copy = json!({"type": "io.cozy.certified.carbon_copy"});
        assert!(!asks_for_more(Konnector, &files, &copy));
        assert!(asks_for_more(Webapp, &files, &copy));
        assert!(beyond(Webapp, &Map::new(), None).is_empty());
    }

    #[test]
    fn what_was_granted_besides_the_manifest_is_kept() {
        let granted = json!({"files": {"type": "io.cozy.files"}, "more": {"type": "io.cozy.x"}});
        let manifest = json!({"files": {"type": "io.cozy.files"}});
        let kept = extras(&rules(&granted), Some(&rules(&manifest)));
        assert_eq!(Value::Object(kept), json!({"more": {"type": "io.cozy.x"}}));
        assert_eq!(extras(&rules(&granted), None).len(), 2);
    }
}
