//! Adopting one instance, and following the changes of its document.

use couch::{ClaimOutcome, DocId, Document, Exchange};
use serde_json::{Map, Value};

use crate::{
    clock::Clock,
    domain::{
        claim::{Claim, Wanted},
        instance::InstanceDocument,
        record::Record,
    },
    error::Error,
    operations::{claims::is_abandoned, taking::require_idle},
    store::Store,
};

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Nothing is left to do.
    Done,
    /// An operation of ours has the instance.
    Busy,
    /// It has no record, and is not known for long enough.
    New,
    /// It has no record and no database.
    Bare,
    /// Another instance has one of its names.
    Contested,
    /// Its document is missing, and nothing proves that it was destroyed.
    Lost,
    /// It could not be checked.
    Failed,
}

/// What came of claiming names.
#[derive(Debug, Default)]
struct Claimed {
    /// Those that the instance has now.
    won: Vec<Wanted>,
    /// Whether another instance has one of them.
    is_contested: bool,
    /// Whether one is held by an operation, or by an instance that is being removed.
    is_held: bool,
}

impl Claimed {
    const fn checked(&self) -> Checked {
        if self.is_held {
            Checked::Busy
        } else if self.is_contested {
            Checked::Contested
        } else {
            Checked::Done
        }
    }
}

/// The documents of an instance, as lists show them.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) document: Document<InstanceDocument>,
    pub(super) record: Option<Document<Record>>,
    /// The names of the document that the list of claims does not show as claimed for it.
    pub(super) unclaimed: Vec<Wanted>,
}

impl Found {
    /// Whether the claims or the record do not say what the document says.
    pub(super) fn has_news(&self) -> bool {
        if self.document.body.deleting {
            return false;
        }
        let Some(Document { body: record, .. }) = &self.record else {
            return true;
        };
        !self.unclaimed.is_empty()
            || record.email.is_none()
            || record.following(&self.document.body) != *record
    }
}

/// Adopts instances.
#[derive(Clone, Debug)]
pub(super) struct Adopter {
    store: Store,
    clock: Clock,
    /// Stands in for an operation's id in the claims and records that this process writes; no other process has
    /// the same.
    id: String,
}

impl Adopter {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            id: format!("adoption-{}", DocId::ascending().into_string()),
        }
    }

    /// Reads some instances. Those without a readable document are left out.
    pub(super) async fn read(&self, ids: Vec<String>) -> Result<Vec<Found>, Error> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        // The records are read first. An operation of ours that changes or removes a document after this read
        // must take the instance before it does, so that the adoption's write of the record is lost. In the
        // opposite order, a document read before a destruction together with a record missing after it would
        // look like a document of other software.
        let mut records = self.store.readable_records(&ids).await?;
        let documents = self.store.readable_instances(&ids).await?;
        let wanted: Vec<Wanted> = documents
            .iter()
            .flat_map(|document| document.body.wanted())
            .collect();
        let claims: Vec<&str> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
        let claims = self.store.claims_of(&claims).await?;
        let found = documents.into_iter().map(|document| {
            let mut unclaimed = document.body.wanted();
            unclaimed.retain(|name| {
                claims
                    .get(&name.id)
                    .is_none_or(|claim| claim.instance != document.id)
            });
            Found {
                record: records.remove(&document.id),
                document,
                unclaimed,
            }
        });
        Ok(found.collect())
    }

    /// Adopts an instance, or follows its changes. One without a record is adopted only if it `is_known` for long
    /// enough.
    pub(super) async fn check(&self, found: Found, is_known: bool) -> Result<Checked, Error> {
        if !found.has_news() {
            return Ok(Checked::Done);
        }
        let Found {
            document,
            record,
            unclaimed,
        } = found;
        match record {
            Some(record) => self.follow(document, record, unclaimed).await,
            None if !is_known => Ok(Checked::New),
            None => self.adopt(document, &unclaimed).await,
        }
    }

    async fn adopt(
        &self,
        document: Document<InstanceDocument>,
        missing: &[Wanted],
    ) -> Result<Checked, Error> {
        let Document { id, body, .. } = document;
        if !self.store.is_instance_of_others(&id).await? {
            return Ok(Checked::Done);
        }
        let settings = self.store.settings(body.location()).await?;
        if settings.is_none() && !self.store.has_database(body.location()).await? {
            return Ok(Checked::Bare);
        }
        let record = Record {
            email: Some(email_in(settings.as_ref())),
            created_at: Some(self.clock.now()),
            created_by: self.id.clone(),
            ..Record::default().following(&body)
        };
        self.store.write_record(&id, &record).await?;
        let done = self.claim_for(&id, missing, &record).await?;
        tracing::debug!(domain = body.domain, instance = id, "adopted");
        Ok(done)
    }

    async fn follow(
        &self,
        document: Document<InstanceDocument>,
        record: Document<Record>,
        unclaimed: Vec<Wanted>,
    ) -> Result<Checked, Error> {
        let Document { id, body, .. } = document;
        let mut missing = Vec::new();
        for name in unclaimed {
            // The list of claims may lag, so what it lacks is read by its id. While writers race for a name, and when a
            // node of the database has brought a claim back, the instance's own claim may not be the winning one.
            let live = self.store.live_claims(&name.id).await?;
            if live.iter().all(|claim| claim.instance != id) {
                missing.push(name);
            }
        }
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
        // The instance may have given up a name since the list was read. Nobody would release its claim again.
        let wanted = document.body.wanted();
        missing.retain(|name| wanted.iter().any(|wanted| wanted.id == name.id));
        let mut following = record.body.following(&document.body);
        if following.email.is_none() {
            following.email = Some(self.email(&document.body).await?);
        }
        if missing.is_empty() && following == record.body {
            return Ok(Checked::Done);
        }
        match require_idle(&self.store, &body.domain, &record.body).await {
            Ok(()) => {
                self.bring_up_to_date(&id, &missing, record, following)
                    .await
            }
            Err(Error::Busy { .. }) => Ok(Checked::Busy),
            Err(error) => Err(error),
        }
    }

    /// The owner's mail address, from the owner's settings; empty when there is none.
    async fn email(&self, document: &InstanceDocument) -> Result<String, Error> {
        let settings = self.store.settings(document.location()).await?;
        Ok(email_in(settings.as_ref()))
    }

    /// Writes the record, claims missing names, and releases names that the instance no longer has. An operation of ours
    /// that took the instance meanwhile wins.
    async fn bring_up_to_date(
        &self,
        id: &str,
        missing: &[Wanted],
        record: Document<Record>,
        following: Record,
    ) -> Result<Checked, Error> {
        if following != record.body {
            match self
                .store
                .replace_record(id, &record.rev, &following)
                .await?
            {
                Exchange::Won(_) => {}
                Exchange::Lost => return Ok(Checked::Busy),
            }
        }
        let done = self.claim_for(id, missing, &following).await?;
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
        Ok(done)
    }

    /// Claims missing names of an instance whose record has been written: a destruction finds the claims by it, whenever
    /// this process ends. If the instance was destroyed meanwhile, or somebody else has changed it, what it does not have
    /// is given back.
    async fn claim_for(
        &self,
        id: &str,
        missing: &[Wanted],
        record: &Record,
    ) -> Result<Checked, Error> {
        if missing.is_empty() {
            return Ok(Checked::Done);
        }
        let claimed = self.claim(id, missing).await?;
        if self.is_at(id, record).await? {
            return Ok(claimed.checked());
        }
        self.give_back_strays(id, &claimed.won).await?;
        Ok(Checked::Busy)
    }

    /// Whether no operation of ours has changed the instance since its record was written.
    async fn is_at(&self, id: &str, record: &Record) -> Result<bool, Error> {
        let now = self.store.record(id).await?;
        Ok(now.is_some_and(|now| now.body == *record))
    }

    /// Claims names, in their order.
    async fn claim(&self, id: &str, names: &[Wanted]) -> Result<Claimed, Error> {
        let mut claimed = Claimed::default();
        for wanted in names {
            let claim = Claim {
                name: wanted.name.clone(),
                kind: wanted.kind,
                instance: id.to_owned(),
                operation: self.id.clone(),
                created_at: self.clock.now(),
            };
            let other = match self.store.claim_for_instance(&wanted.id, &claim).await? {
                ClaimOutcome::Won(_) => {
                    claimed.won.push(wanted.clone());
                    continue;
                }
                ClaimOutcome::Taken(other) => other,
            };
            if self.store.instance(&other.instance).await?.is_some() {
                claimed.is_contested = true;
                continue;
            }
            // What is left of the other one is being removed, or nobody remembers it.
            claimed.is_held = true;
            if is_abandoned(&self.store, &wanted.id, &other).await? {
                self.store
                    .release(&wanted.id, |found| *found == other)
                    .await?;
            }
        }
        Ok(claimed)
    }

    /// Releases names that this process claimed for an instance and that it does not have.
    async fn give_back_strays(&self, id: &str, claimed: &[Wanted]) -> Result<(), Error> {
        let document = self.store.instance(id).await?;
        let kept = document.map_or_else(Vec::new, |found| found.body.wanted());
        for name in claimed.iter().rev() {
            if kept.iter().all(|kept| kept.id != name.id) {
                self.store
                    .release(&name.id, |claim| claim.operation == self.id)
                    .await?;
            }
        }
        Ok(())
    }
}

fn email_in(settings: Option<&Document<Map<String, Value>>>) -> String {
    let email = settings.and_then(|it| it.body.get("email"));
    email.and_then(Value::as_str).unwrap_or_default().to_owned()
}
