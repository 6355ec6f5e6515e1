//! Adopting what other software does to instances: the names of those that it makes are claimed and they
//! get a place in lists; of those that it changes, names and copies are brought up to date.
//!
//! Everything is looked at once after the start, and then what the feed of changes tells. Two documents for
//! one name are reported, never chosen between. An instance that an operation of ours has is left alone
//! until that has ended; one that begins in between wins, by the record's revision.

use std::{collections::BTreeSet, collections::HashMap, time::Duration};

use couch::{ClaimOutcome, DocId, Document, Exchange};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{
        claim::{Claim, Wanted},
        instance::InstanceDocument,
        record::Record,
    },
    error::Error,
    operations::taking::require_idle,
    store::Store,
};

/// How many instances are looked at together.
const BATCH: usize = 200;

/// Adopts. One a process.
#[derive(Debug)]
pub(crate) struct Adoption {
    store: Store,
    /// What stands in the place of an operation in what this process adopts: of no other process.
    id: String,
    /// Up to where the feed of changes was read; `None` before everything was looked at once.
    since: Option<String>,
    /// The instances that could not be looked at yet.
    pending: BTreeSet<String>,
}

impl Adoption {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            id: format!("adoption-{}", DocId::ascending().into_string()),
            since: None,
            pending: BTreeSet::new(),
        }
    }

    /// Adopts every instance that has no record of ours.
    ///
    /// # Errors
    /// Any fault of the database.
    pub(crate) async fn adopt_unrecorded(&mut self) -> Result<(), Error> {
        let unrecorded = self.store.unrecorded_instances().await?;
        self.look_at_all(&unrecorded).await
    }

    /// Follows what other software does, looking every so often, until the shutdown.
    pub(crate) async fn follow(mut self, every: Duration, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for what other software does; it is tried again"
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
            // What changes while everything is looked at is told by the feed afterwards.
            let since = self.store.present_sequence().await?;
            let everything = self.store.instance_ids().await?;
            self.look_at_all(&everything).await?;
            self.since = Some(since);
            return Ok(());
        };
        let waiting: Vec<String> = std::mem::take(&mut self.pending).into_iter().collect();
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

    /// Looks at these. When the database fails, those that were not looked at are looked at later.
    async fn look_at_all(&mut self, ids: &[String]) -> Result<(), Error> {
        let mut result = Ok(());
        for batch in ids.chunks(BATCH) {
            if result.is_ok() {
                result = self.look_at(batch).await;
            }
            if result.is_err() {
                self.pending.extend(batch.iter().cloned());
            }
        }
        result
    }

    async fn look_at(&mut self, ids: &[String]) -> Result<(), Error> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        // The records first: an operation of ours that changes or removes a document later than that takes
        // the instance before, so that what is written here over its record is lost. The other way round, a
        // document from before a destruction and no record any more would look like one of other software.
        let mut records = self.store.records(&ids).await?;
        let documents = self.store.readable_instances(&ids).await?;
        let wanted: Vec<Wanted> = documents
            .iter()
            .flat_map(|document| document.body.wanted())
            .collect();
        let claims: Vec<&str> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
        let claims = self.store.claims_of(&claims).await?;
        for document in documents {
            let record = records.remove(&document.id);
            let id = document.id.clone();
            if !self.adopt(document, record, &claims).await? {
                self.pending.insert(id);
            }
        }
        Ok(())
    }

    /// Adopts one instance. Whether that is done; else it has to be looked at again.
    async fn adopt(
        &self,
        document: Document<InstanceDocument>,
        record: Option<Document<Record>>,
        claims: &HashMap<String, Claim>,
    ) -> Result<bool, Error> {
        let Document { id, body, .. } = document;
        if body.deleting {
            return Ok(true);
        }
        let missing: Vec<Wanted> = body
            .wanted()
            .into_iter()
            .filter(|wanted| {
                claims
                    .get(&wanted.id)
                    .is_none_or(|claim| claim.instance != id)
            })
            .collect();
        let Some(record) = record else {
            self.claim(&id, &missing).await?;
            let record = Record {
                created_at: clock::now(),
                created_by: self.id.clone(),
                ..Record::default().following(&body)
            };
            self.store.write_record(&id, &record).await?;
            tracing::info!(domain = body.domain, instance = id, "adopted");
            return Ok(true);
        };
        let following = record.body.following(&body);
        if missing.is_empty() && following == record.body {
            return Ok(true);
        }
        match require_idle(&self.store, &body.domain, &record.body).await {
            Ok(()) => {
                self.bring_up_to_date(&id, &missing, record, following)
                    .await
            }
            Err(Error::Busy { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Claims what is missing, writes the record, and gives back what the instance has no more. Whether it
    /// was done: an operation of ours that took the instance in between wins.
    async fn bring_up_to_date(
        &self,
        id: &str,
        missing: &[Wanted],
        record: Document<Record>,
        following: Record,
    ) -> Result<bool, Error> {
        let won = self.claim(id, missing).await?;
        if won.is_empty() && following == record.body {
            // What is missing is somebody else's.
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
            "brought up to date with what other software wrote"
        );
        Ok(true)
    }

    /// Whether nothing of ours has happened to an instance since its record was written.
    async fn is_at(&self, id: &str, record: &Record) -> Result<bool, Error> {
        let now = self.store.record(id).await?;
        Ok(now.is_some_and(|now| now.body == *record))
    }

    /// Claims names, in their order. Returns those that are the instance's now.
    async fn claim(&self, id: &str, names: &[Wanted]) -> Result<Vec<Wanted>, Error> {
        let mut won = Vec::new();
        for wanted in names {
            let claim = Claim {
                name: wanted.name.clone(),
                kind: wanted.kind,
                instance: id.to_owned(),
                operation: self.id.clone(),
                created_at: clock::now(),
            };
            match self.store.claim_for_instance(&wanted.id, &claim).await? {
                ClaimOutcome::Won(_) => won.push(wanted.clone()),
                ClaimOutcome::Taken(other) => tracing::error!(
                    name = wanted.name,
                    instance = id,
                    other = other.instance,
                    "two instances have one name; only the other one is reached by it"
                ),
            }
        }
        Ok(won)
    }

    /// Gives back names that were claimed for an instance that has them no more.
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
