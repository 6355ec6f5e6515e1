//! The permissions of a token: a list of rules.
//!
//! | form | meaning |
//! |---|---|
//! | `io.cozy.files` | everything with a doctype |
//! | `io.cozy.files:GET,POST` | some verbs |
//! | `io.cozy.files:GET:one,two` | on some documents |
//! | `io.cozy.files:GET:value:field` | on those with a value in a field |
//! | `io.cozy.bank.*` | every doctype below |
//! | `*` | everything |
//! | `@io.cozy.apps/drive` | what an installed app may do |

use serde_json::Value;

/// The longest rule, in bytes.
const LONGEST: usize = 1024;
/// The most rules in one token.
pub const MOST: usize = 100;

const VERBS: [&str; 6] = ["ALL", "GET", "POST", "PUT", "PATCH", "DELETE"];

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The doctype, or one with a wildcard; `*` for everything.
    pub doctype: String,
    /// The verbs; empty for all.
    pub verbs: Vec<String>,
    /// The documents, or the values of the field; empty for all.
    pub values: Vec<String>,
    /// The field; empty for the id.
    pub selector: String,
    /// What it is for, in the words of the app that asked for it.
    pub description: String,
}

impl Rule {
    /// Reads a rule of a token. `None` for the rule of a linked app, which stands for others, and for what is no rule.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.starts_with('@') {
            return None;
        }
        let list = |text: Option<&str>| {
            let items = text.unwrap_or_default().split(',');
            items
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let mut parts = text.split(':');
        Some(Self {
            doctype: parts.next()?.to_owned(),
            verbs: list(parts.next()),
            values: list(parts.next()),
            selector: parts.next().unwrap_or_default().to_owned(),
            description: String::new(),
        })
    }

    /// Reads a rule of the permissions of an app. `None` for what is no rule.
    #[must_use]
    pub fn of_manifest(rule: &Value) -> Option<Self> {
        let text = |name: &str| {
            let text = rule.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        // What cannot be read must not become a rule for everything.
        let list = |name: &str| match rule.get(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            Some(_) => None,
        };
        let doctype = text("type");
        if doctype.is_empty() || doctype == "*" {
            return None;
        }
        Some(Self {
            doctype,
            verbs: list("verbs")?,
            values: list("values")?,
            selector: text("selector"),
            description: text("description"),
        })
    }

    /// Whether it allows a verb on everything with a doctype. A rule for some documents does not.
    #[must_use]
    pub fn allows(&self, doctype: &str, verb: &str) -> bool {
        self.covers(doctype, verb) && self.values.is_empty()
    }

    /// Whether it allows a verb on one document.
    #[must_use]
    pub fn allows_one(&self, doctype: &str, verb: &str, id: &str) -> bool {
        let names = self.selector.is_empty() && self.values.iter().any(|value| value == id);
        self.covers(doctype, verb) && (self.values.is_empty() || names)
    }

    fn covers(&self, doctype: &str, verb: &str) -> bool {
        let covers = self.doctype == "*"
            || self.doctype == doctype
            || self
                .doctype
                .strip_suffix('*')
                .is_some_and(|below| below.ends_with('.') && doctype.starts_with(below));
        let has_verb = self.verbs.is_empty()
            || self
                .verbs
                .iter()
                .any(|given| given == "ALL" || given == verb);
        covers && has_verb
    }
}

/// Whether rules, separated by spaces, allow a verb on everything with a doctype. Rules for some documents do not.
#[must_use]
pub fn allows(rules: &str, doctype: &str, verb: &str) -> bool {
    let mut rules = rules.split(' ').filter_map(Rule::parse);
    rules.any(|rule| rule.allows(doctype, verb))
}

/// Checks one rule.
///
/// # Errors
/// What is wrong with it, and what would be valid.
pub fn check(rule: &str) -> Result<(), String> {
    if rule.is_empty() {
        return Err("is empty; name a doctype such as io.cozy.files:GET".to_owned());
    }
    if rule.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes; use several rules"));
    }
    // Rules are separated by spaces in the token.
    if !rule.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "holds a space or a character that is not ASCII; give each rule by itself".to_owned(),
        );
    }
    if rule == "*" {
        return Ok(());
    }
    if let Some(app) = rule.strip_prefix("@io.cozy.apps/") {
        return if is_slug(app) {
            Ok(())
        } else {
            Err(format!(
                "{app:?} is no slug of an app; one looks like drive"
            ))
        };
    }
    let mut parts = rule.split(':');
    check_doctype(parts.next().unwrap_or_default())?;
    if let Some(verbs) = parts.next().filter(|verbs| !verbs.is_empty()) {
        for verb in verbs.split(',') {
            if !VERBS.contains(&verb) {
                return Err(format!("{verb:?} is no verb; use {}", VERBS.join(", ")));
            }
        }
    }
    if parts.count() > 2 {
        return Err(
            "has more than four parts; it looks like doctype:verbs:values:field".to_owned(),
        );
    }
    Ok(())
}

/// Lower-case letters, digits, `_`, and single dots between them; `.*` at the end if the rest is long enough.
fn check_doctype(doctype: &str) -> Result<(), String> {
    let wildcard = doctype.strip_suffix(".*");
    if wildcard.is_some() && doctype.matches('.').count() < 3 {
        return Err(format!(
            "{doctype:?} covers too much; a doctype before .* has three parts, as in io.cozy.bank.*"
        ));
    }
    let well_formed = wildcard.unwrap_or(doctype).split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    });
    if well_formed {
        Ok(())
    } else {
        Err(format!(
            "{doctype:?} is no doctype; it looks like io.cozy.files"
        ))
    }
}

/// Whether a string is a valid slug of an app or konnector.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use serde_json::json;

    use super::{Rule, check};

    #[test]
    fn rules_are_distinguished_from_other_texts() {
        for right in [
            "*",
            "io.cozy.files",
            "io.cozy.files:GET",
            "io.cozy.files:GET,POST:io.cozy.files.root-dir,x",
            "io.cozy.files::a",
            "io.cozy.files:ALL:tag:labels",
            "io.cozy.bank.*",
            "com.bitwarden.ciphers",
            "io.cozy.account_types",
            "@io.cozy.apps/drive",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        let long = "a".repeat(2000);
        for wrong in [
            "",
            "io.cozy.files io.cozy.apps",
            "io.cozy.files,io.cozy.apps",
            "io.cozy.files:READ",
            "io.cozy.files:get",
            "io.cozy.files:GET,",
            "io..cozy",
            ".io.cozy",
            "io.cozy.",
            "IO.cozy.files",
            "io.*",
            "*.*",
            "io.cozy.files:GET:a:b:c",
            "@io.cozy.apps/",
            "@io.cozy.apps/Drive",
            "@drive",
            "é",
            "a\nb",
            long.as_str(),
        ] {
            let why = check(wrong).unwrap_err();
            assert!(!why.is_empty(), "{wrong}");
        }
    }

    proptest! {
        /// An accepted rule contains no separator: in a token it cannot be read as two rules.
        #[test]
        fn no_rule_holds_a_separator(text in "\\PC{0,60}") {
            if check(&text).is_ok() {
                prop_assert_eq!(text.split_whitespace().count(), 1);
            }
        }
    }

    #[test]
    fn rules_of_an_app_are_read_and_nothing_becomes_more_than_it_was() {
        let of = |rule| Rule::of_manifest(&rule);
        let files = of(json!({"type": "io.cozy.files", "verbs": ["GET"], "description": "x"}));
        assert!(files.as_ref().unwrap().allows("io.cozy.files", "GET"));
        assert!(!files.unwrap().allows("io.cozy.files", "POST"));
        let some = of(json!({"type": "io.cozy.files", "values": ["one"], "selector": "name"}));
        let some = some.unwrap();
        assert!(!some.allows("io.cozy.files", "GET"));
        assert!(!some.allows_one("io.cozy.files", "GET", "one"));
        let one = Rule::parse("io.cozy.files:GET:one,two").unwrap();
        assert!(one.allows_one("io.cozy.files", "GET", "two"));
        assert!(!one.allows_one("io.cozy.files", "PUT", "two"));
        assert!(!one.allows_one("io.cozy.files", "GET", "three"));
        for wrong in [
            json!({}),
            json!("io.cozy.files"),
            json!({"type": "*"}),
            json!({"type": "io.cozy.files", "verbs": "GET"}),
            json!({"type": "io.cozy.files", "values": [1]}),
        ] {
            assert_eq!(of(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn a_rule_allows_a_verb_on_a_doctype() {
        for (rules, allowed) in [
            ("io.cozy.apps", true),
            ("*", true),
            ("io.cozy.files io.cozy.apps:GET,POST", true),
            ("io.cozy.apps:ALL", true),
            ("io.cozy.apps.*", false),
            ("io.cozy.apps:POST", false),
            ("io.cozy.apps:GET:home", false),
            ("io.cozy.app", false),
            ("io.cozy.appstore", false),
            ("", false),
        ] {
            assert_eq!(
                super::allows(rules, "io.cozy.apps", "GET"),
                allowed,
                "{rules}"
            );
        }
        assert!(super::allows(
            "io.cozy.bank.*",
            "io.cozy.bank.accounts",
            "PUT"
        ));
        assert!(!super::allows("io.cozy.bank.*", "io.cozy.bankers", "PUT"));
    }
}
