//! What is asked of a creation, checked: everything an operation needs to make the instance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    locale,
    name::{InvalidName, Name},
    tos,
};

/// The most aliases that one instance may have.
pub const MOST_ALIASES: usize = 100;
/// The most apps that one creation installs.
pub const MOST_APPS: usize = 50;
/// The longest free text, in bytes.
const LONGEST_TEXT: usize = 1024;

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
            ("instance.email", &self.email),
            ("instance.public_name", &self.public_name),
            ("instance.timezone", &self.timezone),
            ("instance.phone", &self.phone),
            ("instance.uuid", &self.uuid),
            ("instance.oidc_id", &self.oidc_id),
        ] {
            check_text(field, text)?;
        }
        check_email(&self.email)?;
        check_timezone(&self.timezone)?;
        check_quota(self.disk_quota_bytes)?;
        check_sponsorships(&self.sponsorships)?;
        if !self.tos_signed.is_empty() {
            self.tos_signed = canonical_tos_signed(&self.tos_signed)?;
        }
        if !self.tos_latest.is_empty() {
            check_tos_latest(&self.tos_latest)?;
        }
        for (name, value) in &self.settings {
            check_setting(name, value)?;
        }
        self.check_apps()?;
        Ok(self)
    }

    /// The names to claim, in byte order of their hosts.
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
            return Err(invalid("apps", format!("names more than {MOST_APPS} apps")));
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
    /// Settings that have a field of their own: taking them here too would give them two values.
    const OWN_FIELDS: [(&str, &str); 12] = [
        ("context", "instance.context"),
        ("locale", "instance.locale"),
        ("uuid", "instance.uuid"),
        ("oidc_id", "instance.oidc_id"),
        ("tos", "instance.tos_signed"),
        ("tos_latest", "instance.tos_latest"),
        ("auto_update", "instance.no_auto_update"),
        ("auth_mode", "instance.auth_mode"),
        ("tz", "instance.timezone"),
        ("email", "instance.email"),
        ("public_name", "instance.public_name"),
        ("phone", "instance.phone"),
    ];
    let field = format!("instance.settings.{name}");
    if name.is_empty() || name.starts_with('_') {
        return Err(invalid(
            "instance.settings",
            format!("{name:?} is no name of a setting; it must not be empty or begin with _"),
        ));
    }
    if let Some((_, own)) = OWN_FIELDS.iter().find(|(taken, _)| *taken == name) {
        return Err(invalid(
            &field,
            format!("has a field of its own: use {own}"),
        ));
    }
    check_text(&field, name)?;
    check_text(&field, value)
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
    for sponsor in sponsors {
        check_text("instance.sponsorships", sponsor)?;
    }
    Ok(())
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
            format!("holds more than {MOST_ALIASES} names"),
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
    if text.len() > LONGEST_TEXT {
        return Err(invalid(
            field,
            format!("is longer than {LONGEST_TEXT} bytes"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(
            field,
            "holds a control character; use printable text on one line",
        ));
    }
    Ok(())
}

/// A mail address is what a mail server takes; only what cannot be one is refused.
pub(super) fn check_email(text: &str) -> Result<(), InvalidField> {
    let plausible = text.is_empty()
        || text.rsplit_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)
        });
    if plausible {
        Ok(())
    } else {
        Err(invalid(
            "instance.email",
            format!("{text:?} is no mail address; it looks like bob@example.org"),
        ))
    }
}

/// A time zone is a name of the IANA database. Which names exist changes several times a year, so the
/// form is checked: `Area/City`, or a single word such as `UTC`.
pub(super) fn check_timezone(text: &str) -> Result<(), InvalidField> {
    let well_formed = text.is_empty()
        || (text.len() <= 64
            && text.split('/').all(|part| {
                part.starts_with(|c: char| c.is_ascii_alphabetic())
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte))
            }));
    if well_formed {
        Ok(())
    } else {
        Err(invalid(
            "instance.timezone",
            format!("{text:?} is no time zone; it looks like Europe/Paris"),
        ))
    }
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
        let cases: [(&str, Change); 14] = [
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
            ("instance.email", |s| s.email = "bob".into()),
            ("instance.public_name", |s| s.public_name = "a\nb".into()),
            ("instance.timezone", |s| s.timezone = "Paris time".into()),
            ("instance.disk_quota_bytes", |s| s.disk_quota_bytes = -5),
            ("instance.settings", |s| {
                s.settings = [("_id".into(), "x".into())].into();
            }),
            ("instance.settings.locale", |s| {
                s.settings = [("locale".into(), "fr".into())].into();
            }),
            ("apps[0]", |s| s.apps = vec![String::new()]),
            ("apps[1]", |s| s.apps = vec!["home".into(), "home".into()]),
        ];
        for (field, change) in cases {
            let error = spec(change).check().unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
