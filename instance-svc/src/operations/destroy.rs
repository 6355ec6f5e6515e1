//! The steps of a destruction. It only goes forward, and proves at its end that nothing is left.

use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{
    Peers, Report, StepError,
    create::{cluster_of, remove_databases},
    holdings::{self, Holder, Holdings},
    nothing,
    taking::{self, Terms},
};
use crate::{
    domain::{
        operation::{Failure, Operation, Work},
        steps::{DestroyStep, Step},
    },
    store::Store,
};

/// What a destruction works with.
#[derive(Clone, Debug)]
pub struct Destruction {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
}

impl Destruction {
    pub(crate) async fn perform(
        &self,
        step: DestroyStep,
        id: &str,
        operation: &Operation,
    ) -> Result<Report, StepError> {
        match step {
            DestroyStep::Flag => self.take_and_flag(id, operation).await,
            DestroyStep::Bytes => self.remove_bytes(operation).await,
            DestroyStep::Databases => {
                let removed = remove_databases(&self.store, operation.place()).await?;
                Ok(Box::new(move |operation| {
                    operation.removed.databases += removed;
                }))
            }
            DestroyStep::Look => self.look(operation).await,
            DestroyStep::Unpublish => {
                let removed = self.store.unpublish(&operation.instance).await?;
                Ok(count_document(removed))
            }
            DestroyStep::Record => {
                let removed = self.store.remove_record(&operation.instance).await?;
                Ok(count_document(removed))
            }
            DestroyStep::Claims => self.release_names(operation).await,
            DestroyStep::Prove => self.prove(operation).await,
        }
    }

    /// Takes the instance for this operation, then flags it. Only the taking can fail for good: another
    /// operation has the instance, or there is none any more.
    async fn take_and_flag(&self, id: &str, operation: &Operation) -> Result<Report, StepError> {
        let (etag, due) = match &operation.work {
            Work::Destroy { etag, due } => (etag.as_str(), due.as_deref()),
            Work::Create { .. } | Work::Change { .. } | Work::PurgeOrphans => ("", None),
        };
        let terms = Terms {
            etag,
            allows: &|record| record.may_be_destroyed(due),
        };
        let record = taking::take(&self.store, id, operation, terms).await?;
        self.store
            .flag_deleting(&operation.instance)
            .await
            .map_err(later)?;
        let names = record
            .wanted()
            .into_iter()
            .map(|wanted| wanted.id)
            .collect();
        Ok(Box::new(move |operation| operation.names = names))
    }

    async fn remove_bytes(&self, operation: &Operation) -> Result<Report, StepError> {
        let tenant = Tenant {
            id: operation.instance.clone(),
            domain: operation.domain.clone(),
            prefix: operation.prefix.clone(),
            couch_cluster: cluster_of(operation),
            ..Tenant::default()
        };
        let objects = self.peers.purge(&tenant).await?;
        Ok(Box::new(move |operation| {
            operation.removed.objects += objects;
        }))
    }

    /// Looks for databases and contents: none may be left before the documents go.
    async fn look(&self, operation: &Operation) -> Result<Report, StepError> {
        let holder = holder(operation);
        let databases = holdings::databases_of(&self.store, holder).await?;
        if !databases.is_empty() {
            let left = format!("{} databases are still there", databases.len());
            return Err(StepError::Again(DATABASES, left));
        }
        if !holdings::contents_of(&self.peers, holder).await?.is_empty() {
            let left = "contents are still there".to_owned();
            return Err(StepError::Again(BYTES, left));
        }
        Ok(nothing())
    }

    /// Looks for everything, and goes back to where the first of what is left should have been removed.
    async fn prove(&self, operation: &Operation) -> Result<Report, StepError> {
        let left = Holdings::of(&self.store, &self.peers, holder(operation)).await?;
        let described = left.describe();
        let again = match &left {
            Holdings { contents, .. } if !contents.is_empty() => BYTES,
            Holdings { databases, .. } if !databases.is_empty() => DATABASES,
            Holdings { documents, .. } if !documents.is_empty() => UNPUBLISH,
            Holdings { claims, .. } if !claims.is_empty() => CLAIMS,
            _ => return Ok(Box::new(move |operation| operation.leftovers = described)),
        };
        Err(StepError::Again(again, described.join(", ")))
    }

    /// Gives the names back, in reverse order.
    async fn release_names(&self, operation: &Operation) -> Result<Report, StepError> {
        let mut released = 0;
        for name in operation.names.iter().rev() {
            let ours = self
                .store
                .release(name, |claim| claim.instance == operation.instance)
                .await?;
            released += u64::from(ours);
        }
        Ok(Box::new(move |operation| {
            operation.removed.claims += released;
        }))
    }
}

const BYTES: &str = Step::Destroy(DestroyStep::Bytes).name();
const DATABASES: &str = Step::Destroy(DestroyStep::Databases).name();
const UNPUBLISH: &str = Step::Destroy(DestroyStep::Unpublish).name();
const CLAIMS: &str = Step::Destroy(DestroyStep::Claims).name();

fn holder(operation: &Operation) -> Holder<'_> {
    Holder {
        instance: &operation.instance,
        domain: &operation.domain,
        place: operation.place(),
        names: &operation.names,
    }
}

fn count_document(removed: bool) -> Report {
    Box::new(move |operation| operation.removed.documents += u64::from(removed))
}

/// The instance is taken: whatever goes wrong now is tried again, never given up.
fn later(error: couch::Error) -> StepError {
    match StepError::from(error) {
        StepError::Never(Failure { message, .. }) => StepError::Later(message),
        other => other,
    }
}
