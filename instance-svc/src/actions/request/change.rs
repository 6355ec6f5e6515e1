//! Requests to change an existing instance.

use serde::Serialize;
use service_kit::{contexts::Contexts, secret::Secret};

use super::{Draft, Plan, RequestOptions, arguments_mac, unknown_context};
use crate::{
    actions::find,
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        claim::NameKind,
        fields::Documents,
        instance::InstanceDocument,
        name::Name,
        operation::Subject,
        passphrase::client,
        record::Record,
        sealed::Sealed,
    },
    error::Error,
    operations::{
        Work,
        change::{ChangeWork, Seen},
    },
    store::{Found, Store},
};

/// What plans of changes need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes<'a> {
    /// The store.
    pub store: &'a Store,
    /// The configured contexts.
    pub contexts: &'a Contexts,
    /// How browsers reach instances.
    pub config: &'a Config,
}

/// A secret that a change carries.
pub(crate) trait Carry: Send + Sync {
    /// Whether deriving it is expensive.
    fn is_costly(&self) -> bool {
        false
    }

    /// Checks that the instance can accept the secret.
    ///
    /// # Errors
    /// The reason why it cannot.
    fn require(&self, _found: &Found) -> Result<(), Error> {
        Ok(())
    }

    /// Derives the secret, and seals it for the operation with this id.
    fn seal(
        &mut self,
        id: &str,
        found: &Found,
    ) -> impl Future<Output = Result<Option<Sealed>, Error>> + Send;
}

/// Most changes carry no secret.
#[derive(Debug)]
pub(crate) struct CarryNothing;

impl Carry for CarryNothing {
    async fn seal(&mut self, _: &str, _: &Found) -> Result<Option<Sealed>, Error> {
        Ok(None)
    }
}

/// A preview of a change.
#[derive(Debug)]
pub(crate) struct ChangePreview {
    /// The instance as it would be after the change.
    pub found: Found,
    /// The change.
    pub change: Change,
    /// The paths of requested fields that have the requested value already.
    pub unchanged: Vec<String>,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
}

/// A requested change. `A` is what the caller gave; it is compared when the same request id comes again.
#[derive(Debug)]
pub(crate) struct ChangePlan<'a, A, C = CarryNothing> {
    with: Changes<'a>,
    name: &'a Name,
    arguments: A,
    change: Change,
    carry: C,
    found: Option<Found>,
    unchanged: Vec<String>,
}

impl<'a, A: Serialize + Send + Sync> ChangePlan<'a, A> {
    /// The plan for a change. It is not checked yet.
    pub(crate) const fn new(
        with: Changes<'a>,
        name: &'a Name,
        arguments: A,
        change: Change,
    ) -> Self {
        Self {
            with,
            name,
            arguments,
            change,
            carry: CarryNothing,
            found: None,
            unchanged: Vec::new(),
        }
    }

    /// Adds a secret to the plan.
    pub(crate) fn carrying<C: Carry>(self, carry: C) -> ChangePlan<'a, A, C> {
        ChangePlan {
            with: self.with,
            name: self.name,
            arguments: self.arguments,
            change: self.change,
            carry,
            found: self.found,
            unchanged: self.unchanged,
        }
    }
}

impl<A, C> Plan for ChangePlan<'_, A, C>
where
    A: Serialize + Send + Sync,
    C: Carry,
{
    type Preview = ChangePreview;

    fn verb(&self) -> &'static str {
        match self.change.kind {
            // Deleting softly and destroying are the same request of the contract.
            ChangeKind::Delete => "destroy",
            kind => kind.name(),
        }
    }

    fn mac(&self, key: &Secret) -> Result<String, Error> {
        arguments_mac(key, &(self.name.host(), &self.arguments))
    }

    fn is_costly(&self) -> bool {
        self.carry.is_costly()
    }

    async fn draft(&mut self, options: RequestOptions<'_>) -> Result<Draft, Error> {
        let store = self.with.store;
        let mut found = find::idle_by_name(store, self.name).await?;
        let change = &self.change;
        if change.kind == ChangeKind::Delete && found.kind != NameKind::Domain {
            return Err(Error::Alias {
                alias: self.name.to_string(),
                domain: found.document.body.domain,
            });
        }
        store.couch(found.document.body.location())?;
        let has_settings =
            options.validate_only || !change.etag.is_empty() || change.changes_settings();
        if has_settings {
            found.settings = store.settings(found.document.body.location()).await?;
        }
        if !change.etag.is_empty() && change.etag != found.etag() {
            return Err(Error::EtagMismatch(self.name.to_string()));
        }
        let unrecorded = Record::default();
        let record = found
            .record
            .as_ref()
            .map_or(&unrecorded, |record| &record.body);
        let document = &found.document.body;
        change.may_begin(record).map_err(|why| Error::Refused {
            domain: document.domain.clone(),
            why,
        })?;
        self.change = std::mem::take(&mut self.change).check(document, record)?;
        self.carry.require(&found)?;
        let settings = found.settings.as_ref().map(|settings| &settings.body);
        self.unchanged = self.change.asked.unchanged(&Documents {
            instance: document.clone(),
            settings: settings.cloned().unwrap_or_default(),
            record: record.clone(),
            ..Documents::default()
        });
        let seen = found.record.clone().map(|record| Seen {
            document: found.document.clone(),
            record,
            settings: has_settings.then(|| found.settings.clone()),
        });
        let draft = Draft {
            subject: Subject {
                instance: found.id.clone(),
                domain: document.domain.clone(),
                prefix: document.database_prefix().to_owned(),
                couch_cluster: document.couch_cluster,
            },
            work: Work::Change(ChangeWork::new(
                self.change.clone(),
                self.unchanged.clone(),
                seen,
            )),
        };
        self.found = Some(found);
        Ok(draft)
    }

    /// Warns of a context that is not configured, of new names under which nobody finds the instance, and of a former
    /// domain with which the owner cannot log in.
    async fn check(&self) -> Result<Vec<String>, Error> {
        let asked = &self.change.asked;
        let context = asked.text("context");
        let warning = context.and_then(|context| unknown_context(self.with.contexts, context));
        let known = self
            .found
            .as_ref()
            .map(|found| found.document.body.domain_aliases.as_slice())
            .unwrap_or_default();
        let new = asked.texts("domain_aliases").unwrap_or_default();
        let new = new.into_iter().filter(|alias| !known.contains(alias));
        let names = new.filter_map(|alias| alias.parse::<Name>().ok());
        let out_of_reach = names.filter_map(|name| self.with.config.out_of_reach(&name));
        let salt = self.found.as_ref().and_then(|found| {
            let former = asked.text("old_domain")?;
            other_salt(&found.document.body, former)
        });
        Ok(warning
            .into_iter()
            .chain(out_of_reach)
            .chain(salt)
            .collect())
    }

    async fn seal(&mut self, id: &str) -> Result<Option<Sealed>, Error> {
        match &self.found {
            Some(found) => self.carry.seal(id, found).await,
            None => Ok(None),
        }
    }

    async fn preview(self, warnings: Vec<String>) -> Result<ChangePreview, Error> {
        let mut found = self
            .found
            .ok_or_else(|| Error::NoSuchInstance(self.name.to_string()))?;
        let mut change = self.change;
        let document = &mut found.document.body;
        if let Some(record) = &mut found.record {
            change.settle(document, &record.body);
            change.apply_to_record(&mut record.body);
        }
        change.apply_to_document(document);
        if let Some(settings) = &mut found.settings {
            change.apply_to_settings(&mut settings.body);
        }
        Ok(ChangePreview {
            found,
            change,
            unchanged: self.unchanged,
            warnings,
        })
    }
}

/// The warning of a former domain that changes the salt of a passphrase: clients would hash the right passphrase into
/// another value.
fn other_salt(document: &InstanceDocument, former: &str) -> Option<String> {
    let domain = &document.domain;
    let now = client::salt(domain, &document.old_domain);
    let then = client::salt(domain, former);
    (now != then && !document.stored_passphrase_hash().is_empty()).then(|| {
        format!(
            "the passphrase was hashed with the salt {now:?}, and with this former domain the salt is {then:?}: the owner \
             of {domain} cannot log in until the former domain is set back, or a new passphrase is chosen, which loses \
             the vault (hamlet instances reset-link {domain})"
        )
    })
}
