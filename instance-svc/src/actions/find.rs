//! Finding one instance by a name.

use couch::Document;
use serde_json::{Map, Value};

use crate::{
    domain::{
        claim::Kind, etag::etag, instance::InstanceDocument, name::Name, record::Record,
        spec::InvalidField,
    },
    error::Error,
    operations::taking::require_idle,
    store::Store,
};

/// All that is known of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The id of its documents.
    pub id: String,
    /// Its own document.
    pub document: Document<InstanceDocument>,
    /// What Hamlet knows beyond; `None` for one that other software made just now.
    pub record: Option<Document<Record>>,
    /// The owner's settings, with their revision.
    pub settings: Option<Document<Map<String, Value>>>,
    /// What the name that was asked for is to it.
    pub kind: Kind,
}

impl Found {
    /// Changes with every change of the documents that are ours to change.
    #[must_use]
    pub(crate) fn etag(&self) -> String {
        etag(
            self.document.rev.as_str(),
            self.record.as_ref().map(|record| &record.body),
            self.settings.as_ref().map(|settings| settings.rev.as_str()),
        )
    }
}

/// Reads a name out of `instances/{domain}`, in this field of a request.
///
/// # Errors
/// When it has another form.
pub(crate) fn parse_resource_name(field: &str, text: &str) -> Result<Name, Error> {
    let invalid = |wrong: String| InvalidField {
        field: field.to_owned(),
        wrong,
    };
    let domain = text.strip_prefix("instances/").ok_or_else(|| {
        invalid("is no name of an instance; it looks like instances/alice.example.org".to_owned())
    })?;
    domain
        .parse()
        .map_err(|wrong: crate::domain::name::InvalidName| invalid(wrong.to_string()).into())
}

/// Finds an instance by its domain or an alias.
///
/// # Errors
/// [`Error::NoSuchInstance`]; any fault of the database.
pub(crate) async fn by_name(store: &Store, name: &Name) -> Result<Found, Error> {
    let missing = || Error::NoSuchInstance(name.to_string());
    let claim = store.claim_of(name.host()).await?.ok_or_else(missing)?;
    by_id(store, &claim.instance, claim.kind)
        .await?
        .ok_or_else(missing)
}

/// Finds an instance to do something with it. One that is still being created, or that another operation
/// has, is busy. The operation's first step takes the instance and decides; this only spares a useless one.
///
/// # Errors
/// [`Error::NoSuchInstance`], [`Error::Busy`]; any fault of the database.
pub(crate) async fn idle_by_name(store: &Store, name: &Name) -> Result<Found, Error> {
    let found = match by_name(store, name).await {
        Err(Error::NoSuchInstance(missing)) => {
            if let Some(claim) = store.claim_of(name.host()).await?
                && let Some(creation) = store.operation(&claim.operation).await?
                && !creation.body.phase.is_end()
            {
                return Err(Error::Busy {
                    domain: creation.body.domain,
                    operation: claim.operation,
                });
            }
            return Err(Error::NoSuchInstance(missing));
        }
        other => other?,
    };
    if let Some(record) = &found.record {
        require_idle(store, &found.document.body.domain, &record.body).await?;
    }
    Ok(found)
}

/// Finds an instance by the id of its documents.
///
/// # Errors
/// Any fault of the database.
pub(crate) async fn by_id(store: &Store, id: &str, kind: Kind) -> Result<Option<Found>, Error> {
    let (document, record) = tokio::try_join!(store.instance(id), store.record(id))?;
    let Some(document) = document else {
        return Ok(None);
    };
    let settings = store.settings(document.body.place()).await?;
    Ok(Some(Found {
        id: id.to_owned(),
        document,
        record,
        settings,
        kind,
    }))
}
