//! What is asked of a creation, checked: everything an operation needs to make the instance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    claim::{Wanted, wanted},
    field, locale,
    name::{InvalidName, Name},
    tos,
};

/// The most aliases that one instance may have.
pub const MOST_ALIASES: usize = 100;
/// The most apps that one creation installs.
pub const MOST_APPS: usize = 50;

/// A creation, checked. Texts that were not given are empty.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The main domain, canonical.
    pub domain: String,
    /// Other domains, canonical, without doubles, in the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_aliases: Vec<String>,
    /// A former domain, canonical.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub old_domain: String,
    /// The language.
    pub locale: String,
    /// The group of settings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// The owner's mail address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The owner's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_name: String,
    /// The owner's time zone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timezone: String,
    /// The owner's phone number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone: String,
    /// Further settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// An id of the hosting provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The subject at the OIDC provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub oidc_id: String,
    /// The subject at FranceConnect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub franceconnect_id: String,
    /// Whether the owner logs in by a mailed link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub magic_link: bool,
    /// Who pays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sponsorships: Vec<String>,
    /// The terms that were signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tos_signed: String,
    /// The terms that await a signature.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tos_latest: String,
    /// How the owner proves who they are, as instance documents keep it.
    #[serde(default)]
    pub auth_mode: i64,
    /// Whether apps stay at their version.
    #[serde(default)]
    pub no_auto_update: bool,
    /// The quota in bytes; 0 means none.
    #[serde(default)]
    pub disk_quota_bytes: i64,
    /// What to install, in the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<String>,
    /// On which CouchDB server of the configuration it shall lie; `None` has one drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub couch_cluster: Option<i32>,
    /// Whether to keep how long each step took.
    #[serde(default)]
    pub trace: bool,
}

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}")]
pub struct InvalidField {
    /// The field of the request.
    pub field: String,
    /// What is wrong, and what would be right.
    pub wrong: String,
}

pub(super) fn invalid(field: &str, wrong: impl Into<String>) -> InvalidField {
    InvalidField {
        field: field.to_owned(),
        wrong: wrong.into(),
    }
}

impl Spec {
    /// Checks what was asked and brings names into their canonical form.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn check(mut self) -> Result<Self, InvalidField> {
        let domain = parse_name("instance.domain", &self.domain)?;
        self.domain = domain.domain().to_owned();
        self.domain_aliases = canonical_aliases(&domain, &self.domain_aliases)?;
        if !self.old_domain.is_empty() {
            self.old_domain = canonical_old_domain(&self.old_domain, &self.names())?;
        }
        if self.locale.is_empty() {
            locale::DEFAULT.clone_into(&mut self.locale);
        }
        locale::check(&self.locale).map_err(|wrong| invalid("instance.locale", wrong))?;
        for (field, text) in [
            ("instance.context", &self.context),
            ("instance.public_name", &self.public_name),
        ] {
            check_text(field, text)?;
        }
        check_email(&self.email)?;
        check_timezone(&self.timezone)?;
        check_phone(&self.phone)?;
        check_uuid(&self.uuid)?;
        check_subject("instance.oidc_id", &self.oidc_id)?;
        check_subject("instance.franceconnect_id", &self.franceconnect_id)?;
        check_quota(self.disk_quota_bytes)?;
        check_sponsorships(&self.sponsorships)?;
        if !self.tos_signed.is_empty() {
            self.tos_signed = canonical_tos_signed(&self.tos_signed)?;
        }
        if !self.tos_latest.is_empty() {
            check_tos_latest(&self.tos_latest)?;
            if !tos::awaits_signature(&self.tos_latest, &self.tos_signed) {
                return Err(invalid(
                    "instance.tos_latest",
                    "is covered by instance.tos_signed; name a version with a higher major number, or leave it out",
                ));
            }
        }
        if self.settings.len() > field::setting::MOST {
            return Err(invalid(
                "instance.settings",
                format!(
                    "holds more than {} settings; use fewer",
                    field::setting::MOST
                ),
            ));
        }
        for (name, value) in &self.settings {
            check_setting(name, value)?;
        }
        self.check_apps()?;
        Ok(self)
    }

    /// Whether the owner gets in without a passphrase, so that one is set that nobody knows.
    #[must_use]
    pub const fn is_passwordless(&self) -> bool {
        self.magic_link || !self.franceconnect_id.is_empty()
    }

    /// The names to claim, in the order in which they are claimed.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.domain, &self.domain_aliases, &self.old_domain)
    }

    /// The names under which it is found, in byte order of their hosts.
    ///
    /// One at a time, in one order, stopping at the first refusal: two creations with crossed names
    /// would otherwise both lose.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = [self.domain.as_str()]
            .into_iter()
            .chain(self.domain_aliases.iter().map(String::as_str))
            .filter_map(|text| text.parse().ok())
            .collect();
        names.sort_by(|a, b| a.host().cmp(b.host()));
        names.dedup_by(|a, b| a.host() == b.host());
        names
    }

    fn check_apps(&self) -> Result<(), InvalidField> {
        if self.apps.len() > MOST_APPS {
            return Err(invalid(
                "apps",
                format!("names more than {MOST_APPS} apps; install the others afterwards"),
            ));
        }
        for (position, app) in self.apps.iter().enumerate() {
            let field = format!("apps[{position}]");
            if app.is_empty() {
                return Err(invalid(
                    &field,
                    "is empty; give a slug such as home, or an address such as registry://home/stable",
                ));
            }
            check_text(&field, app)?;
            if self.apps.iter().take(position).any(|other| other == app) {
                return Err(invalid(&field, format!("names {app:?} a second time")));
            }
        }
        Ok(())
    }
}

/// Checks a setting that has no field of its own.
pub(super) fn check_setting(name: &str, value: &str) -> Result<(), InvalidField> {
    field::setting::check_name(name).map_err(|wrong| invalid("instance.settings", wrong))?;
    field::setting::check(name, value)
        .map_err(|wrong| invalid(&format!("instance.settings.{name}"), wrong))
}

pub(super) fn check_quota(bytes: i64) -> Result<(), InvalidField> {
    if bytes < 0 {
        return Err(invalid(
            "instance.disk_quota_bytes",
            "is negative; use a number of bytes, or 0 for no limit",
        ));
    }
    Ok(())
}

pub(super) fn check_sponsorships(sponsors: &[String]) -> Result<(), InvalidField> {
    field::sponsorship::check(sponsors).map_err(|wrong| invalid("instance.sponsorships", wrong))
}

pub(super) fn canonical_tos_signed(text: &str) -> Result<String, InvalidField> {
    tos::canonical_signed(text).map_err(|wrong| invalid("instance.tos_signed", wrong))
}

pub(super) fn check_tos_latest(text: &str) -> Result<(), InvalidField> {
    tos::check_latest(text).map_err(|wrong| invalid("instance.tos_latest", wrong))
}

/// The canonical form of a former domain; `present` are the names that the instance has now.
pub(super) fn canonical_old_domain(text: &str, present: &[Name]) -> Result<String, InvalidField> {
    let old = parse_name("instance.old_domain", text)?;
    if present.iter().any(|name| name.host() == old.host()) {
        return Err(invalid(
            "instance.old_domain",
            "is a present name of the instance; name a former one",
        ));
    }
    Ok(old.domain().to_owned())
}

pub(super) fn parse_name(field: &str, text: &str) -> Result<Name, InvalidField> {
    text.parse()
        .map_err(|wrong: InvalidName| invalid(field, wrong.to_string()))
}

pub(super) fn canonical_aliases(
    domain: &Name,
    aliases: &[String],
) -> Result<Vec<String>, InvalidField> {
    if aliases.len() > MOST_ALIASES {
        return Err(invalid(
            "instance.domain_aliases",
            format!("holds more than {MOST_ALIASES} names; use fewer"),
        ));
    }
    let mut taken = vec![domain.host().to_owned()];
    let mut canonical = Vec::new();
    for alias in aliases {
        let alias = parse_name("instance.domain_aliases", alias)?;
        if alias.host() == domain.host() {
            return Err(invalid(
                "instance.domain_aliases",
                format!("{alias} is the instance's own host; name another"),
            ));
        }
        if !taken.iter().any(|host| host == alias.host()) {
            taken.push(alias.host().to_owned());
            canonical.push(alias.domain().to_owned());
        }
    }
    Ok(canonical)
}

pub(super) fn check_text(field: &str, text: &str) -> Result<(), InvalidField> {
    field::text::check(text).map_err(|wrong| invalid(field, wrong))
}

/// Checks a mail address; empty means none.
pub(super) fn check_email(text: &str) -> Result<(), InvalidField> {
    unless_empty("instance.email", text, field::email::check)
}

/// Checks a time zone; empty means none.
pub(super) fn check_timezone(text: &str) -> Result<(), InvalidField> {
    unless_empty("instance.timezone", text, field::timezone::check)
}

/// Checks a phone number; empty means none.
pub(super) fn check_phone(text: &str) -> Result<(), InvalidField> {
    unless_empty("instance.phone", text, field::phone::check)
}

/// Checks an id of the hosting provider; empty means none.
pub(super) fn check_uuid(text: &str) -> Result<(), InvalidField> {
    unless_empty("instance.uuid", text, field::id::check_uuid)
}

/// Checks a subject at an OpenID Connect provider; empty means none. `field` is `instance.oidc_id` or
/// `instance.franceconnect_id`.
pub(super) fn check_subject(field: &str, text: &str) -> Result<(), InvalidField> {
    unless_empty(field, text, field::id::check_subject)
}

fn unless_empty(
    field: &str,
    text: &str,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<(), InvalidField> {
    if text.is_empty() {
        return Ok(());
    }
    check(text).map_err(|wrong| invalid(field, wrong))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Spec;

    fn spec(change: impl FnOnce(&mut Spec)) -> Spec {
        let mut spec = Spec {
            domain: "Bob.Example".to_owned(),
            ..Spec::default()
        };
        change(&mut spec);
        spec
    }

    #[test]
    fn names_become_canonical_and_sorted() {
        let checked = spec(|spec| {
            spec.domain_aliases = ["Zoe.example", "alt.example:8080", "ALT.example"]
                .map(str::to_owned)
                .into();
        })
        .check()
        .unwrap();
        assert_eq!(checked.domain, "bob.example");
        assert_eq!(checked.domain_aliases, ["zoe.example", "alt.example:8080"]);
        let names = checked.names();
        let hosts: Vec<_> = names.iter().map(super::Name::host).collect();
        assert_eq!(hosts, ["alt.example", "bob.example", "zoe.example"]);
        assert_eq!(checked.locale, "en");
    }

    #[test]
    fn each_wrong_field_is_named() {
        type Change = fn(&mut Spec);
        let cases: [(&str, Change); 26] = [
            ("instance.domain", |s| s.domain.clear()),
            ("instance.domain", |s| s.domain = "a/b".into()),
            ("instance.domain_aliases", |s| {
                s.domain_aliases = vec!["bob.example:1".into()];
            }),
            ("instance.domain_aliases", |s| {
                s.domain_aliases = vec!["no name".into()];
            }),
            ("instance.old_domain", |s| {
                s.old_domain = "BOB.example".into();
            }),
            ("instance.locale", |s| s.locale = "French".into()),
            ("instance.context", |s| s.context = "a\nb".into()),
            ("instance.email", |s| s.email = "bob".into()),
            ("instance.public_name", |s| s.public_name = "a\nb".into()),
            ("instance.timezone", |s| s.timezone = "Paris time".into()),
            ("instance.phone", |s| s.phone = "call me".into()),
            ("instance.uuid", |s| s.uuid = "a/b".into()),
            ("instance.oidc_id", |s| s.oidc_id = "élodie".into()),
            ("instance.sponsorships", |s| {
                s.sponsorships = vec!["a b".into()];
            }),
            ("instance.tos_signed", |s| s.tos_signed = "x".into()),
            ("instance.tos_latest", |s| s.tos_latest = "2.0.0".into()),
            ("instance.tos_latest", |s| {
                s.tos_signed = "2.1.0".into();
                s.tos_latest = "2.2.0-20250901".into();
            }),
            ("instance.disk_quota_bytes", |s| s.disk_quota_bytes = -5),
            ("instance.settings", |s| {
                s.settings = [("_id".into(), "x".into())].into();
            }),
            ("instance.settings", |s| {
                s.settings = (0..101).map(|it| (it.to_string(), "x".into())).collect();
            }),
            ("instance.settings.locale", |s| {
                s.settings = [("locale".into(), "fr".into())].into();
            }),
            ("instance.settings.offer", |s| {
                s.settings = [("offer".into(), "a\nb".into())].into();
            }),
            ("apps[0]", |s| s.apps = vec![String::new()]),
            ("apps[0]", |s| s.apps = vec!["a\nb".into()]),
            ("apps[1]", |s| s.apps = vec!["home".into(), "home".into()]),
            ("apps", |s| {
                s.apps = (0..51).map(|it| it.to_string()).collect();
            }),
        ];
        for (field, change) in cases {
            let error = spec(change).check().unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }

    #[test]
    fn terms_are_kept_in_their_canonical_form() {
        let checked = spec(|spec| {
            spec.tos_signed = "20170901".into();
            spec.tos_latest = "2.0.0-20250901".into();
        })
        .check()
        .unwrap();
        assert_eq!(checked.tos_signed, "1.0.0-20170901");
        assert_eq!(checked.tos_latest, "2.0.0-20250901");
    }
}
