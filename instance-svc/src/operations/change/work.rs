//! The work of a change: the request, and the results so far.

use couch::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    change::Change, in_memory::InMemory, instance::InstanceDocument, record::Record,
    removed::Removed,
};

/// The work of a change: the request, and the results so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeWork {
    /// The request, completed with what followed from the instance when it was taken.
    pub change: Box<Change>,
    /// The paths of requested fields that had the requested value when the change was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
    /// The ids of the claims that it makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What was removed.
    #[serde(default)]
    pub removed: Removed,
    /// The instance as this process last saw it.
    #[serde(skip)]
    pub seen: InMemory<Seen>,
}

/// The documents of an instance, each as it was last read or written.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The instance document.
    pub document: Document<InstanceDocument>,
    /// The record.
    pub record: Document<Record>,
    /// The owner's settings; `None` if they were not read, `Some(None)` if there are none.
    pub settings: Option<Option<Document<Map<String, Value>>>>,
}

impl ChangeWork {
    /// The work of a change that begins from this view of the instance.
    #[must_use]
    pub fn new(change: Change, unchanged: Vec<String>, seen: Option<Seen>) -> Self {
        Self {
            change: Box::new(change),
            unchanged,
            seen: seen.map(InMemory::known).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The instance was taken: stores the completed change.
    pub(super) fn settle(&mut self, settled: Change) {
        self.names = settled
            .added
            .iter()
            .map(|wanted| wanted.id.clone())
            .collect();
        *self.change = settled;
        // What was seen before the instance was taken may be outdated.
        self.seen = InMemory::default();
    }

    /// The instance was taken in parallel with the acceptance, in this state: stores the completed change.
    pub(super) fn settle_as_seen(&mut self, settled: Change, seen: Seen) {
        self.settle(settled);
        self.seen = InMemory::known(seen);
    }

    pub(super) fn see_document(&mut self, document: Document<InstanceDocument>) {
        if let Some(seen) = self.seen.get() {
            self.seen = InMemory::known(Seen {
                document,
                ..seen.clone()
            });
        }
    }

    pub(super) fn see_record(&mut self, record: Document<Record>) {
        if let Some(seen) = self.seen.get() {
            self.seen = InMemory::known(Seen {
                record,
                ..seen.clone()
            });
        }
    }

    pub(super) fn see_settings(&mut self, settings: Document<Map<String, Value>>) {
        if let Some(seen) = self.seen.get() {
            self.seen = InMemory::known(Seen {
                settings: Some(Some(settings)),
                ..seen.clone()
            });
        }
    }
}
