//! Claiming a name for an operation.

use std::time::Duration;

use couch::Claim as Claiming;
use tokio::time::Instant;

use super::StepError;
use crate::{
    domain::{claim::Claim, operation::Phase},
    error::Error,
    store::Store,
};

/// How long a claim may stand whose operation has failed or is not known, before whoever meets it
/// removes it: its operation may be about to be written down.
const GRACE: Duration = Duration::from_secs(2);

/// Claims the name with this id, for an instance that may have it already.
pub(super) async fn claim(store: &Store, id: &str, claim: &Claim) -> Result<(), StepError> {
    let begun = Instant::now();
    loop {
        let holder = match store.claim(id, claim).await? {
            Claiming::Won(_) => return Ok(()),
            Claiming::Taken(holder) => holder,
        };
        if holder.instance == claim.instance {
            // It is this operation's from now on: whoever saw it before, and wants to give it back, sees
            // another one.
            match store.claim_for_instance(id, claim).await? {
                Claiming::Won(_) => return Ok(()),
                Claiming::Taken(_) => continue,
            }
        }
        if !is_abandoned(store, &holder).await? {
            return Err(Error::NameTaken(claim.name.clone()).into());
        }
        if begun.elapsed() < GRACE {
            tokio::time::sleep(GRACE / 4).await;
            continue;
        }
        tracing::warn!(
            name = id,
            operation = holder.operation,
            "removing a claim whose operation is gone"
        );
        store.release(id, |found| *found == holder).await?;
    }
}

/// Whether the operation of a claim has failed or never was, and its instance does not exist.
async fn is_abandoned(store: &Store, claim: &Claim) -> Result<bool, StepError> {
    let live = store
        .operation(&claim.operation)
        .await?
        .is_some_and(|operation| operation.body.phase != Phase::Failed);
    Ok(!live && store.instance(&claim.instance).await?.is_none())
}
