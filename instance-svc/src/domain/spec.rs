//! The spec of a creation: the checked request, with everything that an operation needs to create the instance.

use std::collections::BTreeMap;

pub use identity::invalid_field::InvalidField;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    claim::{Wanted, wanted},
    fields::{Asked, Documents, formats, settable},
    name::Name,
};

/// The maximum number of apps in one creation.
pub const MOST_APPS: usize = 50;

/// The spec of a creation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Spec {
    /// The requested fields; an empty value means none.
    pub asked: Asked,
    /// The apps to install, in the given order.
    pub apps: Vec<String>,
    /// Whether to record how long each step took.
    pub trace: bool,
}

pub(super) fn invalid(field: &str, wrong: impl Into<String>) -> InvalidField {
    InvalidField {
        field: field.to_owned(),
        wrong: wrong.into(),
    }
}

impl Spec {
    /// Checks the request and brings names into their canonical form.
    ///
    /// # Errors
    /// All invalid fields; at least one.
    pub fn check(mut self) -> Result<Self, Vec<InvalidField>> {
        let mut wrong = self.check_apps();
        match self.asked.check(None) {
            Ok(asked) if wrong.is_empty() => {
                self.asked = asked;
                Ok(self)
            }
            Ok(_) => Err(wrong),
            Err(mut fields) => {
                fields.append(&mut wrong);
                Err(fields)
            }
        }
    }

    /// The main domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.asked.text("domain").unwrap_or_default()
    }

    /// Other domains.
    #[must_use]
    pub fn domain_aliases(&self) -> Vec<String> {
        self.asked.texts("domain_aliases").unwrap_or_default()
    }

    /// A former domain; empty when there is none.
    #[must_use]
    pub fn old_domain(&self) -> &str {
        self.asked.text("old_domain").unwrap_or_default()
    }

    /// The language.
    #[must_use]
    pub fn locale(&self) -> &str {
        self.asked.text("locale").unwrap_or_default()
    }

    /// The context; empty for the default one.
    #[must_use]
    pub fn context(&self) -> &str {
        self.asked.text("context").unwrap_or_default()
    }

    /// The requested CouchDB server; `None` to have one drawn.
    #[must_use]
    pub fn couch_cluster(&self) -> Option<i64> {
        self.asked.number("couch_cluster")
    }

    /// The fields of its documents, without the values that are drawn when the documents are made.
    #[must_use]
    pub fn documents(&self) -> Documents {
        let mut documents = Documents::default();
        self.asked.write(&mut documents);
        documents
    }

    /// Whether the owner logs in without a passphrase; a random one that nobody knows is set then.
    #[must_use]
    pub fn is_passwordless(&self) -> bool {
        self.asked.flag("magic_link") == Some(true)
            || self
                .asked
                .text("franceconnect_id")
                .is_some_and(|id| !id.is_empty())
    }

    /// The names to claim, in the order in which they are claimed.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(self.domain(), &self.domain_aliases(), self.old_domain())
    }

    /// The names of the instance, in byte order of their hosts.
    ///
    /// Names are claimed one at a time in this one order, and claiming stops at the first refusal: otherwise
    /// two creations that want each other's names could both lose.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let aliases = self.domain_aliases();
        let mut names: Vec<Name> = [self.domain()]
            .into_iter()
            .chain(aliases.iter().map(String::as_str))
            .filter_map(|text| text.parse().ok())
            .collect();
        names.sort_by(|a, b| a.host().cmp(b.host()));
        names.dedup_by(|a, b| a.host() == b.host());
        names
    }

    fn check_apps(&self) -> Vec<InvalidField> {
        if self.apps.len() > MOST_APPS {
            let wrong = format!("names more than {MOST_APPS} apps; install the others afterwards");
            return vec![invalid("apps", wrong)];
        }
        let apps = self.apps.iter().enumerate();
        apps.filter_map(|(position, app)| {
            let wrong = self.check_app(position, app).err()?;
            Some(invalid(&format!("apps[{position}]"), wrong))
        })
        .collect()
    }

    fn check_app(&self, position: usize, app: &str) -> Result<(), String> {
        if app.is_empty() {
            return Err(
                "is empty; give a slug such as home, or an address such as registry://home/stable"
                    .to_owned(),
            );
        }
        formats::text::check(app)?;
        formats::app::check(app)?;
        if self.apps.iter().take(position).any(|other| other == app) {
            return Err(format!("names {app:?} a second time"));
        }
        Ok(())
    }
}

/// The members of a creation in an operation, in their order. The order must not change, since the MAC of a
/// request is computed over it. Unlisted members follow.
const MEMBERS: [&str; 23] = [
    "domain",
    "domain_aliases",
    "old_domain",
    "locale",
    "context",
    "email",
    "public_name",
    "timezone",
    "phone",
    "settings",
    "uuid",
    "oidc_id",
    "franceconnect_id",
    "magic_link",
    "sponsorships",
    "tos_signed",
    "tos_latest",
    "auth_mode",
    "no_auto_update",
    "disk_quota_bytes",
    APPS,
    "couch_cluster",
    TRACE,
];

/// The fields that are written even when they are empty.
const ALWAYS: [&str; 5] = [
    "domain",
    "locale",
    "auth_mode",
    "no_auto_update",
    "disk_quota_bytes",
];

const APPS: &str = "apps";
const TRACE: &str = "trace";

/// Sorts members into this order; the others follow.
pub(super) fn in_order(mut members: BTreeMap<String, Value>, order: &[&str]) -> Map<String, Value> {
    let mut ordered = Map::new();
    for &name in order {
        if let Some((name, value)) = members.remove_entry(name) {
            ordered.insert(name, value);
        }
    }
    ordered.extend(members);
    ordered
}

impl From<Spec> for Map<String, Value> {
    fn from(spec: Spec) -> Self {
        let mut members = spec.asked.values().clone();
        for path in ALWAYS {
            if let Some(rule) = settable(path) {
                members
                    .entry(path.to_owned())
                    .or_insert_with(|| rule.none());
            }
        }
        if !spec.apps.is_empty() {
            members.insert(APPS.to_owned(), spec.apps.into());
        }
        members.insert(TRACE.to_owned(), spec.trace.into());
        in_order(members, &MEMBERS)
    }
}

/// A member of a stored request has the wrong type.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A field of the instance.
    #[error("{0} has another type")]
    Field(String),
    /// Another member.
    #[error(transparent)]
    Member(#[from] serde_json::Error),
}

impl TryFrom<Map<String, Value>> for Spec {
    type Error = Unreadable;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, Unreadable> {
        let apps = members.remove(APPS).map(serde_json::from_value);
        let trace = members.remove(TRACE).map(serde_json::from_value);
        let mut spec = Self {
            asked: Asked::default(),
            apps: apps.transpose()?.unwrap_or_default(),
            trace: trace.transpose()?.unwrap_or_default(),
        };
        for (path, value) in members {
            let none = settable(&path).is_some_and(|rule| rule.none() == value);
            if !none && !spec.asked.take(&path, value) {
                return Err(Unreadable::Field(path));
            }
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::{Asked, Spec};

    fn spec(change: impl FnOnce(&mut Spec)) -> Spec {
        let mut spec = Spec {
            asked: Asked::default().with("domain", "Bob.Example"),
            ..Spec::default()
        };
        change(&mut spec);
        spec
    }

    fn ask(spec: &mut Spec, path: &str, value: impl Into<Value>) {
        spec.asked = std::mem::take(&mut spec.asked).with(path, value);
    }

    #[test]
    fn names_become_canonical_and_sorted() {
        let checked = spec(|spec| {
            let aliases = json!(["Zoe.example", "alt.example:8080", "ALT.example"]);
            ask(spec, "domain_aliases", aliases);
        })
        .check()
        .unwrap();
        assert_eq!(checked.domain(), "bob.example");
        assert_eq!(
            checked.domain_aliases(),
            ["zoe.example", "alt.example:8080"]
        );
        let names = checked.names();
        let hosts: Vec<_> = names.iter().map(super::Name::host).collect();
        assert_eq!(hosts, ["alt.example", "bob.example", "zoe.example"]);
        assert_eq!(checked.locale(), "en");
    }

    #[test]
    fn each_wrong_field_is_named() {
        type Change = fn(&mut Spec);
        let cases: [(&str, Change); 28] = [
            ("instance.domain", |s| ask(s, "domain", "")),
            ("instance.domain", |s| ask(s, "domain", "a/b")),
            ("instance.domain_aliases[0]", |s| {
                ask(s, "domain_aliases", json!(["bob.example:1"]));
            }),
            ("instance.domain_aliases[1]", |s| {
                ask(s, "domain_aliases", json!(["a.example", "no name"]));
            }),
            ("instance.old_domain", |s| {
                ask(s, "old_domain", "BOB.example");
            }),
            ("instance.locale", |s| ask(s, "locale", "French")),
            ("instance.context", |s| ask(s, "context", "a\nb")),
            ("instance.email", |s| ask(s, "email", "bob")),
            ("instance.public_name", |s| ask(s, "public_name", "a\nb")),
            ("instance.timezone", |s| ask(s, "timezone", "Paris time")),
            ("instance.phone", |s| ask(s, "phone", "call me")),
            ("instance.uuid", |s| ask(s, "uuid", "a/b")),
            ("instance.oidc_id", |s| ask(s, "oidc_id", "élodie")),
            ("instance.sponsorships", |s| {
                ask(s, "sponsorships", json!(["a b"]));
            }),
            ("instance.tos_signed", |s| ask(s, "tos_signed", "x")),
            ("instance.tos_latest", |s| ask(s, "tos_latest", "2.0.0")),
            ("instance.tos_latest", |s| {
                ask(s, "tos_signed", "2.1.0");
                ask(s, "tos_latest", "2.2.0-20250901");
            }),
            ("instance.disk_quota_bytes", |s| {
                ask(s, "disk_quota_bytes", -5);
            }),
            ("instance.settings", |s| {
                ask(s, "settings", json!({"_id": "x"}));
            }),
            ("instance.settings", |s| {
                let many = (0..101).map(|it| (it.to_string(), "x".into()));
                ask(s, "settings", Value::Object(many.collect()));
            }),
            ("instance.settings.locale", |s| {
                ask(s, "settings", json!({"locale": "fr"}));
            }),
            ("instance.settings.offer", |s| {
                ask(s, "settings", json!({"offer": "a\nb"}));
            }),
            ("apps[0]", |s| s.apps = vec![String::new()]),
            ("apps[0]", |s| s.apps = vec!["a\nb".into()]),
            ("apps[0]", |s| s.apps = vec!["ftp://x".into()]),
            ("apps[0]", |s| s.apps = vec!["./home".into()]),
            ("apps[1]", |s| s.apps = vec!["home".into(), "home".into()]),
            ("apps", |s| {
                s.apps = (0..51).map(|it| format!("app{it}")).collect();
            }),
        ];
        for (field, change) in cases {
            let wrong = spec(change).check().unwrap_err();
            let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
            assert_eq!(fields, [field], "{wrong:?}");
        }
    }

    #[test]
    fn all_wrong_fields_are_named_at_once() {
        let wrong = spec(|spec| {
            ask(spec, "email", "bob");
            ask(spec, "locale", "French");
            spec.apps = vec![
                "home".into(),
                String::new(),
                "home".into(),
                "ftp://x".into(),
            ];
            ask(spec, "domain", "x..");
            ask(spec, "domain_aliases", json!(["y.localhost", "123", "0x1"]));
            ask(spec, "old_domain", "1.2.3");
            ask(spec, "settings", json!({"a": "\n", "b": "c", "d": "\n"}));
        })
        .check()
        .unwrap_err();
        let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        let expected = [
            "instance.domain",
            "instance.domain_aliases[1]",
            "instance.domain_aliases[2]",
            "instance.old_domain",
            "instance.locale",
            "instance.settings.a",
            "instance.settings.d",
            "instance.email",
            "apps[1]",
            "apps[2]",
            "apps[3]",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn terms_are_kept_in_their_canonical_form() {
        let checked = spec(|spec| {
            ask(spec, "tos_signed", "20170901");
            ask(spec, "tos_latest", "2.0.0-20250901");
        })
        .check()
        .unwrap();
        assert_eq!(checked.asked.text("tos_signed"), Some("1.0.0-20170901"));
        assert_eq!(checked.asked.text("tos_latest"), Some("2.0.0-20250901"));
    }
}
