//! `couch_cluster`: the position of the instance's CouchDB server in the configuration.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{Documents, rule::Rule};
use crate::domain::spec::InvalidField;

/// The list of servers is known where a creation is accepted: the value is checked there, and drawn if none is
/// requested.
pub(super) struct CouchCluster;

impl Rule for CouchCluster {
    type Value = Option<i32>;

    fn path(&self) -> &'static str {
        "couch_cluster"
    }

    fn ask(&self, message: &pb::Instance) -> Result<Option<i32>, InvalidField> {
        Ok(message.couch_cluster)
    }

    fn write(&self, position: Option<i32>, documents: &mut Documents) {
        documents.instance.couch_cluster = position.map_or(0, i64::from);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.couch_cluster = i32::try_from(documents.instance.couch_cluster).ok();
    }
}
