//! Asking for a destruction.

use service_kit::secret::Secret;

use super::{
    arguments_mac, check_request_id,
    find::{self, Found},
    operation_id,
    request_create::blank,
};
use crate::{
    clock,
    domain::{
        claim::Kind,
        name::Name,
        operation::{Operation, Phase, Work},
    },
    error::Error,
    operations::{Accepted, Engine},
    store::Store,
};

/// What a request for a destruction came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An operation, new or known.
    Accepted {
        /// Its id.
        id: String,
        /// How far it is.
        operation: Box<Operation>,
    },
    /// Everything would be fine; nothing was done. The domain that would go.
    Valid(String),
}

/// Asks for a destruction.
#[derive(Debug)]
pub(crate) struct RequestDestroy<'a> {
    /// Where documents lie.
    pub store: &'a Store,
    /// Who drives it.
    pub engine: &'a Engine,
    /// The key under which arguments are compared.
    pub key: &'a Secret,
}

impl RequestDestroy<'_> {
    /// Checks the request and, unless only that is wanted, accepts it.
    ///
    /// # Errors
    /// No such instance, an alias, an instance that changed or that another operation has, a request id
    /// that was used otherwise, a fault of the database.
    pub(crate) async fn ask(
        &self,
        name: &Name,
        etag: &str,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Answer, Error> {
        check_request_id(request_id)?;
        let mac = arguments_mac(self.key, &(name.host(), etag))?;
        let id = operation_id("destroy", request_id);
        // The instance may be gone already when a lost answer is asked for again.
        if !request_id.is_empty()
            && let Some(known) = self.store.operation(&id).await?
        {
            return if known.body.arguments_mac == mac {
                Ok(Answer::Accepted {
                    id,
                    operation: Box::new(known.body),
                })
            } else {
                Err(Error::RequestIdReused)
            };
        }
        let found = self.find(name).await?;
        if found.kind != Kind::Domain {
            return Err(Error::Alias {
                alias: name.to_string(),
                domain: found.document.body.domain,
            });
        }
        if !etag.is_empty() && etag != found.etag() {
            return Err(Error::EtagMismatch(name.to_string()));
        }
        self.require_idle(&found).await?;
        let domain = found.document.body.domain.clone();
        if validate_only {
            return Ok(Answer::Valid(domain));
        }
        let operation = Operation {
            work: Work::Destroy,
            instance: found.id,
            domain,
            prefix: found.document.body.prefix,
            ..blank(mac, clock::now())
        };
        match self.engine.accept(id, operation).await? {
            Accepted::Operation { id, operation } => Ok(Answer::Accepted { id, operation }),
            Accepted::Reused => Err(Error::RequestIdReused),
        }
    }

    /// Finds the instance; one that is still being created is busy, not missing.
    async fn find(&self, name: &Name) -> Result<Found, Error> {
        match find::by_name(self.store, name).await {
            Err(Error::NoSuchInstance(missing)) => {
                if let Some(claim) = self.store.claim_of(name.host()).await?
                    && let Some(creation) = self.store.operation(&claim.operation).await?
                    && !creation.body.phase.is_end()
                {
                    return Err(Error::Busy {
                        domain: creation.body.domain,
                        operation: claim.operation,
                    });
                }
                Err(Error::NoSuchInstance(missing))
            }
            other => other,
        }
    }

    /// The operation's first step takes the instance and decides; this only spares a useless one.
    async fn require_idle(&self, found: &Found) -> Result<(), Error> {
        let Some(other) = found
            .record
            .as_ref()
            .and_then(|record| record.body.operation.clone())
        else {
            return Ok(());
        };
        let running = self
            .store
            .operation(&other)
            .await?
            .is_some_and(|other| !matches!(other.body.phase, Phase::Succeeded | Phase::Failed));
        if running {
            return Err(Error::Busy {
                domain: found.document.body.domain.clone(),
                operation: other,
            });
        }
        Ok(())
    }
}
