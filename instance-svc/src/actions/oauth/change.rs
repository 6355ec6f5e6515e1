//! What a client does with its own registration: reading and changing it (RFC 7592).

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use identity::{
    client::{Client, Registration},
    invalid_field::InvalidField,
    secrets::are_same,
};

use super::{ClientDocument, OAuth};
use crate::error::Error;

impl OAuth<'_> {
    /// The registration of a client, with its secret: it is for the client itself.
    ///
    /// # Errors
    /// [`Error::NoSuchClient`]; the database fails.
    pub(crate) async fn registration(&self, id: &str) -> Result<ClientDocument, Error> {
        let client = self.client(id).await?;
        client.ok_or_else(|| self.no_client(id))
    }

    /// Replaces what a client says of itself. With its present secret, it gets another one.
    ///
    /// # Errors
    /// Names the members that cannot be used; [`Error::NoSuchClient`]; the database fails.
    pub(crate) async fn change(
        &self,
        id: &str,
        asked: &Registration,
        secret: &str,
    ) -> Result<ClientDocument, Error> {
        let client = self.registration(id).await?;
        let present = Client::of(&client.body);
        if !secret.is_empty() && !are_same(present.secret(), secret) {
            let wrong = "is not the present one; leave it out to keep that";
            return Err(InvalidField::new("client_secret", wrong).into());
        }
        self.check(asked)?;
        if asked.software_id != present.software() {
            let wrong = "is not that of the client, which cannot become another program";
            return Err(InvalidField::new("software_id", wrong).into());
        }
        let next = if secret.is_empty() {
            None
        } else {
            let mut next = [0; 24];
            getrandom::fill(&mut next)?;
            Some(URL_SAFE.encode(next))
        };
        let location = self.instance.location();
        let others = self.store.oauth_clients(location).await?;
        let taken: HashSet<String> = others
            .iter()
            .filter(|other| other.id != id)
            .map(|other| Client::of(&other.body).name().to_owned())
            .collect();
        let name = asked.free_name(&taken);
        let now = self.clock.now();
        self.edit(client, |document| {
            asked.update(&name, document, now);
            if let Some(next) = &next {
                document.insert("client_secret".to_owned(), next.as_str().into());
            }
            true
        })
        .await
    }
}
