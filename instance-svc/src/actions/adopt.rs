//! Adopting instances that other software makes or changes. The names of new instances are claimed and the
//! instances are added to lists; for changed instances, names and copied fields are updated.
//!
//! All instances are checked once after the start, and then those that the feed of changes reports. If two
//! documents have the same name, that is logged and neither is preferred. An instance that one of our
//! operations has is skipped until that operation has ended. An operation that takes the instance during the
//! adoption wins, by the record's revision.
//!
//! A node of the database that was away may bring back the document of an instance that was destroyed. So a
//! document without a record is adopted only if it was seen for a while, if neither it nor its record was removed
//! for good, and if the instance has a database: an instance without one is none, and is an orphan.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use couch::{ClaimOutcome, DocId, Document, Exchange};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    domain::{
        claim::{Claim, Wanted},
        instance::InstanceDocument,
        name::Name,
        record::Record,
    },
    error::Error,
    operations::taking::require_idle,
    store::Store,
};

/// How many instances are checked together.
const BATCH: usize = 200;

/// How long a new document without a record is left alone: its writer may make its databases after it.
const GRACE: Duration = Duration::from_secs(2);

/// How often a document that waits for its first database is looked at.
const BARE_EVERY: Duration = Duration::from_secs(60);

/// A document that could not be checked yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When it is looked at next.
    next: Instant,
    /// Whether it was seen before without a record.
    is_known: bool,
    /// Whether it had no database.
    is_bare: bool,
}

/// How many documents of instances have neither a record nor a database, as the adoption of this process saw last.
#[derive(Clone, Debug, Default)]
pub(crate) struct BareInstances(Arc<AtomicU64>);

impl BareInstances {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    /// Nothing is left to do.
    Done,
    /// An operation of ours has the instance.
    Busy,
    /// It has no record, and is new.
    New,
    /// It has no record and no database.
    Bare,
}

/// Adopts instances. There is one in each process.
#[derive(Debug)]
pub(crate) struct Adoption {
    store: Store,
    clock: Clock,
    /// Stands in for an operation's id in the claims and records that this process writes; no other process has
    /// the same.
    id: String,
    /// The position up to which the feed of changes was read; `None` until all instances were checked once.
    since: Option<String>,
    /// The instances that could not be checked yet.
    pending: BTreeMap<String, Pending>,
    bare: BareInstances,
    /// The port of the public door, when it is known.
    public_port: Option<u16>,
    /// How many instances have another port, as the check of all of them finds, and the domain of one.
    elsewhere: (usize, String),
}

impl Adoption {
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        bare: BareInstances,
        public_port: Option<u16>,
    ) -> Self {
        Self {
            store,
            clock,
            bare,
            public_port,
            elsewhere: (0, String::new()),
            id: format!("adoption-{}", DocId::ascending().into_string()),
            since: None,
            pending: BTreeMap::new(),
        }
    }

    /// Adopts every instance without a record. None of them counts as new.
    pub(crate) async fn adopt_unrecorded(&mut self) -> Result<(), Error> {
        let unrecorded = self.store.unrecorded_instances().await?;
        for id in &unrecorded {
            self.note(id, Duration::ZERO, Some(Checked::Busy));
        }
        self.look_at_all(&unrecorded).await
    }

    /// Checks at intervals for changes by other software, until the shutdown.
    pub(crate) async fn follow(mut self, every: Duration, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "changes by other software cannot be read; this is tried again"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let Some(mut since) = self.since.clone() else {
            // Changes made during this full check are reported by the feed afterwards.
            let since = self.store.present_sequence().await?;
            let everything = self.store.instance_ids().await?;
            self.elsewhere = (0, String::new());
            self.look_at_all(&everything).await?;
            self.since = Some(since);
            self.warn_of_ports();
            return Ok(());
        };
        let now = Instant::now();
        let waiting: Vec<String> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.next <= now)
            .map(|(id, _)| id.clone())
            .collect();
        self.look_at_all(&waiting).await?;
        loop {
            let (changed, next) = self.store.changed_instances(&since, BATCH).await?;
            self.look_at_all(&changed).await?;
            let last = changed.is_empty();
            since.clone_from(&next);
            self.since = Some(next);
            if last {
                return Ok(());
            }
        }
    }

    /// Warns when instances have another port than the public door, which may have been moved since.
    fn warn_of_ports(&self) {
        let (count, example) = &self.elsewhere;
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

    /// Checks these instances. If the database fails, the rest is checked later.
    async fn look_at_all(&mut self, ids: &[String]) -> Result<(), Error> {
        let mut result = Ok(());
        for batch in ids.chunks(BATCH) {
            if result.is_ok() {
                result = self.look_at(batch).await;
            }
            if result.is_err() {
                for id in batch {
                    self.note(id, Duration::ZERO, None);
                }
            }
        }
        let bare = self.pending.values().filter(|it| it.is_bare).count();
        self.bare.0.store(bare as u64, Ordering::Relaxed);
        result
    }

    /// Has an instance checked again, after a while. `None` when it could not be checked: what is known of it stays.
    fn note(&mut self, id: &str, after: Duration, checked: Option<Checked>) {
        let before = self.pending.get(id);
        let pending = Pending {
            next: Instant::now() + after,
            is_known: checked.is_some() || before.is_some_and(|it| it.is_known),
            is_bare: checked.map_or(before.is_some_and(|it| it.is_bare), |it| {
                it == Checked::Bare
            }),
        };
        self.pending.insert(id.to_owned(), pending);
    }

    async fn look_at(&mut self, ids: &[String]) -> Result<(), Error> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        // The records are read first. An operation of ours that changes or removes a document after this read
        // must take the instance before it does, so that the adoption's write of the record is lost. In the
        // opposite order, a document read before a destruction together with a record missing after it would
        // look like a document of other software.
        let mut records = self.store.records(&ids).await?;
        let documents = self.store.readable_instances(&ids).await?;
        let found: Vec<String> = documents
            .iter()
            .map(|document| document.id.clone())
            .collect();
        let wanted: Vec<Wanted> = documents
            .iter()
            .flat_map(|document| document.body.wanted())
            .collect();
        let claims: Vec<&str> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
        let claims = self.store.claims_of(&claims).await?;
        for document in documents {
            let port = document.body.domain.parse().ok();
            let port = port.and_then(|name: Name| name.port());
            if port.is_some() && self.public_port.is_some() && port != self.public_port {
                self.elsewhere.0 += 1;
                self.elsewhere.1.clone_from(&document.body.domain);
            }
            let record = records.remove(&document.id);
            let id = document.id.clone();
            let checked = self.adopt(document, record, &claims).await?;
            let after = match checked {
                Checked::Done => {
                    self.pending.remove(&id);
                    continue;
                }
                Checked::Busy => Duration::ZERO,
                Checked::New => GRACE,
                Checked::Bare => BARE_EVERY,
            };
            self.note(&id, after, Some(checked));
        }
        // What is gone needs no further look.
        let found: HashSet<&str> = found.iter().map(String::as_str).collect();
        for id in ids.iter().filter(|id| !found.contains(*id)) {
            self.pending.remove(*id);
        }
        Ok(())
    }

    /// Adopts one instance.
    async fn adopt(
        &self,
        document: Document<InstanceDocument>,
        record: Option<Document<Record>>,
        claims: &HashMap<String, Claim>,
    ) -> Result<Checked, Error> {
        let Document { id, body, .. } = document;
        if body.deleting {
            return Ok(Checked::Done);
        }
        let is_of_another = |claim: Option<&Claim>| claim.is_none_or(|it| it.instance != id);
        let mut missing = Vec::new();
        for wanted in body.wanted() {
            // The list of claims may lag, so what it lacks is read by its id. While writers race for a name, and when a
            // node of the database has brought a claim back, the instance's own claim may not be the winning one.
            if is_of_another(claims.get(&wanted.id)) {
                let live = self.store.live_claims(&wanted.id).await?;
                if live.iter().all(|claim| claim.instance != id) {
                    missing.push(wanted);
                }
            }
        }
        let Some(record) = record else {
            if !self
                .pending
                .get(&id)
                .is_some_and(|pending| pending.is_known)
            {
                return Ok(Checked::New);
            }
            if !self.store.is_instance_of_others(&id).await? {
                return Ok(Checked::Done);
            }
            if !self.store.has_database(body.location()).await? {
                tracing::debug!(domain = body.domain, instance = id, "has no database yet");
                return Ok(Checked::Bare);
            }
            self.claim(&id, &missing).await?;
            let record = Record {
                email: Some(self.email(&body).await?),
                created_at: Some(self.clock.now()),
                created_by: self.id.clone(),
                ..Record::default().following(&body)
            };
            self.store.write_record(&id, &record).await?;
            tracing::info!(domain = body.domain, instance = id, "adopted");
            return Ok(Checked::Done);
        };
        let is_known = record.body.email.is_some();
        if missing.is_empty() && is_known && record.body.following(&body) == record.body {
            return Ok(Checked::Done);
        }
        // The lists may lag, so nothing is written before both documents are read by their id.
        let (document, record) =
            tokio::try_join!(self.store.instance(&id), self.store.record(&id))?;
        let (Some(document), Some(record)) = (document, record) else {
            return Ok(Checked::Done);
        };
        let mut following = record.body.following(&document.body);
        if following.email.is_none() {
            following.email = Some(self.email(&document.body).await?);
        }
        if missing.is_empty() && following == record.body {
            return Ok(Checked::Done);
        }
        match require_idle(&self.store, &body.domain, &record.body).await {
            Ok(()) => {
                let is_done = self
                    .bring_up_to_date(&id, &missing, record, following)
                    .await?;
                Ok(if is_done {
                    Checked::Done
                } else {
                    Checked::Busy
                })
            }
            Err(Error::Busy { .. }) => Ok(Checked::Busy),
            Err(error) => Err(error),
        }
    }

    /// The owner's mail address, from the owner's settings; empty when there is none.
    async fn email(&self, document: &InstanceDocument) -> Result<String, Error> {
        let settings = self.store.settings(document.location()).await?;
        let email = settings.as_ref().and_then(|it| it.body.get("email"));
        let email = email.and_then(Value::as_str).unwrap_or_default();
        Ok(email.to_owned())
    }

    /// Claims missing names, writes the record, and releases names that the instance no longer has. Returns
    /// whether it succeeded: an operation of ours that took the instance meanwhile wins.
    async fn bring_up_to_date(
        &self,
        id: &str,
        missing: &[Wanted],
        record: Document<Record>,
        following: Record,
    ) -> Result<bool, Error> {
        let won = self.claim(id, missing).await?;
        if won.is_empty() && following == record.body {
            // The missing names belong to another instance.
            return Ok(true);
        }
        match self
            .store
            .replace_record(id, &record.rev, &following)
            .await?
        {
            Exchange::Won(_) => {}
            Exchange::Lost => {
                self.give_back_strays(id, &won).await?;
                return Ok(false);
            }
        }
        let kept = following.wanted();
        for gone in record.body.wanted().iter().rev() {
            if kept.iter().any(|kept| kept.id == gone.id) {
                continue;
            }
            if let Some(seen) = self.store.claim_of(&gone.id).await?
                && seen.instance == id
                && self.is_at(id, &following).await?
            {
                self.store.release(&gone.id, |found| *found == seen).await?;
            }
        }
        tracing::info!(
            domain = following.domain,
            instance = id,
            "updated from what other software wrote"
        );
        Ok(true)
    }

    /// Whether no operation of ours has changed the instance since its record was written.
    async fn is_at(&self, id: &str, record: &Record) -> Result<bool, Error> {
        let now = self.store.record(id).await?;
        Ok(now.is_some_and(|now| now.body == *record))
    }

    /// Claims names, in their order. Returns those that the instance has now.
    async fn claim(&self, id: &str, names: &[Wanted]) -> Result<Vec<Wanted>, Error> {
        let mut won = Vec::new();
        for wanted in names {
            let claim = Claim {
                name: wanted.name.clone(),
                kind: wanted.kind,
                instance: id.to_owned(),
                operation: self.id.clone(),
                created_at: self.clock.now(),
            };
            match self.store.claim_for_instance(&wanted.id, &claim).await? {
                ClaimOutcome::Won(_) => won.push(wanted.clone()),
                ClaimOutcome::Taken(other) => tracing::error!(
                    name = wanted.name,
                    instance = id,
                    other = other.instance,
                    "two instances have the same name; it leads to the other one"
                ),
            }
        }
        Ok(won)
    }

    /// Releases names that were claimed for an instance and that it no longer has.
    async fn give_back_strays(&self, id: &str, claimed: &[Wanted]) -> Result<(), Error> {
        let document = self.store.instance(id).await?;
        let kept = document.map_or_else(Vec::new, |found| found.body.wanted());
        for name in claimed.iter().rev() {
            if !kept.iter().any(|kept| kept.id == name.id) {
                self.store
                    .release(&name.id, |claim| claim.operation == self.id)
                    .await?;
            }
        }
        Ok(())
    }
}
