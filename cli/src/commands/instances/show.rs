//! `hamlet instances show` and `show-db-prefix`.

use hamlet_proto::hamlet::instance::v1::Instance;
use prost_types::Timestamp;
use serde_json::Value;

use super::get;
use crate::{
    args::{Format, Show},
    failure::Failure,
    fields::{self, Field},
    output,
    session::Session,
    table::{all_facts, facts},
    text::clean,
    values::quota,
};

pub(super) async fn run(session: &Session, format: Format, wanted: &Show) -> Result<(), Failure> {
    format.refuse_names_with(&wanted.fields)?;
    let door = session.door().await?;
    let instance = get(session, &door, &wanted.domain).await?;
    if wanted.fields.is_empty() {
        return output::one(format, &instance, &instance.name, || {
            describe("domain", &instance)
        });
    }
    let values = read(&instance, &wanted.fields);
    let document = output::object(&wanted.fields, &values);
    output::document(format, &document, &instance.name, || {
        let known: Vec<_> = wanted
            .fields
            .iter()
            .zip(&values)
            .map(|(field, value)| (field.name, fields::cell(value)))
            .collect();
        all_facts(&known)
    })
}

/// The values of some fields, in their order.
pub(super) fn read(instance: &Instance, fields: &[&Field]) -> Vec<Value> {
    fields.iter().map(|field| (field.read)(instance)).collect()
}

/// An instance for people; its first line is about the domain.
pub(in crate::commands) fn describe(domain: &'static str, instance: &Instance) -> String {
    let time =
        |time: &Option<Timestamp>| time.as_ref().map(ToString::to_string).unwrap_or_default();
    let when = |is: bool, text: &str| if is { text.to_owned() } else { String::new() };
    let auth_mode = fields::auth_mode(instance.auth_mode());
    let mut known = vec![
        (domain, instance.domain.clone()),
        ("aliases", instance.domain_aliases.join(", ")),
        ("old domain", instance.old_domain.clone()),
        ("state", fields::state(instance.state()).to_owned()),
        ("blocked because", instance.blocking_reason.clone()),
        ("deleting", when(instance.deleting, "by other software")),
        ("deleted", time(&instance.delete_time)),
        ("is destroyed on", time(&instance.purge_time)),
        ("locked", when(instance.locked, "against destruction")),
        ("locale", instance.locale.clone()),
        ("context", instance.context.clone()),
        ("public name", instance.public_name.clone()),
        ("email", instance.email.clone()),
        ("phone", instance.phone.clone()),
        ("time zone", instance.timezone.clone()),
        ("quota", quota::show(instance.disk_quota_bytes)),
        ("auth mode", when(auth_mode != "basic", auth_mode)),
        ("magic link", when(instance.magic_link, "yes")),
        (
            "apps",
            when(instance.no_auto_update, "left at their version"),
        ),
        ("uuid", instance.uuid.clone()),
        ("oidc id", instance.oidc_id.clone()),
        ("franceconnect id", instance.franceconnect_id.clone()),
        ("sponsorships", instance.sponsorships.join(", ")),
        ("features", instance.feature_sets.join(", ")),
        ("terms signed", instance.tos_signed.clone()),
        ("terms to sign", instance.tos_latest.clone()),
        ("register link until", time(&instance.register_expire_time)),
        ("debug until", time(&instance.debug_until)),
        ("id", instance.id.clone()),
        ("prefix", instance.prefix.clone()),
        (
            "couch cluster",
            cluster(instance).map(|n| n.to_string()).unwrap_or_default(),
        ),
        ("indexes", format!("v{}", instance.indexes_version)),
        ("created", time(&instance.create_time)),
        ("at work", instance.operation.clone()),
        ("etag", instance.etag.clone()),
    ];
    let mut settings: Vec<_> = instance.settings.iter().collect();
    settings.sort();
    for (name, value) in settings {
        known.push(("setting", format!("{name}: {value}")));
    }
    facts(&known)
}

/// The position of its CouchDB cluster, when that is not the first.
fn cluster(instance: &Instance) -> Option<i32> {
    instance.couch_cluster.filter(|cluster| *cluster != 0)
}

pub(super) async fn db_prefix(
    session: &Session,
    format: Format,
    domain: &str,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let instance = get(session, &door, domain).await?;
    // The answer to this question is no message of the contracts.
    let document = serde_json::json!({
        "prefix": instance.prefix,
        "couchCluster": instance.couch_cluster.unwrap_or_default(),
    });
    output::document(format, &document, &instance.prefix, || {
        let prefix = clean(&instance.prefix);
        match cluster(&instance) {
            Some(cluster) => format!("{prefix}\ncouch_cluster: {cluster}\n"),
            None => format!("{prefix}\n"),
        }
    })
}
