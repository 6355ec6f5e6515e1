//! Asking for a change of an instance that exists.

use serde::Serialize;
use service_kit::secret::Secret;

use super::{
    arguments_mac, check_request_id,
    find::{self, Found},
    known, operation_id,
};
use crate::{
    domain::{
        change::{Change, ChangeKind},
        claim::Kind,
        name::Name,
        operation::{Operation, Work},
        record::Record,
    },
    error::Error,
    operations::{Accepted, Engine},
    store::Store,
};

/// What a request for a change came to.
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
        /// The instance as it would be.
        found: Box<Found>,
        /// What was asked.
        kind: ChangeKind,
    },
}

/// What a request for a change comes to, before it is accepted.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It has its answer already.
    Answer(Answer),
    /// It is to be accepted.
    New(Box<New>),
}

/// A change that is to be accepted.
#[derive(Debug)]
pub(crate) struct New {
    /// The id of the operation.
    pub id: String,
    /// The operation.
    pub operation: Operation,
    /// The instance as it is now.
    pub found: Found,
}

/// Asks for a change.
#[derive(Debug)]
pub(crate) struct RequestChange<'a> {
    /// Where documents lie.
    pub store: &'a Store,
    /// Who drives it.
    pub engine: &'a Engine,
    /// The key under which arguments are compared.
    pub key: &'a Secret,
}

impl RequestChange<'_> {
    /// Checks the request and, unless only that is wanted, accepts it.
    ///
    /// `arguments` is what the caller asked, to be compared when the same request id comes again; `change`
    /// what that means now, unchecked.
    ///
    /// # Errors
    /// A wrong field, no such instance, one that changed, that another operation has or whose state does
    /// not allow it, a request id that was used otherwise, a fault of the database.
    pub(crate) async fn ask(
        &self,
        name: &Name,
        arguments: &(impl Serialize + Sync),
        change: Change,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Answer, Error> {
        let prepared = self
            .prepare(name, arguments, change, request_id, validate_only)
            .await?;
        match prepared {
            Prepared::Answer(answer) => Ok(answer),
            Prepared::New(new) => self.accept(*new).await,
        }
    }

    /// Checks the request, and accepts nothing yet.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) async fn prepare(
        &self,
        name: &Name,
        arguments: &(impl Serialize + Sync),
        change: Change,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Prepared, Error> {
        check_request_id(request_id)?;
        let kind = change.kind;
        let mac = arguments_mac(self.key, &(name.host(), arguments))?;
        // Deleting softly and destroying are one request.
        let verb = if kind == ChangeKind::Delete {
            "destroy"
        } else {
            kind.name()
        };
        let id = operation_id(verb, request_id);
        if let Some(operation) = known(self.store, request_id, &id, &mac).await? {
            return Ok(Prepared::Answer(Answer::Accepted { id, operation }));
        }
        let found = find::idle_by_name(self.store, name).await?;
        let document = &found.document.body;
        if kind == ChangeKind::Delete && found.kind != Kind::Domain {
            return Err(Error::Alias {
                alias: name.to_string(),
                domain: document.domain.clone(),
            });
        }
        if !change.etag.is_empty() && change.etag != found.etag() {
            return Err(Error::EtagMismatch(name.to_string()));
        }
        let unrecorded = Record::default();
        let record = found
            .record
            .as_ref()
            .map_or(&unrecorded, |record| &record.body);
        change.may_begin(record).map_err(|why| Error::Refused {
            domain: document.domain.clone(),
            why,
        })?;
        let change = change.check(document, record)?;
        if validate_only {
            let found = Box::new(preview(found, change));
            return Ok(Prepared::Answer(Answer::Valid { found, kind }));
        }
        let operation = Operation {
            work: Work::Change {
                change: Box::new(change),
            },
            instance: found.id.clone(),
            domain: document.domain.clone(),
            prefix: document.database_prefix().to_owned(),
            couch_cluster: document.couch_cluster,
            ..Operation::new(mac, self.engine.clock().now())
        };
        Ok(Prepared::New(Box::new(New {
            id,
            operation,
            found,
        })))
    }

    /// Accepts what was prepared.
    ///
    /// # Errors
    /// A request id that was used otherwise, a fault of the database.
    pub(crate) async fn accept(&self, new: New) -> Result<Answer, Error> {
        let checked = std::future::ready(Ok(Vec::new()));
        match self.engine.accept(new.id, new.operation, checked).await? {
            Accepted::Operation { id, operation } => Ok(Answer::Accepted { id, operation }),
            Accepted::Reused => Err(Error::RequestIdReused),
        }
    }
}

/// The instance as a change would leave it.
fn preview(mut found: Found, mut change: Change) -> Found {
    let document = &mut found.document.body;
    if let Some(record) = &mut found.record {
        change.settle(document, &record.body);
        change.apply_to_record(&mut record.body);
    }
    change.apply_to_document(document);
    if let Some(settings) = &mut found.settings {
        change.apply_to_settings(&mut settings.body);
    }
    found
}
