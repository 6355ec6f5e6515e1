//! Adopting instances that other software made: their names are claimed, and they get a place in lists.

use couch::Claim as Claiming;

use crate::{
    clock,
    domain::{
        claim::{Claim, Kind},
        instance::{InstanceDocument, names_of},
        record::Record,
    },
    error::Error,
    store::Store,
};

/// What stands in the place of an operation in what was adopted.
const ADOPTION: &str = "adoption";

/// Adopts every instance that has no record of ours. Two documents for one name are reported, never chosen
/// between.
///
/// # Errors
/// Any fault of the database.
pub(crate) async fn adopt_all(store: &Store) -> Result<u64, Error> {
    let mut adopted = 0;
    for (id, document) in store.unrecorded_instances().await? {
        adopt(store, &id, &document).await?;
        adopted += 1;
    }
    Ok(adopted)
}

async fn adopt(store: &Store, id: &str, document: &InstanceDocument) -> Result<(), Error> {
    for name in names_of(document) {
        let kind = if name.domain() == document.domain {
            Kind::Domain
        } else {
            Kind::Alias
        };
        let claim = Claim {
            name: name.domain().to_owned(),
            kind,
            instance: id.to_owned(),
            operation: ADOPTION.to_owned(),
            created_at: clock::now(),
        };
        match store.claim_for_instance(name.host(), &claim).await? {
            Claiming::Won(_) => {}
            Claiming::Taken(other) => tracing::error!(
                name = name.domain(),
                instance = id,
                other = other.instance,
                "two instances have one name; only the other one is reached by it"
            ),
        }
    }
    let record = Record {
        domain: document.domain.clone(),
        domain_aliases: document.domain_aliases.clone(),
        prefix: document.database_prefix().to_owned(),
        locale: document.locale.clone(),
        context: document.context.clone(),
        created_at: clock::now(),
        created_by: ADOPTION.to_owned(),
        ..Record::default()
    };
    store.write_record(id, &record).await?;
    tracing::info!(domain = document.domain, instance = id, "adopted");
    Ok(())
}
