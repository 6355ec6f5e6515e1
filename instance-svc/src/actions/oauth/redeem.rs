//! A client fetches its first tokens with a code.

use std::time::Duration;

use couch::Exchange;
use identity::{
    client::{Client, is_id},
    grant::{Redeemed, Refused, is_login},
    token::Audience,
};
use service_kit::secret::Secret;

use super::{ClientDocument, OAuth};
use crate::error::Error;

/// How old the noted time of use may be before it is written again.
const NOTED_EVERY: Duration = Duration::from_secs(3600);

/// With what a client proves who it is. It has no `Debug`: the secret is one.
#[derive(Clone, Copy)]
pub(crate) struct Credentials<'a> {
    /// The id.
    pub(crate) client_id: &'a str,
    /// The secret; empty for none.
    pub(crate) client_secret: &'a str,
}

/// The tokens that a client gets.
#[derive(Debug)]
pub(crate) struct Granted {
    /// What they allow.
    pub(crate) scope: String,
    /// The token that opens the instance.
    pub(crate) access: Secret,
    /// The token for further ones; `None` where the client has one, or gets none.
    pub(crate) refresh: Option<Secret>,
}

impl OAuth<'_> {
    /// Gives a client the tokens for which it has a code. The code is used up, whatever comes afterwards.
    ///
    /// # Errors
    /// [`Refused`]; the database fails.
    pub(crate) async fn redeem(
        &self,
        credentials: Credentials<'_>,
        code: &str,
        redeemed: Redeemed<'_>,
    ) -> Result<Granted, Error> {
        let client = self.authenticated(&credentials).await?;
        if code.is_empty() {
            return Err(Refused::Missing("code").into());
        }
        let location = self.instance.location();
        let found = if is_id(code) {
            self.store.code(location, code).await?
        } else {
            None
        };
        let found = found.ok_or(Refused::Code)?;
        found.body.check(&redeemed, self.clock.now())?;
        match self.store.use_up(location, &found).await? {
            Exchange::Won(_) => {}
            Exchange::Lost => return Err(Refused::Code.into()),
        }
        let client = self.note_use(client).await?;
        let scope = found.body.scope;
        let refresh = if is_login(&scope) {
            None
        } else {
            Some(self.sign(Audience::Refresh, &client.id, &scope)?)
        };
        Ok(Granted {
            access: self.sign(Audience::Access, &client.id, &scope)?,
            refresh,
            scope,
        })
    }

    /// Notes that a client is in use.
    pub(super) async fn note_use(&self, client: ClientDocument) -> Result<ClientDocument, Error> {
        let now = self.clock.now();
        let noted = self.edit(client, |document| {
            let was_pending = document.shift_remove("pending").is_some();
            let known = Client::of(document).used_at();
            let is_due = known.is_none_or(|at| now.since(at) >= NOTED_EVERY);
            if is_due {
                document.insert("last_refreshed_at".to_owned(), now.to_string().into());
            }
            was_pending || is_due
        });
        match noted.await {
            // It was removed at this moment.
            Err(Error::NoSuchClient { .. }) => Err(Refused::Client.into()),
            noted => noted,
        }
    }
}
