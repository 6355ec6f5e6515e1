//! Accounts at other services: `io.cozy.accounts` and `io.cozy.konnectors` of an instance.

use std::collections::HashSet;

use couch::{AllDocs, DbName, Document};
use futures::{Stream, TryStreamExt as _};
use serde::{Deserialize, de::DeserializeOwned};

use super::Store;
use crate::domain::{account::Account, location::DatabaseLocation};

const ACCOUNTS: &str = "io.cozy.accounts";
const KONNECTORS: &str = "io.cozy.konnectors";

#[derive(Deserialize)]
struct AccountDocument {
    #[serde(default)]
    account_type: String,
}

#[derive(Deserialize)]
struct KonnectorDocument {
    #[serde(default)]
    slug: String,
    #[serde(default)]
    on_delete_account: String,
}

impl Store {
    /// The accounts whose konnector has a script for their deletion, by their ids. None when the databases are gone.
    pub(crate) async fn accounts_with_script(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<Account>, couch::Error> {
        let accounts: Vec<Document<AccountDocument>> =
            match self.all_of(location, ACCOUNTS)?.try_collect().await {
                Err(couch::Error::DatabaseMissing { .. }) => return Ok(Vec::new()),
                read => read?,
            };
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let konnectors: Vec<Document<KonnectorDocument>> =
            match self.all_of(location, KONNECTORS)?.try_collect().await {
                Err(couch::Error::DatabaseMissing { .. }) => return Ok(Vec::new()),
                read => read?,
            };
        let with_script: HashSet<String> = konnectors
            .into_iter()
            .map(|it| it.body)
            .filter(|konnector| !konnector.on_delete_account.is_empty())
            .map(|konnector| konnector.slug)
            .collect();
        let accounts = accounts.into_iter().map(|account| Account {
            id: account.id,
            konnector: account.body.account_type,
        });
        Ok(accounts
            .filter(|account| with_script.contains(&account.konnector))
            .collect())
    }

    pub(super) fn all_of<T: DeserializeOwned + Send>(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
    ) -> Result<impl Stream<Item = Result<Document<T>, couch::Error>> + Send + use<T>, couch::Error>
    {
        let name = DbName::instance(location.prefix, doctype)?;
        let database = self.couch(location)?.database(&name);
        let all = database.all_docs_with_bodies(AllDocs::new());
        Ok(all
            .try_filter(|document: &Document<T>| std::future::ready(!document.id.starts_with('_'))))
    }
}
