//! Who calls, as the gateway and the services tell each other.

use hamlet_proto::hamlet::instance::v1::{
    Identity,
    identity::{self, Kind},
};
use prost::Message as _;

use super::timestamp;
use crate::{
    actions::authenticate::{ProvenWith, Who},
    domain::{scope::Rule, time::Time},
};

/// The most bytes of rules that are told: they go from service to service in a header.
const MOST_BYTES: usize = 32 * 1024;

/// Who calls, as a message.
pub(crate) fn identity(who: Who) -> Identity {
    let kind = match who.proven_with {
        ProvenWith::Session => Kind::Session,
        ProvenWith::App => Kind::App,
        ProvenWith::Konnector => Kind::Konnector,
        ProvenWith::OAuth => Kind::Oauth,
        ProvenWith::Cli => Kind::Cli,
    };
    let rules = rules(&who.rules);
    Identity {
        rules,
        kind: kind.into(),
        session_id: who.session,
        subject: who.subject,
        scope: who.scope,
        expire_time: who.ends_at.map(timestamp),
    }
}

/// Who calls, as the gateway has found out. `None` for what a newer gateway may know, and this service does not.
pub(crate) fn who(identity: &Identity) -> Option<Who> {
    let proven_with = match identity.kind() {
        Kind::Unspecified => return None,
        Kind::Session => ProvenWith::Session,
        Kind::App => ProvenWith::App,
        Kind::Konnector => ProvenWith::Konnector,
        Kind::Oauth => ProvenWith::OAuth,
        Kind::Cli => ProvenWith::Cli,
    };
    let end = identity.expire_time;
    Some(Who {
        proven_with,
        session: identity.session_id.clone(),
        subject: identity.subject.clone(),
        scope: identity.scope.clone(),
        rules: identity.rules.iter().map(named).collect(),
        ends_at: end.and_then(|time| Time::from_unix(time.seconds, time.nanos)),
    })
}

/// What a token allows, as a message. What is beyond the limit allows nothing.
pub(crate) fn rules(rules: &[(String, Rule)]) -> Vec<identity::Rule> {
    let mut bytes = 0;
    let mut told = Vec::new();
    for (name, rule) in rules {
        let rule = identity::Rule {
            doctype: rule.doctype.clone(),
            verbs: rule.verbs.clone(),
            values: rule.values.clone(),
            selector: rule.selector.clone(),
        };
        bytes += rule.encoded_len();
        if bytes > MOST_BYTES {
            tracing::warn!(
                rule = name,
                "the permissions of an app are too long: this rule and those after it allow nothing"
            );
            break;
        }
        told.push(rule);
    }
    told
}

/// A rule of a message. The names are in documents, and nobody who asks what is allowed needs them.
fn named(rule: &identity::Rule) -> (String, Rule) {
    let rule = Rule {
        doctype: rule.doctype.clone(),
        verbs: rule.verbs.clone(),
        values: rule.values.clone(),
        selector: rule.selector.clone(),
        description: String::new(),
    };
    (String::new(), rule)
}
