//! Listing the OAuth clients that an owner has let in.

use identity::client::Client;

use super::{ClientDocument, OAuth, without_secrets};
use crate::error::Error;

impl OAuth<'_> {
    /// The clients in the order of their ids, without their secrets. Those that wait for the owner's word are not among them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn list(&self) -> Result<Vec<ClientDocument>, Error> {
        let location = self.instance.location();
        let clients = self.store.oauth_clients(location).await?;
        let clients = clients.into_iter();
        Ok(clients
            .filter(|client| !Client::of(&client.body).is_pending())
            .map(without_secrets)
            .collect())
    }
}
