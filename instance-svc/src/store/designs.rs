//! Which design documents of an instance's databases are missing.

use std::collections::HashSet;

use couch::{AllDocs, DbName, Row};
use futures::TryStreamExt as _;

use super::Store;
use crate::domain::{
    databases::{OWN, Plan},
    location::DatabaseLocation,
};

impl Store {
    /// The design documents that this version makes with an instance, and that its databases lack: one line for each
    /// database. Other software that has a newer version than Hamlet may have replaced some.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn missing_designs(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<String>, couch::Error> {
        let mut missing = Vec::new();
        for plan in OWN.iter().filter(|plan| !ids(plan).is_empty()) {
            let name = DbName::instance(location.prefix, plan.doctype)?;
            let database = self.couch(location)?.database(&name);
            let rows = database.all_docs(AllDocs::prefix("_design/"));
            let there: HashSet<String> = match rows.map_ok(|row: Row| row.id).try_collect().await {
                Ok(there) => there,
                Err(couch::Error::DatabaseMissing { .. }) => {
                    missing.push(format!("{}: the database", plan.doctype));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let lacks: Vec<String> = ids(plan)
                .into_iter()
                .filter(|id| !there.contains(id))
                .collect();
            if !lacks.is_empty() {
                missing.push(format!("{}: {}", plan.doctype, lacks.join(", ")));
            }
        }
        Ok(missing)
    }
}

fn ids(plan: &Plan) -> Vec<String> {
    let indexes = plan.indexes.iter().map(couch::design::Index::id);
    indexes
        .chain(plan.views.iter().map(couch::design::View::id))
        .collect()
}
