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
/// The most apps that one token names. Each costs a query whenever the token is looked at.
pub const MOST_APPS: usize = 10;
/// How a rule begins that stands for what an installed app may do.
const LINKED: &str = "@io.cozy.apps/";

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
}

/// The app for which a rule stands, if it does.
#[must_use]
pub fn linked_app(rule: &str) -> Option<&str> {
    rule.strip_prefix(LINKED)
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
    if let Some(app) = linked_app(rule) {
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
        let rule = |doctype: &str, verbs: &[&str], values: &[&str], selector: &str| {
            let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
            Some(Rule {
                doctype: doctype.to_owned(),
                verbs: texts(verbs),
                values: texts(values),
                selector: selector.to_owned(),
                description: String::new(),
            })
        };
        assert_eq!(
            of(json!({"type": "io.cozy.files", "verbs": ["GET"]})),
            rule("io.cozy.files", &["GET"], &[], "")
        );
        assert_eq!(
            of(json!({"type": "io.cozy.files", "values": ["one"], "selector": "name"})),
            rule("io.cozy.files", &[], &["one"], "name")
        );
        assert_eq!(
            Rule::parse("io.cozy.files:GET:one,two"),
            rule("io.cozy.files", &["GET"], &["one", "two"], "")
        );
        assert_eq!(Rule::parse("@io.cozy.apps/drive"), None);
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
}
