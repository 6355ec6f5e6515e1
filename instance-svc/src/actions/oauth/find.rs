//! Finding an OAuth client by its software.

use identity::client::Client;

use super::{ClientDocument, OAuth, without_secrets};
use crate::error::Error;

impl OAuth<'_> {
    /// The first client of a software, without its secrets.
    ///
    /// # Errors
    /// [`Error::NoSuchClient`]; the database fails.
    pub(crate) async fn find(&self, software_id: &str) -> Result<ClientDocument, Error> {
        let location = self.instance.location();
        let clients = self.store.oauth_clients(location).await?;
        let client = clients
            .into_iter()
            .find(|client| Client::of(&client.body).software() == software_id)
            .ok_or_else(|| self.no_client(&format!("of the software {software_id}")))?;
        Ok(without_secrets(client))
    }
}
