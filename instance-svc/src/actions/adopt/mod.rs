//! Following what other software does to instances, as it makes, changes and destroys them.
//!
//! - An instance without a record is *adopted*: its names are claimed, and it is added to lists.
//! - When the document of an instance changes, its claims and the copies in its record follow.
//! - What is left of an instance whose document is gone is removed by an ordinary destruction.
//!
//! All instances are read once after the start, and then those that the feed of changes reports. The names of
//! instances that are not adopted yet are kept in memory ([`Newcomers`]), so that they are found, and given to
//! nobody else, from the first second on. If two documents have the same name, neither is preferred.
//!
//! An instance that one of our operations has is skipped until that operation has ended. An operation that takes
//! the instance during the adoption wins, by the record's revision.
//!
//! A node of the database that was away may bring back the document of an instance that was destroyed. So a
//! document without a record is adopted only if it was seen for a while, if neither it nor its record was removed
//! for good, and if the instance has a database: an instance without one is none, and is an orphan.

mod adopter;
mod gone;
mod queue;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use couch::Feed;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    adopter::{Adopter, Checked, Found},
    queue::{Due, Queue},
};
use crate::{
    clock::Clock,
    domain::{instance::InstanceDocument, name::Name},
    error::Error,
    operations::Engine,
    store::{InstanceChange, Store},
};

/// How many instances are read together.
const BATCH: usize = 200;

/// How many batches are read at once after the start.
const BATCHES_AT_ONCE: usize = 4;

/// How many instances are adopted at once.
const ADOPTED_AT_ONCE: usize = 16;

/// How long a change is left alone. The writer of a new document may make its databases after it, and the operation
/// that has deleted one goes on to its record.
const GRACE: Duration = Duration::from_secs(2);

/// How long changes are gathered before the feed is asked again.
const HEARD_EVERY: Duration = Duration::from_millis(500);

/// How long an instance is left alone that somebody else has to do something about: its first database is missing,
/// its document is lost, or it cannot be followed.
const LATER: Duration = Duration::from_secs(60);

/// How often an instance that has the name of another one is looked at.
const CONTESTED_EVERY: Duration = Duration::from_secs(30);

/// How far the adoption of this process has come. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    unadopted: AtomicU64,
    bare: AtomicU64,
}

impl Progress {
    /// How many instances of other software are still to be adopted.
    pub(crate) fn unadopted(&self) -> u64 {
        self.0.unadopted.load(Ordering::Relaxed)
    }

    /// How many documents of instances have neither a record nor a database.
    pub(crate) fn bare(&self) -> u64 {
        self.0.bare.load(Ordering::Relaxed)
    }
}

/// Follows what other software does. There is one in each process.
#[derive(Debug)]
pub(crate) struct Adoption {
    store: Store,
    engine: Engine,
    clock: Clock,
    adopter: Adopter,
    queue: Queue,
    progress: Progress,
    /// The port of the public door, when it is known.
    public_port: Option<u16>,
    /// How often the queue is looked at, and how long to wait after a failure.
    every: Duration,
}

/// How many instances have another port than the public door, and the domain of one.
#[derive(Debug, Default)]
struct Elsewhere {
    count: usize,
    example: String,
}

impl Adoption {
    /// Nothing is read yet; look-ups of unknown names wait for it from now on.
    pub(crate) fn new(
        store: Store,
        engine: Engine,
        clock: Clock,
        progress: Progress,
        public_port: Option<u16>,
        every: Duration,
    ) -> Self {
        store.newcomers().begin_to_fill();
        Self {
            adopter: Adopter::new(store.clone(), clock.clone()),
            store,
            engine,
            clock,
            queue: Queue::default(),
            progress,
            public_port,
            every,
        }
    }

    /// Follows until the shutdown.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.run() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn run(&self) {
        let since = loop {
            match self.read_all().await {
                Ok(since) => break since,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the instances of other software cannot be read; this is tried again"
                    );
                    tokio::time::sleep(self.every).await;
                }
            }
        };
        tokio::join!(self.hear(since), self.work());
    }

    /// Reads all instances, and queues those that have something to follow. Returns the position in the feed of
    /// changes that precedes the reading.
    async fn read_all(&self) -> Result<String, Error> {
        let since = self.store.present_sequence().await?;
        let recorded = self.store.recorded_ids().await?;
        let mut ids = self.store.instance_ids().await?;
        let mut elsewhere = Elsewhere::default();
        let batches: Vec<Vec<String>> = ids.chunks(BATCH).map(<[String]>::to_vec).collect();
        let mut batches = stream::iter(batches)
            .map(|batch| self.adopter.read(batch))
            .buffer_unordered(BATCHES_AT_ONCE);
        while let Some(found) = batches.try_next().await? {
            for found in found {
                self.note_port(&mut elsewhere, &found.document.body);
                if found.has_news() {
                    let id = &found.document.id;
                    self.store.newcomers().put(id, &found.unclaimed);
                    self.queue.note_known(id, found.record.is_none());
                }
            }
        }
        drop(batches);
        self.store.newcomers().set_filled();
        ids.sort_unstable();
        for id in recorded {
            if ids.binary_search(&id).is_err() {
                self.queue.note_known(&id, false);
            }
        }
        let unadopted = self.report();
        if unadopted > 0 {
            tracing::info!(
                unadopted,
                "instances that other software made are being adopted"
            );
        }
        self.warn_of_ports(&elsewhere);
        Ok(since)
    }

    /// Notes what changes, without end.
    async fn hear(&self, since: String) {
        let mut changes = pin!(self.store.instance_changes(since));
        while let Some(item) = changes.next().await {
            match item {
                Feed::Change(change) => {
                    if let Some(change) = InstanceChange::of(change) {
                        self.hear_of(&change);
                    }
                }
                // The next question waits, so that many changes cost one.
                Feed::UpToDate(_) => tokio::time::sleep(HEARD_EVERY).await,
                Feed::Interrupted(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the feed of instances is interrupted"
                ),
            }
        }
    }

    fn hear_of(&self, change: &InstanceChange) {
        match change {
            InstanceChange::Gone(id) => self.store.newcomers().remove(id),
            InstanceChange::Unreadable(_) => {}
            // Most changes are our own, and their names are claimed. Which are not is found when it is looked at.
            InstanceChange::Written(id, document) => {
                self.store.newcomers().put(id, &document.wanted());
            }
        }
        self.queue.note_heard(change.id());
    }

    /// Looks at what is due in the queue, without end.
    async fn work(&self) {
        let newcomers = self.store.newcomers();
        loop {
            for id in newcomers.take_urgent() {
                self.queue.note_urgent(&id);
            }
            let due = self.queue.due(BATCH);
            if !due.is_empty()
                && let Err(error) = self.look_at(&due).await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "changes by other software cannot be followed; this is tried again"
                );
                self.queue.put_off_all(&due, Instant::now() + self.every);
                tokio::time::sleep(self.every).await;
            }
            self.report();
            // Many small changes are looked at together.
            if due.len() < BATCH {
                tokio::select! {
                    () = tokio::time::sleep(self.every) => {}
                    () = newcomers.urged() => {}
                }
            }
        }
    }

    async fn look_at(&self, due: &[Due]) -> Result<(), Error> {
        let ids: Vec<String> = due.iter().map(|due| due.id.clone()).collect();
        let found = self.adopter.read(ids).await?;
        let mut found: HashMap<String, Found> = found
            .into_iter()
            .map(|found| (found.document.id.clone(), found))
            .collect();
        let looks: Vec<_> = due
            .iter()
            .map(|due| (due.clone(), found.remove(&due.id)))
            .collect();
        // Each is tried, whatever comes of the others.
        let mut ended = stream::iter(looks)
            .map(|(due, found)| self.look_at_one(due, found))
            .buffer_unordered(ADOPTED_AT_ONCE);
        let mut result = Ok(());
        while let Some(one) = ended.next().await {
            result = result.and(one);
        }
        result
    }

    async fn look_at_one(&self, due: Due, found: Option<Found>) -> Result<(), Error> {
        let id = due.id.as_str();
        let checked = match found {
            Some(found) => self.adopter.check(found, self.queue.is_known(id)).await,
            None => self.clear(id).await,
        };
        let newcomers = self.store.newcomers();
        let (checked, error) = match checked {
            Ok(Checked::Done) => {
                // Else it has changed meanwhile.
                if self.queue.finish(&due) {
                    newcomers.remove(id);
                }
                return Ok(());
            }
            Ok(checked) => (checked, None),
            Err(Error::Database(error)) if error.is_retryable() => return Err(error.into()),
            // The others are followed all the same.
            Err(error) => (Checked::Failed, Some(error)),
        };
        if matches!(checked, Checked::Bare | Checked::Contested) {
            // Nobody else is kept from the names: it is no instance, or another one has them.
            newcomers.remove(id);
        }
        let pause = match checked {
            Checked::Contested => CONTESTED_EVERY,
            Checked::Bare | Checked::Lost | Checked::Failed => LATER,
            Checked::Done | Checked::Busy | Checked::New => self.every,
        };
        let is_news = self.queue.put_off(id, checked, Instant::now() + pause);
        if is_news {
            tell(id, checked, error.as_ref());
        }
        Ok(())
    }

    /// Publishes how far the adoption has come. Returns how many instances are left.
    fn report(&self) -> u64 {
        let (unadopted, bare) = self.queue.counts();
        let counts = &self.progress.0;
        let before = counts.unadopted.swap(unadopted, Ordering::Relaxed);
        counts.bare.store(bare, Ordering::Relaxed);
        if before > 0 && unadopted == 0 {
            tracing::info!("all instances that other software made are adopted");
        }
        unadopted
    }

    fn note_port(&self, elsewhere: &mut Elsewhere, document: &InstanceDocument) {
        let port = document.domain.parse().ok();
        let port = port.and_then(|name: Name| name.port());
        if port.is_some() && self.public_port.is_some() && port != self.public_port {
            elsewhere.count += 1;
            elsewhere.example.clone_from(&document.domain);
        }
    }

    /// Warns when instances have another port than the public door, which may have been moved since.
    fn warn_of_ports(&self, elsewhere: &Elsewhere) {
        let Elsewhere { count, example } = elsewhere;
        if let Some(port) = self.public_port
            && *count > 0
        {
            tracing::warn!(
                count,
                example,
                port,
                "instances have another port than the public door; their links lead nowhere unless something forwards it"
            );
        }
    }
}

/// Tells what somebody has to do something about, once.
fn tell(instance: &str, checked: Checked, error: Option<&Error>) {
    match checked {
        Checked::Contested => tracing::error!(
            instance,
            "the instance has a name that leads to another one (`hamlet instances conflicts`)"
        ),
        Checked::Lost => tracing::warn!(
            instance,
            "the document of the instance is missing, and nothing proves that it was destroyed; what is left of it \
             stays (`hamlet instances orphans`)"
        ),
        Checked::Failed => tracing::warn!(
            instance,
            error = error.map(|error| error as &dyn std::error::Error),
            "what other software does to this instance cannot be followed; it is tried again in a while"
        ),
        Checked::Bare => tracing::debug!(instance, "the instance has no database yet"),
        Checked::Busy => tracing::debug!(instance, "an operation has the instance or its names"),
        Checked::Done | Checked::New => {}
    }
}
