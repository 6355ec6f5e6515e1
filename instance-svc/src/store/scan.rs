//! Iterating over everything that is known of instances, one document at a time.
//!
//! On a cluster a list may lag: what is found here is read by id before anything is decided.

use std::collections::BTreeMap;

use couch::{AllDocs, Couch, Document, Exchange, Find, Rev};
use futures::{Stream, TryStreamExt as _};
use hamlet_proto::hamlet::instance::v1::Tenant;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Store;
use crate::{
    domain::{claim::Claim, operation::Envelope, orphan, record::Record},
    error::Error,
};

/// The names and the prefix of an instance, without the rest of its document.
#[derive(Debug, Deserialize)]
pub(crate) struct Owner {
    #[serde(default)]
    domain: String,
    #[serde(default)]
    domain_aliases: Vec<String>,
    #[serde(default)]
    prefix: String,
}

impl Owner {
    /// The main domain.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Other domains.
    pub(crate) fn aliases(&self) -> &[String] {
        &self.domain_aliases
    }

    /// The prefix of the names of its databases. Instances from before prefixes were introduced use their
    /// domain.
    pub(crate) fn prefix(&self) -> &str {
        if self.prefix.is_empty() {
            &self.domain
        } else {
            &self.prefix
        }
    }
}

impl Store {
    /// All instances, with what is needed to find the owner of a prefix.
    pub(crate) fn all_owners(
        &self,
    ) -> impl Stream<Item = Result<Document<Owner>, Error>> + Send + use<> {
        everything(&self.instances)
    }

    /// Whether an instance other than that of the tenant has the tenant's domain. Software that knows no claims can make
    /// one.
    pub(crate) async fn is_domain_of_another(&self, tenant: &Tenant) -> Result<bool, couch::Error> {
        let query = Find::new(json!({ "domain": tenant.domain }))
            .use_index("hamlet-by-domain", None)
            .fields(["domain"]);
        let mut found = std::pin::pin!(self.instances.find::<Owner>(query));
        while let Some(found) = found.try_next().await? {
            if found.id != tenant.id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All records.
    pub(crate) fn all_records(
        &self,
    ) -> impl Stream<Item = Result<Document<Record>, Error>> + Send + use<> {
        everything(&self.records)
    }

    /// All claims.
    pub(crate) fn all_claims(
        &self,
    ) -> impl Stream<Item = Result<Document<Claim>, Error>> + Send + use<> {
        everything(&self.claims)
    }

    /// All stored operations, without their work.
    pub(crate) fn all_operations(
        &self,
    ) -> impl Stream<Item = Result<Document<Envelope>, Error>> + Send + use<> {
        everything(&self.operations)
    }

    /// Deletes the record of an instance, if it is still at `rev`. The tombstone has no mark: a creation that was paused
    /// may go on.
    pub(crate) async fn remove_record_at(
        &self,
        id: &str,
        rev: &Rev,
    ) -> Result<Exchange, couch::Error> {
        self.records.compare_and_delete(id, rev).await
    }
}

/// The databases of instances on a server, by prefix. Holds their names in memory.
pub(crate) async fn databases_by_prefix(
    couch: &Couch,
) -> Result<BTreeMap<String, Vec<String>>, couch::Error> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in couch.databases_with_prefix(orphan::PREFIXES).await? {
        if let Some(prefix) = orphan::prefix_in(&name) {
            let prefix = prefix.to_owned();
            found.entry(prefix).or_default().push(name);
        }
    }
    Ok(found)
}

/// All documents of a database except design documents.
fn everything<T: serde::de::DeserializeOwned + Send>(
    database: &couch::Database,
) -> impl Stream<Item = Result<Document<T>, Error>> + Send + use<T> {
    database
        .all_docs_with_bodies::<Value>(AllDocs::new())
        .map_err(Error::from)
        .try_filter(|document| std::future::ready(!document.id.starts_with('_')))
        .and_then(|Document { id, rev, body }| {
            let body = serde_json::from_value(body);
            std::future::ready(
                body.map(|body| Document { id, rev, body })
                    .map_err(Error::from),
            )
        })
}
