//! Reductions of views.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::{Database, error::Result, transport::Request};

#[derive(Deserialize)]
struct Reduced {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    value: Value,
}

impl Database {
    /// The reduction of all rows of a view whose design document has its name. `None` when it has no rows. CouchDB brings
    /// the view up to date first, which takes as long as there are changes since.
    ///
    /// # Errors
    /// When there is no such view, or it has no reduction.
    pub async fn reduction(&self, view: &str) -> Result<Option<Value>> {
        let call = self.call("reduce view");
        let path = self.path(&format!("_design/{view}/_view/{view}"));
        let request = Request::new(&call, Method::GET, path).query("reduce", "true");
        let response = self.couch().transport.send_idempotent(&request).await?;
        let reduced: Reduced = response.success(&call)?.json(&call)?;
        Ok(reduced.rows.into_iter().next().map(|row| row.value))
    }
}
