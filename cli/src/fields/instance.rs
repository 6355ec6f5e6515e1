//! The flags that set the fields of an instance, and how `instances show` prints fields.
//!
//! A new field gets three lines here, whichever apply: a flag in [`FieldFlags`], its `set!` in
//! [`FieldFlags::into_patch`], and a row in [`ROWS`]. A flag that only `instances add` or `instances modify` has is in
//! the file of that command.

use std::collections::HashMap;

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{Instance, instance};
use prost_types::Timestamp;

use super::{
    patch::{Patch, set, set_keys},
    words,
};
use crate::{
    error::CommandError,
    output::{self, table::facts},
    values::{self, auth_mode::AuthMode, quota},
};

/// The flags of fields that `instances add` and `instances modify` share. Where their help or a default differs, the
/// command adapts it.
#[derive(Args, Debug)]
pub(crate) struct FieldFlags {
    /// How the owner proves who they are.
    #[arg(long, value_name = "MODE")]
    auth_mode: Option<AuthMode>,
    /// The group of settings that applies.
    #[arg(long, value_name = "CONTEXT", value_parser = values::names::not_empty)]
    context_name: Option<String>,
    /// How much may be stored: 10GB, "512 MiB" or bytes.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = values::quota::parse)]
    disk_quota: Option<i64>,
    /// Other domains, separated by commas.
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',', value_parser = values::domain::parse)]
    domain_aliases: Vec<String>,
    /// The owner's mail address.
    #[arg(long, value_parser = values::names::not_empty)]
    email: Option<String>,
    /// The subject at FranceConnect.
    #[arg(long = "franceconnect_id", value_name = "SUBJECT", value_parser = values::names::not_empty)]
    franceconnect_id: Option<String>,
    /// Short texts by which administrators tell instances apart, KEY=VALUE, several separated by commas.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// The language, such as fr, fr-FR or de_AT.
    #[arg(long, value_name = "LANGUAGE", value_parser = values::names::not_empty)]
    locale: Option<String>,
    /// Let the owner log in by a link in a mail.
    #[arg(long = "magic_link", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          hide_possible_values = true, value_name = "BOOL")]
    magic_link: Option<bool>,
    /// Leave apps at their version instead of updating them.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true,
          value_name = "BOOL")]
    no_auto_update: Option<bool>,
    /// The subject at the OIDC provider.
    #[arg(long = "oidc_id", value_name = "SUBJECT", value_parser = values::names::not_empty)]
    oidc_id: Option<String>,
    /// A former domain: browsers are redirected from it, and clients hash passphrases with it.
    #[arg(long, value_name = "DOMAIN", value_parser = values::domain::parse)]
    old_domain: Option<String>,
    /// The owner's phone number.
    #[arg(long, value_parser = values::names::not_empty)]
    phone: Option<String>,
    /// The owner's name as others see it.
    #[arg(long, value_name = "NAME", value_parser = values::names::not_empty)]
    public_name: Option<String>,
    /// One further setting, NAME=VALUE, of those that --settings takes; the value may have commas. Repeat it for several.
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::settings::alone)]
    setting: Vec<(String, String)>,
    /// Further settings, KEY:VALUE, several separated by commas. As in the original, context, locale, uuid, oidc_id,
    /// tos, tos_latest, auto_update and auth_mode set the field of that name.
    #[arg(long, value_name = "SETTINGS", value_delimiter = ',', value_parser = values::settings::of_list)]
    settings: Vec<(String, String)>,
    /// Who pays, separated by commas.
    #[arg(long, value_name = "SPONSORS", value_delimiter = ',', value_parser = values::names::sponsor)]
    sponsorships: Vec<String>,
    /// The version of the terms of service that was signed.
    #[arg(long, value_name = "VERSION", value_parser = values::names::not_empty)]
    tos: Option<String>,
    /// The version of the terms of service that awaits a signature.
    #[arg(long, value_name = "VERSION", value_parser = values::names::not_empty)]
    tos_latest: Option<String>,
    /// The owner's time zone, such as Europe/Paris.
    #[arg(long, value_name = "ZONE", value_parser = values::names::not_empty)]
    tz: Option<String>,
    /// An id given by the hosting provider.
    #[arg(long, value_parser = values::names::not_empty)]
    uuid: Option<String>,
}

impl FieldFlags {
    /// The values that were given.
    ///
    /// # Errors
    /// When a key of a map was given twice.
    pub(crate) fn into_patch(mut self) -> Result<Patch, CommandError> {
        let mut patch = Patch::default();
        let mut settings = Vec::new();
        for (flag, given) in [
            ("--settings", std::mem::take(&mut self.settings)),
            ("--setting", std::mem::take(&mut self.setting)),
        ] {
            for (key, value) in given {
                if let Some(further) = self.take_special(flag, key, value)? {
                    settings.push(further);
                }
            }
        }
        set!(
            patch.auth_mode = self
                .auth_mode
                .map(|mode| instance::AuthMode::from(mode).into())
        );
        set!(patch.context = self.context_name);
        set!(patch.disk_quota_bytes = self.disk_quota);
        set!(patch.domain_aliases = given(self.domain_aliases));
        set!(patch.email = self.email);
        set!(patch.franceconnect_id = self.franceconnect_id);
        set_keys!(patch.labels = self.labels);
        set!(patch.locale = self.locale);
        set!(patch.magic_link = self.magic_link);
        set!(patch.no_auto_update = self.no_auto_update);
        set!(patch.oidc_id = self.oidc_id);
        set!(patch.old_domain = self.old_domain);
        set!(patch.phone = self.phone);
        set!(patch.public_name = self.public_name);
        set_keys!(patch.settings = settings);
        set!(patch.sponsorships = given(self.sponsorships));
        set!(patch.timezone = self.tz);
        set!(patch.tos_latest = self.tos_latest);
        set!(patch.tos_signed = self.tos);
        set!(patch.uuid = self.uuid);
        Ok(patch)
    }
}

/// The language of an instance that is created without one.
pub(crate) const DEFAULT_LOCALE: &str = "en";

/// The settings that stand for a field, by the names of the original, each with the path of its field.
const SPECIAL: [(&str, &str); 8] = [
    ("context", "context"),
    ("locale", "locale"),
    ("uuid", "uuid"),
    ("oidc_id", "oidc_id"),
    ("tos", "tos_signed"),
    ("tos_latest", "tos_latest"),
    ("auto_update", "no_auto_update"),
    ("auth_mode", "auth_mode"),
];

/// The setting that stands for the field with this path.
pub(crate) fn special_setting(path: &str) -> Option<&'static str> {
    let special = SPECIAL.iter().find(|(_, field)| *field == path);
    special.map(|(key, _)| *key)
}

impl FieldFlags {
    /// Takes a setting that `typed` gave and that stands for a field; gives back any other one.
    fn take_special(
        &mut self,
        typed: &str,
        key: String,
        value: String,
    ) -> Result<Option<(String, String)>, CommandError> {
        let wrong = |why| CommandError::Usage(format!("{typed} {key}: {why}"));
        if value.is_empty() && SPECIAL.iter().any(|(special, _)| *special == key) {
            return Err(wrong("is empty; write a value, or leave it out".to_owned()));
        }
        let both = |key: &str, flag: &str| {
            CommandError::Usage(format!(
                "{typed} {key} and --{flag} contradict each other, or it is given twice; give it once"
            ))
        };
        let (field, flag) = match key.as_str() {
            "context" => (&mut self.context_name, "context-name"),
            "locale" => (&mut self.locale, "locale"),
            "uuid" => (&mut self.uuid, "uuid"),
            "oidc_id" => (&mut self.oidc_id, "oidc_id"),
            "tos" => (&mut self.tos, "tos"),
            "tos_latest" => (&mut self.tos_latest, "tos-latest"),
            "auto_update" => {
                if self.no_auto_update.is_some() {
                    return Err(both(&key, "no-auto-update"));
                }
                self.no_auto_update = Some(!values::settings::boolean(&value).map_err(wrong)?);
                return Ok(None);
            }
            "auth_mode" => {
                if self.auth_mode.is_some() {
                    return Err(both(&key, "auth-mode"));
                }
                let mode = <AuthMode as clap::ValueEnum>::from_str(&value, false);
                self.auth_mode = Some(mode.map_err(|_| {
                    wrong(format!(
                        "{value:?} is no mode; write basic, two_factor_mail or two_factor_oidc"
                    ))
                })?);
                return Ok(None);
            }
            _ => return Ok(Some((key, value))),
        };
        if field.is_some() {
            return Err(both(&key, flag));
        }
        *field = Some(value);
        Ok(None)
    }
}

/// Reads one label.
///
/// # Errors
/// When the text has no equals sign, or no key before it.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!(
            "{text:?} is no label; write KEY=VALUE, several separated by commas"
        )),
    }
}

/// A list that a flag gave. A flag with a list cannot give an empty one.
fn given(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}

/// A field as `instances show` prints it.
pub(super) struct Row {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
    pub(super) value: RowValue,
}

pub(super) enum RowValue {
    /// One line; none when the text is empty.
    Text(fn(&Instance) -> String),
    /// A line for each key.
    Map {
        map: fn(&Instance) -> &HashMap<String, String>,
        /// What stands between a key and its value.
        separator: &'static str,
    },
}

const fn row(path: &'static str, label: &'static str, text: fn(&Instance) -> String) -> Row {
    let value = RowValue::Text(text);
    Row { path, label, value }
}

const fn row_of_map(
    path: &'static str,
    label: &'static str,
    separator: &'static str,
    map: fn(&Instance) -> &HashMap<String, String>,
) -> Row {
    let value = RowValue::Map { map, separator };
    Row { path, label, value }
}

/// The rows of `instances show`, in their order. The first line is the domain.
pub(super) static ROWS: &[Row] = &[
    row("domain_aliases", "aliases", |i| i.domain_aliases.join(", ")),
    row("old_domain", "old domain", |i| i.old_domain.clone()),
    // A preview of a creation has no state, and no indexes.
    row("state", "state", |i| {
        let is_known = i.state() != instance::State::Unspecified;
        when(is_known, words::state(i.state()))
    }),
    row("blocking_reason", "blocked because", |i| {
        i.blocking_reason.clone()
    }),
    row("deleting", "deleting", |i| {
        when(i.deleting, "by other software")
    }),
    row("delete_time", "deleted", |i| time(i.delete_time.as_ref())),
    row("purge_time", "is destroyed on", |i| {
        time(i.purge_time.as_ref())
    }),
    row("locked", "locked", |i| {
        when(i.locked, "against destruction")
    }),
    row("locale", "locale", |i| i.locale.clone()),
    row("context", "context", |i| i.context.clone()),
    row("public_name", "public name", |i| i.public_name.clone()),
    row("email", "email", |i| i.email.clone()),
    row("phone", "phone", |i| i.phone.clone()),
    row("timezone", "time zone", |i| i.timezone.clone()),
    row("disk_quota_bytes", "quota", |i| {
        quota::show(i.disk_quota_bytes)
    }),
    row("auth_mode", "auth mode", second_factor),
    row("magic_link", "magic link", |i| when(i.magic_link, "yes")),
    row("no_auto_update", "apps", |i| {
        when(i.no_auto_update, "left at their version")
    }),
    row("uuid", "uuid", |i| i.uuid.clone()),
    row("oidc_id", "oidc id", |i| i.oidc_id.clone()),
    row("franceconnect_id", "franceconnect id", |i| {
        i.franceconnect_id.clone()
    }),
    row("org_domain", "organisation", |i| i.org_domain.clone()),
    row("org_id", "organisation id", |i| i.org_id.clone()),
    row("sponsorships", "sponsorships", |i| {
        i.sponsorships.join(", ")
    }),
    row("feature_sets", "feature sets", |i| {
        i.feature_sets.join(", ")
    }),
    row("tos_signed", "terms signed", |i| i.tos_signed.clone()),
    row("tos_latest", "terms to sign", |i| i.tos_latest.clone()),
    row("register_expire_time", "register link until", |i| {
        time(i.register_expire_time.as_ref())
    }),
    row("debug_until", "debug until", |i| {
        time(i.debug_until.as_ref())
    }),
    row("id", "id", |i| i.id.clone()),
    row("prefix", "prefix", |i| i.prefix.clone()),
    row("couch_cluster", "couch cluster", |i| {
        other_cluster(i).map_or_else(String::new, |cluster| cluster.to_string())
    }),
    row("indexes_version", "indexes", |i| {
        when(i.indexes_version > 0, &format!("v{}", i.indexes_version))
    }),
    row("create_time", "created", |i| time(i.create_time.as_ref())),
    row("operation", "at work", |i| i.operation.clone()),
    row("etag", "etag", |i| i.etag.clone()),
    row_of_map("labels", "label", "=", |i| &i.labels),
    row_of_map("feature_flags", "feature flag", "=", |i| &i.feature_flags),
    row_of_map("settings", "setting", ": ", |i| &i.settings),
];

/// An instance for people. Its first line is `label` and the domain.
pub(crate) fn describe(label: &str, instance: &Instance) -> String {
    describe_with(label, instance, &[])
}

/// As [`describe`], with further lines at the end.
pub(crate) fn describe_with(
    label: &str,
    instance: &Instance,
    further: &[(&str, String)],
) -> String {
    let mut rows = vec![(label, instance.domain.clone())];
    for Row { label, value, .. } in ROWS {
        match value {
            RowValue::Text(text) => rows.push((label, text(instance))),
            RowValue::Map { map, separator } => {
                let mut pairs: Vec<_> = map(instance).iter().collect();
                pairs.sort();
                rows.extend(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (*label, format!("{key}{separator}{value}"))),
                );
            }
        }
    }
    rows.extend_from_slice(further);
    facts(&rows)
}

/// The position of the instance's CouchDB cluster, unless it is the first.
pub(crate) fn other_cluster(instance: &Instance) -> Option<i32> {
    instance.couch_cluster.filter(|cluster| *cluster != 0)
}

fn when(is: bool, text: &str) -> String {
    if is { text.to_owned() } else { String::new() }
}

fn time(time: Option<&Timestamp>) -> String {
    output::time::moment(time)
}

/// How the owner authenticates, unless by a passphrase alone.
fn second_factor(instance: &Instance) -> String {
    let mode = words::auth_mode(instance.auth_mode());
    when(mode != words::auth_mode(instance::AuthMode::Basic), mode)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hamlet_proto::{fields::FIELDS, hamlet::instance::v1::Instance};

    use super::{ROWS, describe};

    /// The first line has the domain, `state` tells the others.
    /// Warnings are told on standard error.
    const WITHOUT_ROW: [&str; 6] = [
        "blocked",
        "domain",
        "name",
        "onboarding_finished",
        "password_defined",
        "warnings",
    ];

    fn bob() -> Instance {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Instance {
            domain: "bob.example".to_owned(),
            labels: [pair("team", "a"), pair("shard", "7")].into(),
            settings: [pair("offer", "free")].into(),
            ..Instance::default()
        }
    }

    #[test]
    fn labels_and_settings_are_shown_as_their_flags_take_them() {
        let shown = describe("domain", &bob());
        let lines: Vec<Vec<_>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|line: &Vec<_>| matches!(line.first(), Some(&("label" | "setting"))))
            .collect();
        let expected: [&[&str]; 3] = [
            &["label", "shard=7"],
            &["label", "team=a"],
            &["setting", "offer:", "free"],
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn each_field_has_a_row_or_is_known_to_have_none() {
        let rows: Vec<_> = ROWS.iter().map(|row| row.path).chain(WITHOUT_ROW).collect();
        let distinct: BTreeSet<_> = rows.iter().copied().collect();
        let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.path).collect();
        assert_eq!(distinct, fields);
        assert_eq!(rows.len(), distinct.len(), "a field has two rows");
    }
}
