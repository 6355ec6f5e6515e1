//! Registering an OAuth client.

use std::{collections::HashSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use couch::DocId;
use identity::{
    client::{Client, Registration},
    time::Time,
    token::{Audience, Claims},
};
use ring::hmac;
use serde_json::{Map, Value};
use service_kit::secret::Secret;

use super::{ClientDocument, OAuth};
use crate::{actions::request::check_request_id, error::Error};

/// How long a client that has registered itself waits for its owner.
const WAITS: Duration = Duration::from_secs(3600);
/// The most clients that wait at one instance.
const MOST_WAITING: usize = 50;
const SECRET: usize = 24;

/// Who registers a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Registrant<'a> {
    /// The client itself: anybody. It is forgotten unless the owner lets it in.
    Itself,
    /// An administrator. The same request id with the same arguments registers one client.
    Administrator {
        /// The request id; empty for none.
        request_id: &'a str,
    },
}

/// A client that has just been registered. It has no `Debug`: its document holds its secret.
pub(crate) struct Registered {
    pub(crate) id: String,
    /// Its document, with its secret.
    pub(crate) document: Map<String, Value>,
    /// With this token the client may change its registration.
    pub(crate) token: Secret,
}

/// What is drawn for a client, or derived from the id of a request.
struct Drawn {
    id: String,
    secret: String,
    /// The beginning of the ids of all clients that were asked for with the same request id.
    of_request: Option<String>,
}

impl OAuth<'_> {
    /// Registers a client.
    ///
    /// # Errors
    /// Names the members that cannot be used; the request id was used with other arguments; the
    /// database fails.
    pub(crate) async fn register(
        &self,
        asked: &Registration,
        by: Registrant<'_>,
    ) -> Result<Registered, Error> {
        self.check(asked)?;
        let location = self.instance.location();
        let clients = self.store.oauth_clients(location).await?;
        let drawn = match by {
            Registrant::Itself => {
                self.make_room(&clients).await?;
                Drawn::new()?
            }
            Registrant::Administrator { request_id: "" } => Drawn::new()?,
            Registrant::Administrator { request_id } => {
                check_request_id(request_id)?;
                Drawn::of_request(&self.key()?, self.id, request_id, asked)?
            }
        };
        if let Some(of_request) = &drawn.of_request
            && let Some(known) = clients.iter().find(|it| it.id.starts_with(of_request))
        {
            if known.id != drawn.id {
                return Err(Error::RequestIdReused);
            }
            return self.registered(known.id.clone(), known.body.clone());
        }
        let taken: HashSet<String> = clients
            .iter()
            .map(|client| Client::of(&client.body).name().to_owned())
            .collect();
        let secret = if asked.keeps_secret() {
            drawn.secret.as_str()
        } else {
            ""
        };
        let mut document = asked.document(&asked.free_name(&taken), secret, self.clock.now());
        if matches!(by, Registrant::Itself) {
            document.insert("pending".to_owned(), true.into());
        }
        self.store
            .add_oauth_client(location, &drawn.id, &document)
            .await?;
        if drawn.of_request.is_some()
            && let Some(first) = self.client(&drawn.id).await?
        {
            // The same request may have been sent twice at once: what stands there counts.
            document = first.body;
        }
        self.registered(drawn.id, document)
    }

    /// The answer. The same document gives the same token, so that an answer can be given again.
    fn registered(&self, id: String, document: Map<String, Value>) -> Result<Registered, Error> {
        let claims = Claims {
            session: "",
            audience: Audience::Registration,
            issuer: &self.instance.domain,
            subject: &id,
            scope: "",
        };
        let at = Client::of(&document).registered_at();
        let token = claims.sign(&self.key()?, at.unwrap_or_else(|| self.clock.now()), None)?;
        Ok(Registered {
            id,
            document,
            token: Secret::new(token),
        })
    }

    /// Forgets the clients that have waited too long, and the oldest of the others where too many wait. Refusing another one
    /// instead would let strangers keep every program out; one that an owner looks at is young.
    async fn make_room(&self, clients: &[ClientDocument]) -> Result<(), Error> {
        let now = self.clock.now();
        let location = self.instance.location();
        let mut waiting = Vec::new();
        for client in clients {
            let known = Client::of(&client.body);
            if !known.is_pending() {
                continue;
            }
            // Without a time, it cannot be known that the hour is over.
            let since = known.registered_at().unwrap_or(now);
            if now.since(since) < WAITS {
                waiting.push((since, client));
                continue;
            }
            // It may be let in at this moment: then it stays.
            let _removed = self.store.remove_oauth_client(location, client).await?;
        }
        waiting.sort_by_key(|(since, _)| *since);
        let beyond = (waiting.len() + 1).saturating_sub(MOST_WAITING);
        for (_, client) in waiting.into_iter().take(beyond) {
            let _removed = self.store.remove_oauth_client(location, client).await?;
        }
        Ok(())
    }
}

impl Drawn {
    fn new() -> Result<Self, Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(Self {
            id: DocId::ascending().into_string(),
            secret: URL_SAFE.encode(secret),
            of_request: None,
        })
    }

    /// The id says which request it was, and with which arguments: no other place is needed to compare them.
    fn of_request(
        key: &[u8],
        instance: &str,
        request_id: &str,
        asked: &Registration,
    ) -> Result<Self, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derive = |what: &str, more: &[u8]| {
            let mut mac = hmac::Context::with_key(&key);
            for part in [
                b"hamlet oauth client".as_slice(),
                what.as_bytes(),
                instance.as_bytes(),
                request_id.as_bytes(),
                more,
            ] {
                mac.update(&(part.len() as u64).to_be_bytes());
                mac.update(part);
            }
            mac.sign()
        };
        let arguments = asked.document(&asked.client_name, "", Time::MIN);
        let arguments = serde_json::to_vec(&arguments)?;
        let half = |what, more: &[u8]| {
            let mut text = hex::encode(derive(what, more));
            text.truncate(16);
            text
        };
        let of_request = half("request", b"");
        let id = format!("{of_request}{}", half("arguments", &arguments));
        let secret = derive("secret", id.as_bytes());
        let secret = secret.as_ref().get(..SECRET).unwrap_or_default();
        Ok(Self {
            secret: URL_SAFE.encode(secret),
            id,
            of_request: Some(of_request),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Drawn, Registration};

    fn drawn(instance: &str, request: &str, name: &str) -> Drawn {
        let asked = Registration {
            client_name: name.to_owned(),
            ..Registration::default()
        };
        Drawn::of_request(b"key", instance, request, &asked).unwrap()
    }

    #[test]
    fn the_same_request_draws_the_same_client() {
        let one = drawn("i", "r", "Reader");
        let again = drawn("i", "r", "Reader");
        assert_eq!((&one.id, &one.secret), (&again.id, &again.secret));
        assert_eq!((one.id.len(), one.secret.len()), (32, 32));
        let other = drawn("i", "r", "Writer");
        assert_ne!(one.id, other.id);
        assert_eq!(one.of_request, other.of_request);
        for other in [drawn("j", "r", "Reader"), drawn("i", "s", "Reader")] {
            assert_ne!(one.of_request, other.of_request);
            assert_ne!(one.secret, other.secret);
        }
    }
}
