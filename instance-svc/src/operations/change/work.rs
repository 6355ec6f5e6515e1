//! What a change asks, and what came of that so far.

use couch::Document;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    change::Change, in_memory::InMemory, instance::InstanceDocument, record::Record,
    removed::Removed,
};

/// What a change asks, and what came of that so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ChangeWork {
    /// What was asked, and what follows from the instance as it was when it was taken.
    pub change: Box<Change>,
    /// The ids of the claims that it makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What was removed.
    #[serde(default)]
    pub removed: Removed,
    /// The instance as this process saw it last.
    #[serde(skip)]
    pub seen: InMemory<Seen>,
}

/// The documents of an instance, each as it was read or written last.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its own document.
    pub document: Document<InstanceDocument>,
    /// What we know beyond.
    pub record: Document<Record>,
    /// The owner's settings, if they were read; `Some(None)` when there are none.
    pub settings: Option<Option<Document<Map<String, Value>>>>,
}

impl ChangeWork {
    /// A change that begins from the instance as it was seen.
    #[must_use]
    pub fn new(change: Change, seen: Option<Seen>) -> Self {
        Self {
            change: Box::new(change),
            seen: seen.map(InMemory::known).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The instance is taken: what follows from that.
    pub(super) fn settle(&mut self, settled: Change) {
        self.names = settled
            .added
            .iter()
            .map(|wanted| wanted.id.clone())
            .collect();
        *self.change = settled;
        // What was seen before may be older than what was taken.
        self.seen = InMemory::default();
    }

    /// The instance is taken beside the acceptance, and was seen like this.
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
