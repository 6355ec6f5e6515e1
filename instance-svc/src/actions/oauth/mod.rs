//! OAuth clients of an instance: how they are registered, let in and removed, and how they get tokens.

mod allow;
mod change;
mod find;
mod list;
mod redeem;
mod refresh;
mod register;
mod remove;

use couch::{Document, Exchange};
use identity::{
    client::{Client, Registration, is_id},
    grant,
    secrets::are_same,
};
use serde_json::{Map, Value};
use service_kit::secret::Secret;

pub(crate) use self::{
    allow::Wanted,
    redeem::{Credentials, Granted},
    register::Registrant,
};
use crate::{
    clock::Clock,
    domain::{
        bearer::{Refused, Token},
        instance::InstanceDocument,
        name::Name,
        record::Refusal,
        token::{Audience, Claims},
    },
    error::Error,
    store::{Found, Store},
};

/// The document of a client.
pub(crate) type ClientDocument = Document<Map<String, Value>>;

/// What is needed to serve the clients of one instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OAuth<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// The id of the instance.
    pub(crate) id: &'a str,
    /// The document of the instance.
    pub(crate) instance: &'a InstanceDocument,
}

impl OAuth<'_> {
    fn key(&self) -> Result<Vec<u8>, Error> {
        self.instance
            .token_key(Audience::Access)
            .ok_or_else(|| Error::NoTokenKey(self.instance.domain.clone()))
    }

    fn sign(&self, audience: Audience, client: &str, scope: &str) -> Result<Secret, Error> {
        let claims = Claims {
            audience,
            issuer: &self.instance.domain,
            subject: client,
            scope,
            session: "",
        };
        let token = claims.sign(&self.key()?, self.clock.now(), None)?;
        Ok(Secret::new(token))
    }

    /// Checks what a client says of itself.
    fn check(&self, asked: &Registration) -> Result<(), Error> {
        let names = [&self.instance.domain]
            .into_iter()
            .chain(&self.instance.domain_aliases);
        let names: Vec<Name> = names.filter_map(|name| name.parse().ok()).collect();
        let hosts: Vec<&str> = names.iter().map(Name::host).collect();
        Ok(asked.check(&hosts)?)
    }

    /// The client with this id.
    async fn client(&self, id: &str) -> Result<Option<ClientDocument>, Error> {
        if !is_id(id) {
            return Ok(None);
        }
        let location = self.instance.location();
        Ok(self.store.oauth_client(location, id).await?)
    }

    fn no_client(&self, id: &str) -> Error {
        Error::NoSuchClient {
            id: id.to_owned(),
            domain: self.instance.domain.clone(),
        }
    }

    /// Requires that a token is the one with which this client may change its registration.
    ///
    /// # Errors
    /// [`Refused`]; the instance has no readable key.
    pub(crate) fn require_registrant(&self, id: &str, token: Option<&str>) -> Result<(), Error> {
        let token = token.ok_or(Error::Token(Refused::Missing))?;
        let token = Token::read(token).map_err(Error::Token)?;
        if token.audience != Audience::Registration {
            return Err(Error::Token(Refused::Wrong));
        }
        let issuers = [
            self.instance.domain.as_str(),
            self.instance.old_domain.as_str(),
        ];
        let checked = token.check(&self.key()?, &issuers, self.clock.now());
        let checked = checked.map_err(Error::Token)?;
        if checked.subject == id {
            Ok(())
        } else {
            Err(Error::Token(Refused::Wrong))
        }
    }

    /// The client that asks for a token, if it proves who it is.
    async fn authenticated(&self, credentials: &Credentials<'_>) -> Result<ClientDocument, Error> {
        let client = self.client(credentials.client_id).await?;
        let client = client.ok_or(grant::Refused::Client)?;
        let secret = Client::of(&client.body).secret();
        if secret.is_empty() {
            return Ok(client);
        }
        if credentials.client_secret.is_empty() {
            return Err(grant::Refused::Missing("client_secret").into());
        }
        if !are_same(secret, credentials.client_secret) {
            return Err(grant::Refused::Secret.into());
        }
        Ok(client)
    }

    /// Changes the document of a client until nobody else has changed it meanwhile. `change` says whether there is anything
    /// to write. Returns the document as it is then.
    async fn edit(
        &self,
        mut client: ClientDocument,
        mut change: impl FnMut(&mut Map<String, Value>) -> bool,
    ) -> Result<ClientDocument, Error> {
        loop {
            if !change(&mut client.body) {
                return Ok(client);
            }
            let location = self.instance.location();
            match self.store.replace_oauth_client(location, &client).await? {
                Exchange::Won(_) => return Ok(client),
                Exchange::Lost => {
                    let found = self.client(&client.id).await?;
                    client = found.ok_or_else(|| self.no_client(&client.id))?;
                }
            }
        }
    }
}

/// Requires that an administrator may register clients of an instance.
///
/// # Errors
/// It was deleted softly.
pub(crate) fn require_kept(found: &Found) -> Result<(), Error> {
    let record = found.record.as_ref().map(|record| &record.body);
    if record.is_some_and(|record| record.deleted_at.is_some()) {
        return Err(Error::Refused {
            domain: found.document.body.domain.clone(),
            why: Refusal::Deleted,
        });
    }
    Ok(())
}

/// What is told of a client to others than itself: all but its secrets.
fn without_secrets(mut client: ClientDocument) -> ClientDocument {
    for secret in ["client_secret", "notification_device_token"] {
        client.body.shift_remove(secret);
    }
    client
}
