//! Markers: writes whose only purpose is to come through the changes feed of a database.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    bulk::failures,
    database::Database,
    document::Rev,
    error::{BulkFailure, Error, Result},
    transport::Request,
};

/// How many earlier revisions a marker names: a node that missed some writes still knows one of them, and the
/// document keeps one leaf.
const ANCESTORS: u64 = 16;

impl Database {
    /// Writes the revision `number`, counted from 1, of the marker `id`, and returns it. Each marker has one writer.
    ///
    /// A marker is a tombstone from its first revision on. So no read, list, count or view ever shows it, in this
    /// program or in another one; only feeds of changes do. The request is sent once.
    ///
    /// # Errors
    /// [`Error::Bulk`] if no majority holds it. Feeds may show it all the same.
    pub async fn write_marker(&self, id: &str, number: u64) -> Result<Rev> {
        let call = self.call("write marker");
        let ids: Vec<String> = (number.saturating_sub(ANCESTORS).max(1)..=number)
            .rev()
            .map(hash_of)
            .collect();
        let rev = format!("{number}-{}", hash_of(number));
        // A database refuses an ordinary write of a tombstone after a tombstone. This is how replication writes.
        let request = Request::new(&call, Method::POST, self.path("_bulk_docs")).json(&json!({
            "new_edits": false,
            "docs": [{
                "_id": id,
                "_rev": rev,
                "_deleted": true,
                "_revisions": { "start": number, "ids": ids },
            }],
        }));
        let response = self
            .couch
            .transport
            .send_once(&request)
            .await?
            .success(&call)?;
        let contested = response.status == StatusCode::ACCEPTED;
        // Such a write answers with what failed, and with nothing otherwise.
        let refused: Vec<Value> = response.json(&call)?;
        if refused.is_empty() && !contested {
            return Ok(Rev::new(rev));
        }
        Err(Error::Bulk {
            call,
            failure: BulkFailure {
                failed: failures(&refused),
                contested,
            },
        })
    }
}

fn hash_of(number: u64) -> String {
    format!("{number:032x}")
}
