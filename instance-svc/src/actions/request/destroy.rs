//! Requests to destroy an instance.

use service_kit::secret::Secret;

use super::{Draft, Plan, RequestOptions, arguments_mac};
use crate::{
    actions::find,
    domain::{
        claim::NameKind, instance::InstanceDocument, name::Name, operation::Subject,
        removed::Removed,
    },
    error::Error,
    operations::{
        Peers, Work,
        backend::Backends,
        destroy::DestroyWork,
        holdings::{Holder, Holdings},
    },
    store::{Found, Store},
};

/// A requested destruction.
#[derive(Debug)]
pub(crate) struct DestroyPlan<'a> {
    store: &'a Store,
    peers: &'a Peers,
    name: &'a Name,
    etag: &'a str,
    accounts: Accounts,
    found: Option<Found>,
}

/// What is to become of accounts that only a script of their konnector can delete at the other service.
#[derive(Clone, Debug)]
pub(crate) enum Accounts {
    /// They may be left.
    MayBeLeft,
    /// The original deletes them, if the context of the instance has one of these. Otherwise nobody does, and nobody has
    /// said that they may be left.
    DeletedBy(Backends),
}

impl Accounts {
    /// Refuses an instance with such accounts.
    ///
    /// # Errors
    /// [`Error::Accounts`]; otherwise when the database fails.
    pub(crate) async fn look(
        &self,
        store: &Store,
        document: &InstanceDocument,
    ) -> Result<(), Error> {
        let is_cared_for = match self {
            Self::MayBeLeft => true,
            Self::DeletedBy(backends) => backends.of(&document.context).is_some(),
        };
        if is_cared_for {
            return Ok(());
        }
        let accounts = store.accounts_with_script(document.location()).await?;
        if accounts.is_empty() {
            return Ok(());
        }
        Err(Error::Accounts {
            domain: document.domain.clone(),
            accounts,
        })
    }
}

/// A preview of a destruction.
#[derive(Debug)]
pub(crate) struct DestroyPreview {
    /// The domain that would be destroyed.
    pub domain: String,
    /// The number of items that would be removed.
    pub count: Removed,
}

impl<'a> DestroyPlan<'a> {
    /// The plan to destroy an instance; with an etag, only if the instance has not changed since.
    pub(crate) const fn new(
        store: &'a Store,
        peers: &'a Peers,
        name: &'a Name,
        etag: &'a str,
        accounts: Accounts,
    ) -> Self {
        Self {
            store,
            peers,
            name,
            etag,
            accounts,
            found: None,
        }
    }
}

impl Plan for DestroyPlan<'_> {
    type Preview = DestroyPreview;

    fn verb(&self) -> &'static str {
        "destroy"
    }

    fn mac(&self, key: &Secret) -> Result<String, Error> {
        arguments_mac(key, &(self.name.host(), self.etag))
    }

    async fn draft(&mut self, _: RequestOptions<'_>) -> Result<Draft, Error> {
        let mut found = find::idle_by_name(self.store, self.name).await?;
        if found.kind != NameKind::Domain {
            return Err(Error::Alias {
                alias: self.name.to_string(),
                domain: found.document.body.domain,
            });
        }
        if !self.etag.is_empty() {
            found.settings = self.store.settings(found.document.body.location()).await?;
            if self.etag != found.etag() {
                return Err(Error::EtagMismatch(self.name.to_string()));
            }
        }
        let document = &found.document.body;
        // A destruction only goes forward: one that could reach no database would be tried for ever.
        self.store.couch(document.location())?;
        if let Some(record) = &found.record {
            record
                .body
                .may_be_destroyed(None)
                .map_err(|why| Error::Refused {
                    domain: document.domain.clone(),
                    why,
                })?;
        }
        self.accounts.look(self.store, document).await?;
        let draft = Draft {
            subject: Subject {
                instance: found.id.clone(),
                domain: document.domain.clone(),
                prefix: document.database_prefix().to_owned(),
                couch_cluster: document.couch_cluster,
            },
            work: Work::Destroy(DestroyWork {
                etag: self.etag.to_owned(),
                ..DestroyWork::default()
            }),
        };
        self.found = Some(found);
        Ok(draft)
    }

    async fn preview(self, _: Vec<String>) -> Result<DestroyPreview, Error> {
        let found = self
            .found
            .ok_or_else(|| Error::NoSuchInstance(self.name.to_string()))?;
        let document = &found.document.body;
        let names: Vec<String> = document
            .wanted()
            .into_iter()
            .map(|wanted| wanted.id)
            .collect();
        let holder = Holder {
            instance: &found.id,
            domain: &document.domain,
            location: document.location(),
            names: &names,
        };
        let holdings = Holdings::of(self.store, self.peers, holder).await?;
        Ok(DestroyPreview {
            domain: document.domain.clone(),
            count: holdings.count(),
        })
    }
}
