//! Who calls, as the gateway and the services tell each other.

use hamlet_proto::hamlet::instance::v1::{Identity, identity::Kind};

use super::timestamp;
use crate::{
    actions::authenticate::{ProvenWith, Who},
    domain::time::Time,
};

/// Who calls, as a message.
pub(crate) fn identity(who: Who) -> Identity {
    let kind = match who.proven_with {
        ProvenWith::Session => Kind::Session,
        ProvenWith::App => Kind::App,
        ProvenWith::Konnector => Kind::Konnector,
        ProvenWith::OAuth => Kind::Oauth,
        ProvenWith::Cli => Kind::Cli,
    };
    Identity {
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
        ends_at: end.and_then(|time| Time::from_unix(time.seconds, time.nanos)),
    })
}
