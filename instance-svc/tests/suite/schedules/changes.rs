//! Changes of instances in a schedule: the requests, and the expected state of an instance after those that
//! were made.
//!
//! Each change writes distinct values into every document that it touches, so that a change made in part is
//! noticed.

use std::collections::{BTreeSet, HashMap, HashSet};

use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, DeleteInstanceRequest, Instance, UnblockInstanceRequest,
    UndeleteInstanceRequest,
};
use instance_svc::domain::{
    change::{Change, ChangeKind},
    instance::InstanceDocument,
    record::Record,
    time::Time,
};
use serde_json::{Map, Value};
use test_kit::dice::Rng;
use tonic::Status;

use crate::support::{Clients, changes::update_request};

/// The base to which the number of a change is added where a document holds a time: 2100, in seconds.
const THEN: i64 = 4_102_444_800;

/// A requested change.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Sets fields of all documents, and names.
    Update {
        paths: Vec<&'static str>,
        instance: Box<Instance>,
    },
    Block {
        reason: String,
    },
    Unblock,
    /// Deletes softly, for some hours.
    Delete {
        hours: i64,
    },
    Undelete,
}

impl Wish {
    /// The change with this number, for the instance with this domain. It may use any of these names, and this
    /// one as a former domain.
    pub(crate) fn draw(
        dice: &mut Rng,
        number: u64,
        domain: &str,
        names: &[String],
        former: &str,
    ) -> Self {
        match dice.u64(..9) {
            0 => Self::Block {
                reason: format!("REASON-{number}"),
            },
            1 => Self::Unblock,
            2 => Self::Delete {
                // If the clock jumps, the shorter time passes.
                hours: *dice.choice(&[1, 48]).unwrap(),
            },
            3 => Self::Undelete,
            _ => Self::update(dice, number, domain, names, former),
        }
    }

    fn update(dice: &mut Rng, number: u64, domain: &str, names: &[String], former: &str) -> Self {
        let seconds = THEN + i64::try_from(number).unwrap();
        let mut paths = vec!["uuid", "disk_quota_bytes", "public_name", "debug_until"];
        let mut instance = Instance {
            uuid: number.to_string(),
            disk_quota_bytes: i64::try_from(number).unwrap(),
            public_name: number.to_string(),
            debug_until: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Instance::default()
        };
        if dice.u64(..4) > 0 {
            paths.push("domain_aliases");
            instance.domain_aliases = names
                .iter()
                .filter(|&name| name != domain && dice.u64(..3) == 0)
                .cloned()
                .collect();
        }
        if dice.u64(..3) == 0 {
            paths.push("old_domain");
            if dice.u64(..2) == 0 {
                former.clone_into(&mut instance.old_domain);
            }
        }
        Self::Update {
            paths,
            instance: Box::new(instance),
        }
    }

    /// Requests the change. Returns the name of the operation.
    pub(crate) async fn ask(self, clients: &Clients, domain: &str) -> Result<String, Status> {
        let mut instances = clients.instances.clone();
        let name = format!("instances/{domain}");
        let answer = match self {
            Self::Update { paths, instance } => {
                let request = update_request(domain, &paths, *instance);
                instances.update_instance(request).await?
            }
            Self::Block { reason } => {
                let request = BlockInstanceRequest {
                    name,
                    reason,
                    ..BlockInstanceRequest::default()
                };
                instances.block_instance(request).await?
            }
            Self::Unblock => {
                let request = UnblockInstanceRequest {
                    name,
                    ..UnblockInstanceRequest::default()
                };
                instances.unblock_instance(request).await?
            }
            Self::Delete { hours } => {
                let request = DeleteInstanceRequest {
                    name,
                    keep: Some(prost_types::Duration {
                        seconds: hours * 3600,
                        nanos: 0,
                    }),
                    ..DeleteInstanceRequest::default()
                };
                instances.delete_instance(request).await?
            }
            Self::Undelete => {
                let request = UndeleteInstanceRequest {
                    name,
                    ..UndeleteInstanceRequest::default()
                };
                instances.undelete_instance(request).await?
            }
        };
        Ok(answer.into_inner().name)
    }
}

/// The part of an instance that changes affect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    aliases: BTreeSet<String>,
    old_domain: String,
    /// The number of the last update; 0 before the first.
    update: i64,
    /// The blocking reason.
    blocked: Option<String>,
    deleted: Option<Deletion>,
}

/// The state of a soft deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deletion {
    purge_at: Time,
    blocked_before: Option<String>,
}

impl State {
    /// The state of an instance that was created with these aliases.
    pub(crate) fn new(aliases: &[String]) -> Self {
        Self {
            aliases: aliases.iter().cloned().collect(),
            ..Self::default()
        }
    }

    /// The state as the documents of an instance hold it.
    ///
    /// # Errors
    /// Where the documents contradict each other.
    pub(crate) fn of(
        document: &InstanceDocument,
        settings: &Map<String, Value>,
        record: &Record,
    ) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i64>().ok();
        let told = [
            number(&document.uuid),
            number(&document.disk_quota),
            settings
                .get("public_name")
                .and_then(Value::as_str)
                .and_then(number),
            record.debug_until.map(|time| time.to_unix().0 - THEN),
        ];
        let [update, ..] = told;
        if told.iter().any(|other| *other != update) {
            return Err(format!("it mixes several updates: {told:?}"));
        }
        if record.following(document) != *record {
            return Err("its copies differ from its document".to_owned());
        }
        let blocked = document.blocked.then(|| document.blocking_reason.clone());
        let deleted = match (record.deleted_at, record.purge_at, &record.blocked_before) {
            (None, None, None) => None,
            (Some(_), Some(purge_at), Some(before)) => Some(Deletion {
                purge_at,
                blocked_before: before.blocked.then(|| before.reason.clone()),
            }),
            half => return Err(format!("its deletion is incomplete: {half:?}")),
        };
        Ok(Self {
            aliases: document.domain_aliases.iter().cloned().collect(),
            old_domain: document.old_domain.clone(),
            update: update.unwrap_or_default(),
            blocked,
            deleted,
        })
    }

    /// The state after a change; `None` if the change must not have been made in this state.
    fn after(&self, change: &Change) -> Option<Self> {
        let mut state = self.clone();
        let (asked, deleted) = (&change.asked, self.deleted.as_ref());
        match change.kind {
            ChangeKind::Update if deleted.is_none() => {
                if let Some(aliases) = asked.texts("domain_aliases") {
                    state.aliases = aliases.into_iter().collect();
                }
                if let Some(old_domain) = asked.text("old_domain") {
                    old_domain.clone_into(&mut state.old_domain);
                }
                state.update = asked.number("disk_quota_bytes")?;
            }
            ChangeKind::Block if deleted.is_none() => {
                state.blocked = asked.text("blocking_reason").map(str::to_owned);
            }
            ChangeKind::Unblock if deleted.is_none() => state.blocked = None,
            ChangeKind::Delete => {
                let blocked_before = match deleted {
                    Some(first) => first.blocked_before.clone(),
                    None => state.blocked.take(),
                };
                state.blocked = Some("DELETED".to_owned());
                state.deleted = Some(Deletion {
                    purge_at: change.record.purge_at()?,
                    blocked_before,
                });
            }
            ChangeKind::Undelete => state.blocked = state.deleted.take()?.blocked_before,
            _ => return None,
        }
        Some(state)
    }

    /// Whether this state results from all of these changes, in some order in which they may have been made.
    /// `ended_before` gives the operations that had ended when a change was requested.
    pub(crate) fn comes_to(
        &self,
        end: &Self,
        changes: &[(&str, &Change)],
        ended_before: &HashMap<String, HashSet<String>>,
    ) -> bool {
        if changes.is_empty() {
            return self == end;
        }
        (0..changes.len()).any(|first| {
            let mut later = changes.to_vec();
            let (id, change) = later.swap_remove(first);
            let too_late = ended_before
                .get(id)
                .is_some_and(|ended| later.iter().any(|(id, _)| ended.contains(*id)));
            !too_late
                && self
                    .after(change)
                    .is_some_and(|next| next.comes_to(end, &later, ended_before))
        })
    }
}
