//! A client gets another token when the one before has expired.

use identity::{bearer::Token, client::Client, grant::Refused, token::Audience};

use super::{Credentials, Granted, OAuth};
use crate::error::Error;

impl OAuth<'_> {
    /// Gives a client a new token for a refresh token.
    ///
    /// # Errors
    /// [`Refused`]; the database fails.
    pub(crate) async fn refresh(
        &self,
        credentials: Credentials<'_>,
        refresh_token: &str,
    ) -> Result<Granted, Error> {
        let client = self.authenticated(&credentials).await?;
        if refresh_token.is_empty() {
            return Err(Refused::Missing("refresh_token").into());
        }
        let wrong = |_| Refused::RefreshToken;
        let token = Token::read(refresh_token).map_err(wrong)?;
        if token.audience != Audience::Refresh {
            return Err(Refused::RefreshToken.into());
        }
        let domain = self.instance.domain.as_str();
        let issuers = [domain, self.instance.old_domain.as_str()];
        let token = token
            .check(&self.key()?, &issuers, self.clock.now())
            .map_err(wrong)?;
        let has_everything = token.scope.split(' ').any(|rule| rule == "*");
        let may_have_it = !has_everything || Client::of(&client.body).may_do_everything();
        if token.subject != client.id || !may_have_it {
            return Err(Refused::RefreshToken.into());
        }
        let client = self.note_use(client).await?;
        // After a change of the name, the client gets a token of the new one.
        let refresh = if token.issuer == domain {
            None
        } else {
            Some(self.sign(Audience::Refresh, &client.id, &token.scope)?)
        };
        Ok(Granted {
            access: self.sign(Audience::Access, &client.id, &token.scope)?,
            refresh,
            scope: token.scope,
        })
    }
}
