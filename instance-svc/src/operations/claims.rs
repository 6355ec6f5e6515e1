//! Claiming a name for an operation.

use std::time::Duration;

use couch::ClaimOutcome;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{
    create::CreateWork,
    engine::{Early, StepError, Task},
};
use crate::{
    clock::Clock,
    domain::{
        claim::{Claim, Wanted},
        holder::Holder,
        operation::{Envelope, Phase},
    },
    error::Error,
    store::Store,
};

/// How long a claim is left alone whose operation has failed or is unknown, before the operation that meets it
/// removes it. An unknown operation may be about to be written.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A claim that was won in parallel with the write that accepts its operation, before the outcome of that write
/// is known.
#[derive(Debug)]
pub(super) struct EarlyClaim {
    store: Store,
    id: String,
    claim: Claim,
    begun: Instant,
}

impl EarlyClaim {
    /// Claims the name of a creation that wants exactly one. A claim is judged by its operation, so it may be
    /// written up to [`GRACE`] before that operation. A creation with several names makes no such claim: it may
    /// be refused because of one name, and must not have blocked another name meanwhile.
    ///
    /// `None` when the claim is not won at once; the step then decides.
    pub(super) async fn make(
        store: &Store,
        clock: &Clock,
        task: Task<'_, CreateWork>,
    ) -> Option<Box<dyn Early<CreateWork>>> {
        let wanted = task.work.spec.wanted();
        let [only] = wanted.as_slice() else {
            return None;
        };
        if !matches!(
            newcomer_with(store, &only.id, &task.envelope.instance).await,
            Ok(None)
        ) {
            return None;
        }
        let begun = Instant::now();
        let claim = of_operation(only, task.id, task.envelope, clock);
        match store.claim(&only.id, &claim).await {
            Ok(ClaimOutcome::Won(_)) => Some(Box::new(Self {
                store: store.clone(),
                id: only.id.clone(),
                claim,
                begun,
            })),
            Ok(ClaimOutcome::Taken(_)) => None,
            Err(error) => {
                tracing::debug!(
                    operation = task.id,
                    error = &error as &dyn std::error::Error,
                    "the name was not claimed in the head start; the step claims it"
                );
                None
            }
        }
    }
}

impl Early<CreateWork> for EarlyClaim {
    /// Records the name as claimed, unless the acceptance took so long that another operation may have removed
    /// the claim before this operation was written.
    fn keep(self: Box<Self>, _: &mut Envelope, work: &mut CreateWork) {
        if self.begun.elapsed() < GRACE / 2 {
            work.names.push(self.id);
        }
    }

    /// Releases the name. If another process drives the operation, that process claims the name anew, and its
    /// claim differs from this one. If the release fails, the claim counts as abandoned.
    fn give_back(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let released = self
                .store
                .release(&self.id, |found| *found == self.claim)
                .await;
            if let Err(error) = released {
                tracing::warn!(
                    name = self.id,
                    error = &error as &dyn std::error::Error,
                    "the claim of a head start could not be released"
                );
            }
        })
    }
}

/// The claim of a name that an operation wants for its instance. Each try has its own time, so it makes a revision of
/// its own: a try that lost may be withdrawn on a node that is away, and a tombstone below the same revision would
/// delete what a later try has won.
pub(super) fn of_operation(
    wanted: &Wanted,
    id: &str,
    operation: &Envelope,
    clock: &Clock,
) -> Claim {
    Claim {
        name: wanted.name.clone(),
        kind: wanted.kind,
        instance: operation.instance.clone(),
        operation: id.to_owned(),
        created_at: clock.now(),
    }
}

/// Refuses names that instances of other software have that are not adopted yet.
///
/// # Errors
/// [`Error::NameTaken`]; otherwise when the database fails.
pub(crate) async fn require_free_of_newcomers(
    store: &Store,
    names: &[Wanted],
    instance: &str,
) -> Result<(), Error> {
    for name in names {
        if let Some(domain) = newcomer_with(store, &name.id, instance).await? {
            return Err(Error::NameTaken {
                name: name.name.clone(),
                by: Holder::Instance(domain),
            });
        }
    }
    Ok(())
}

/// The domain of another instance that has the name whose claim has this id, and that is not adopted yet.
async fn newcomer_with(
    store: &Store,
    claim: &str,
    instance: &str,
) -> Result<Option<String>, Error> {
    let newcomer = store.newcomer_with(claim).await?;
    let Some(newcomer) = newcomer.filter(|it| it.instance != instance) else {
        return Ok(None);
    };
    let document = store.instance(&newcomer.instance).await?;
    Ok(document.map(|document| document.body.domain))
}

/// Claims a name. The instance may hold it already.
pub(super) async fn claim(store: &Store, wanted: &Wanted, claim: &Claim) -> Result<(), StepError> {
    let id = wanted.id.as_str();
    require_free_of_newcomers(store, std::slice::from_ref(wanted), &claim.instance).await?;
    let mut met: Option<(Claim, Instant)> = None;
    loop {
        let holder = match store.claim(id, claim).await? {
            ClaimOutcome::Won(_) => return Ok(()),
            ClaimOutcome::Taken(holder) => holder,
        };
        if holder.instance == claim.instance {
            // The claim now names this operation. A writer that read the earlier claim and wants to release it
            // finds a different one.
            match store.claim_for_instance(id, claim).await? {
                ClaimOutcome::Won(_) => return Ok(()),
                ClaimOutcome::Taken(_) => continue,
            }
        }
        // Each claim has its own grace period: one may have replaced another.
        let since = match &met {
            Some((before, since)) if *before == holder => *since,
            _ => met.insert((holder.clone(), Instant::now())).1,
        };
        // Asked before the look: a look that took long shows what was there when it began.
        let is_over = since.elapsed() >= GRACE;
        if !is_abandoned(store, id, &holder).await? {
            return Err(taken(store, &claim.name, &holder).await?.into());
        }
        if !is_over {
            tokio::time::sleep(GRACE / 4).await;
            continue;
        }
        tracing::warn!(
            name = id,
            operation = holder.operation,
            "removing an abandoned claim"
        );
        store.release(id, |found| *found == holder).await?;
    }
}

/// The error of a name that is taken: by what.
pub(crate) async fn taken(store: &Store, name: &str, claim: &Claim) -> Result<Error, couch::Error> {
    let (document, record) = tokio::try_join!(
        store.instance(&claim.instance),
        store.record(&claim.instance)
    )?;
    let record = record.map(|record| record.body);
    let by = match document.map(|document| document.body) {
        Some(document) if record.as_ref().is_some_and(|it| it.deleted_at.is_some()) => {
            Holder::Deleted {
                domain: document.domain,
                until: record.and_then(|record| record.purge_at),
            }
        }
        Some(document) => Holder::Instance(document.domain),
        None => match store.operation(&claim.operation).await? {
            Some(operation) if !operation.body.phase.is_end() => Holder::Operation {
                operation: operation.id,
                domain: operation.body.domain,
            },
            Some(_) | None => Holder::Claimed,
        },
    };
    Ok(Error::NameTaken {
        name: name.to_owned(),
        by,
    })
}

/// Removes the abandoned ones among the claims that compete for a name. A node of the database may have brought one
/// back, which then hides the valid one. Returns whether several are left: an operation may still be at work.
///
/// # Errors
/// When the database fails.
pub(crate) async fn remove_abandoned(store: &Store, id: &str) -> Result<bool, Error> {
    let mut left = 0;
    for claim in store.live_claims(id).await? {
        if is_abandoned(store, id, &claim).await? {
            store.release_returned(id, &claim).await?;
        } else {
            left += 1;
        }
    }
    Ok(left > 1)
}

/// Whether the claim with this id is abandoned: its operation has ended, is unknown, or is about another instance, and
/// its instance does not exist or does not have the name. An operation is about another instance when one request is
/// sent twice: both draw an instance id, and one is accepted. An instance does not have the name when the change failed
/// that wanted it, or when it has given the name up since, and a node of the database brought the claim back.
pub(crate) async fn is_abandoned(
    store: &Store,
    id: &str,
    claim: &Claim,
) -> Result<bool, couch::Error> {
    let operation = store.operation(&claim.operation).await?;
    let is_at_work = operation
        .filter(|operation| operation.body.instance == claim.instance)
        .is_some_and(|operation| match operation.body.phase {
            Phase::Queued | Phase::Running | Phase::Unwinding => true,
            Phase::Succeeded | Phase::Failed => false,
        });
    if is_at_work {
        return Ok(false);
    }
    let (document, record) = tokio::try_join!(
        store.instance(&claim.instance),
        store.record(&claim.instance)
    )?;
    let names = document.map(|it| it.body.wanted()).into_iter();
    let mut names = names.chain(record.map(|it| it.body.wanted())).flatten();
    Ok(!names.any(|name| name.id == id))
}
