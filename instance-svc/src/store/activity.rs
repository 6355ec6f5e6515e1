//! When an instance was used: its logins, sessions and OAuth clients.

use couch::Document;
use futures::TryStreamExt as _;
use serde_json::{Map, Value};

use super::Store;
use crate::domain::{location::DatabaseLocation, time::Time};

/// The databases that tell of a use, and the members of their documents with its time.
const USES: [(&str, &[&str]); 3] = [
    ("io.cozy.sessions.logins", &["created_at"]),
    ("io.cozy.sessions", &["last_seen"]),
    (
        "io.cozy.oauth.clients",
        &["last_refreshed_at", "synchronized_at"],
    ),
];

impl Store {
    /// All times of use. None of databases that are gone; other instances that share something do not count.
    pub(crate) async fn times_of_use(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<Time>, couch::Error> {
        let mut latest = Vec::new();
        for (doctype, members) in USES {
            let mut documents = std::pin::pin!(self.all_of(location, doctype)?);
            loop {
                let next: Result<Option<Document<Map<String, Value>>>, _> =
                    documents.try_next().await;
                let document = match next {
                    Ok(Some(document)) => document.body,
                    Ok(None) | Err(couch::Error::DatabaseMissing { .. }) => break,
                    Err(error) => return Err(error),
                };
                if document.get("client_kind").and_then(Value::as_str) == Some("sharing") {
                    continue;
                }
                let times = members.iter().filter_map(|member| {
                    let text = document.get(*member)?.as_str()?;
                    text.parse::<Time>().ok()
                });
                // One per document is enough to find the latest.
                latest.extend(times.max());
            }
        }
        Ok(latest)
    }
}
