//! Translates between the contract and the domain. Makes no decisions.

mod convert;
pub(crate) mod lifecycle;
pub(crate) mod tree;

use couch::Clusters;
use hamlet_proto::hamlet::instance::v1::Tenant;

use crate::{domain::prefix::Prefix, error::Error, store::Store};

/// The prefix of an instance.
fn prefix_of(tenant: &Tenant) -> Result<Prefix, Error> {
    Prefix::parse(&tenant.prefix).ok_or(Error::Prefix)
}

/// The tree of an instance.
fn store_of(couch: &Clusters, tenant: &Tenant) -> Result<Store, Error> {
    let couch = couch.at(i64::from(tenant.couch_cluster))?;
    Store::new(couch.clone(), prefix_of(tenant)?)
}
