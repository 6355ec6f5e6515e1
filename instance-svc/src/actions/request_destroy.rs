//! Asking for a destruction.

use service_kit::secret::Secret;

use super::{
    arguments_mac, check_request_id,
    find::{self, Found},
    known, operation_id,
};
use crate::{
    domain::{
        claim::Kind,
        name::Name,
        operation::{Operation, Removed, Work},
    },
    error::Error,
    operations::{
        Accepted, Engine,
        holdings::{Holder, Holdings},
    },
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
    /// Everything would be fine; nothing was done.
    Valid {
        /// The domain that would go.
        domain: String,
        /// How much would go with it.
        count: Removed,
    },
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
    /// No such instance, an alias, an instance that changed, is locked or that another operation has, a request id
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
        if let Some(operation) = known(self.store, request_id, &id, &mac).await? {
            return Ok(Answer::Accepted { id, operation });
        }
        let found = find::idle_by_name(self.store, name).await?;
        if found.kind != Kind::Domain {
            return Err(Error::Alias {
                alias: name.to_string(),
                domain: found.document.body.domain,
            });
        }
        if !etag.is_empty() && etag != found.etag() {
            return Err(Error::EtagMismatch(name.to_string()));
        }
        let domain = found.document.body.domain.clone();
        if let Some(record) = &found.record {
            record
                .body
                .may_be_destroyed(None)
                .map_err(|why| Error::Refused {
                    domain: domain.clone(),
                    why,
                })?;
        }
        if validate_only {
            let count = self.count(&found).await?;
            return Ok(Answer::Valid { domain, count });
        }
        let operation = Operation {
            work: Work::Destroy {
                etag: etag.to_owned(),
                due: None,
            },
            instance: found.id,
            domain,
            prefix: found.document.body.database_prefix().to_owned(),
            couch_cluster: found.document.body.couch_cluster,
            ..Operation::new(mac, self.engine.clock().now())
        };
        let checked = std::future::ready(Ok(Vec::new()));
        match self.engine.accept(id, operation, checked).await? {
            Accepted::Operation { id, operation } => Ok(Answer::Accepted { id, operation }),
            Accepted::Reused => Err(Error::RequestIdReused),
        }
    }

    /// How much there is of an instance.
    async fn count(&self, found: &Found) -> Result<Removed, Error> {
        let document = &found.document.body;
        let names: Vec<String> = document
            .wanted()
            .into_iter()
            .map(|wanted| wanted.id)
            .collect();
        let holder = Holder {
            instance: &found.id,
            domain: &document.domain,
            place: document.place(),
            names: &names,
        };
        let holdings = Holdings::of(self.store, self.engine.peers(), holder).await?;
        Ok(holdings.count())
    }
}
