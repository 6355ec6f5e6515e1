//! Removing an OAuth client. Its tokens end with it.

use couch::Exchange;

use super::OAuth;
use crate::error::Error;

impl OAuth<'_> {
    /// Removes a client. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails; the client may be gone all the same.
    pub(crate) async fn remove(&self, id: &str) -> Result<bool, Error> {
        let location = self.instance.location();
        loop {
            let Some(client) = self.client(id).await? else {
                return Ok(false);
            };
            match self.store.remove_oauth_client(location, &client).await? {
                Exchange::Won(_) => return Ok(true),
                // It was used meanwhile.
                Exchange::Lost => {}
            }
        }
    }
}
