//! Newcomers: instances that other software made, or gave names, and that are not adopted yet.
//!
//! Claims decide who has a name, and a newcomer has none before it is adopted. Until then each replica keeps its
//! names in memory, for look-ups and for those who want a name for another instance. The table is filled once
//! after the start, and follows the feed of changes from then on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    domain::claim::{NameKind, Wanted},
    error::Error,
};

/// How long a look-up waits until the table is filled.
const FILLED_WITHIN: Duration = Duration::from_secs(10);

/// How long a request waits until a newcomer is adopted.
const ADOPTED_WITHIN: Duration = Duration::from_secs(10);

/// The table. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Newcomers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    /// Whether the table is filled. It counts as filled while nobody fills it.
    filled: watch::Sender<bool>,
    /// Changes whenever a newcomer leaves the table.
    left: watch::Sender<()>,
    /// Tells the adoption that somebody waits for a newcomer.
    urged: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// By the id of the claim that a name would have.
    names: HashMap<String, Vec<Newcomer>>,
    /// The names of each newcomer.
    instances: HashMap<String, Vec<String>>,
    /// The newcomers that somebody waits for.
    urgent: Vec<String>,
}

/// An instance that has a name without a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newcomer {
    /// The id of its document.
    pub(crate) instance: String,
    /// How the name belongs to it.
    pub(crate) kind: NameKind,
}

impl Default for Newcomers {
    fn default() -> Self {
        Self(Arc::new(Inner {
            table: Mutex::default(),
            filled: watch::Sender::new(true),
            left: watch::Sender::new(()),
            urged: Notify::new(),
        }))
    }
}

impl Newcomers {
    /// Look-ups wait from now on until the table is [filled](Self::set_filled).
    pub(crate) fn begin_to_fill(&self) {
        self.0.filled.send_replace(false);
    }

    pub(crate) fn set_filled(&self) {
        self.0.filled.send_replace(true);
    }

    /// Adds an instance, or replaces its names.
    pub(crate) fn put(&self, instance: &str, names: &[Wanted]) {
        let mut table = self.table();
        table.remove(instance);
        for name in names {
            let newcomer = Newcomer {
                instance: instance.to_owned(),
                kind: name.kind,
            };
            table
                .names
                .entry(name.id.clone())
                .or_default()
                .push(newcomer);
        }
        let ids = names.iter().map(|name| name.id.clone()).collect();
        table.instances.insert(instance.to_owned(), ids);
    }

    /// Removes an instance: it is adopted, or gone.
    pub(crate) fn remove(&self, instance: &str) {
        let removed = self.table().remove(instance);
        if removed {
            self.0.left.send_replace(());
        }
    }

    /// The newcomers that have the name whose claim would have this id.
    ///
    /// # Errors
    /// [`Error::NewcomersUnknown`] when the table is not filled in time.
    pub(crate) async fn with_name(&self, claim: &str) -> Result<Vec<Newcomer>, Error> {
        let mut filled = self.0.filled.subscribe();
        timeout(FILLED_WITHIN, filled.wait_for(|filled| *filled))
            .await
            .map_err(|_| Error::NewcomersUnknown)?
            // The sender lives as long as `self`.
            .map_err(|_| Error::NewcomersUnknown)?;
        let found = self.table().names.get(claim).cloned();
        Ok(found.unwrap_or_default())
    }

    /// Tells whether newcomers leave the table from now on.
    pub(crate) fn departures(&self) -> watch::Receiver<()> {
        self.0.left.subscribe()
    }

    /// Has an instance adopted before the others, and waits for it. Nothing to do when it is no newcomer.
    ///
    /// # Errors
    /// [`Error::NewcomersUnknown`] when it is not adopted in time.
    pub(crate) async fn adopted(&self, instance: &str) -> Result<(), Error> {
        let mut left = self.0.left.subscribe();
        {
            let mut table = self.table();
            if !table.instances.contains_key(instance) {
                return Ok(());
            }
            table.urgent.push(instance.to_owned());
        }
        self.0.urged.notify_one();
        let gone = left.wait_for(|()| !self.table().instances.contains_key(instance));
        match timeout(ADOPTED_WITHIN, gone).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::NewcomersUnknown),
        }
    }

    /// The newcomers that somebody waits for; each is given once.
    pub(crate) fn take_urgent(&self) -> Vec<String> {
        std::mem::take(&mut self.table().urgent)
    }

    /// Waits until somebody waits for a newcomer.
    pub(crate) async fn urged(&self) {
        self.0.urged.notified().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, instance: &str) -> bool {
        let Some(names) = self.instances.remove(instance) else {
            return false;
        };
        for name in names {
            if let Some(newcomers) = self.names.get_mut(&name) {
                newcomers.retain(|it| it.instance != instance);
                if newcomers.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::*;
    use crate::domain::claim::wanted;

    async fn instances(newcomers: &Newcomers, claim: &str) -> Vec<String> {
        let found = newcomers.with_name(claim).await.unwrap();
        found.into_iter().map(|it| it.instance).collect()
    }

    #[tokio::test]
    async fn a_newcomer_is_found_by_each_of_its_names_until_it_is_adopted() {
        let newcomers = Newcomers::default();
        let aliases = ["b.example".to_owned()];
        newcomers.put("1", &wanted("a.example", &aliases, "old.example"));
        newcomers.put("2", &wanted("b.example", &[], ""));
        assert_eq!(instances(&newcomers, "a.example").await, ["1"]);
        assert_eq!(instances(&newcomers, "b.example").await, ["1", "2"]);
        assert_eq!(instances(&newcomers, "redirect:old.example").await, ["1"]);
        newcomers.put("1", &wanted("a.example", &[], ""));
        assert_eq!(instances(&newcomers, "b.example").await, ["2"]);
        newcomers.remove("1");
        newcomers.remove("2");
        assert!(newcomers.table().instances.is_empty());
        assert!(instances(&newcomers, "a.example").await.is_empty());
        assert!(newcomers.table().names.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_wait_until_the_table_is_filled() {
        let newcomers = Newcomers::default();
        newcomers.begin_to_fill();
        let fill = async {
            tokio::time::sleep(FILLED_WITHIN / 2).await;
            newcomers.put("1", &wanted("a.example", &[], ""));
            newcomers.set_filled();
        };
        let (found, ()) = tokio::join!(instances(&newcomers, "a.example"), fill);
        assert_eq!(found, ["1"]);
        newcomers.begin_to_fill();
        let refused = newcomers.with_name("a.example").await;
        assert!(matches!(refused, Err(Error::NewcomersUnknown)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_newcomer_has_it_adopted_first() {
        let newcomers = Newcomers::default();
        newcomers.adopted("1").await.unwrap();
        newcomers.put("1", &wanted("a.example", &[], ""));
        let adopt = async {
            newcomers.urged().await;
            let urgent = newcomers.take_urgent();
            urgent.iter().for_each(|it| newcomers.remove(it));
            urgent
        };
        let (adopted, urgent) = tokio::join!(newcomers.adopted("1"), adopt);
        adopted.unwrap();
        assert_eq!(urgent, ["1"]);
        newcomers.put("2", &wanted("b.example", &[], ""));
        let refused = newcomers.adopted("2").await;
        assert!(matches!(refused, Err(Error::NewcomersUnknown)));
    }
}
