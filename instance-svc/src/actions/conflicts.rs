//! Finding names that several instances have.
//!
//! Hamlet gives a name to one instance only. Other software makes no claims: two of its requests at the same moment,
//! or one of them beside one of Hamlet's, may give one name to two instances. Neither is preferred then.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use crate::{
    domain::{
        claim::{NameKind, wanted},
        conflict::{Conflict, Contender},
    },
    error::Error,
    store::Store,
};

/// All conflicts, in the order of the names. Holds the names of all instances in memory.
pub(crate) async fn conflicts(store: &Store) -> Result<Vec<Conflict>, Error> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut owners = std::pin::pin!(store.all_owners());
    while let Some(owner) = owners.try_next().await? {
        for name in wanted(owner.body.domain(), owner.body.aliases(), "") {
            named.entry(name.id).or_default().push(owner.id.clone());
        }
    }
    named.retain(|_, ids| ids.len() > 1);
    let mut found = Vec::new();
    for (name, ids) in named {
        let conflict = look_at(store, name, ids).await?;
        found.extend(conflict);
    }
    Ok(found)
}

/// Reads the documents by their ids, because a list may lag.
async fn look_at(
    store: &Store,
    name: String,
    mut ids: Vec<String>,
) -> Result<Option<Conflict>, Error> {
    // The order in which other software finds them.
    ids.sort();
    ids.dedup();
    let claim = store.claim_of(&name).await?;
    let mut contenders = Vec::new();
    for id in ids {
        let Some(document) = store.instance(&id).await?.map(|found| found.body) else {
            continue;
        };
        let names = document.wanted();
        let Some(wanted) = names.iter().find(|wanted| wanted.id == name) else {
            continue;
        };
        contenders.push(Contender {
            is_alias: wanted.kind != NameKind::Domain,
            has_claim: claim.as_ref().is_some_and(|claim| claim.instance == id),
            domain: document.domain,
            id,
        });
    }
    Ok((contenders.len() > 1).then_some(Conflict { name, contenders }))
}
