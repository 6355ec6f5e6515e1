//! Finding out whether a token opens an instance, and what it allows.

use crate::{
    clock::Clock,
    domain::{
        bearer::{Refused, Token},
        claim::NameKind,
        scope,
        token::Audience,
    },
    error::Error,
    store::{Found, Store},
};

/// Whoever has a valid token of an instance.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// The instance.
    pub(crate) found: Found,
    /// What the token allows: rules, separated by spaces.
    rules: String,
}

impl Bearer {
    /// Requires that the token allows a verb on everything with a doctype.
    ///
    /// # Errors
    /// [`Refused::Scope`].
    pub(crate) fn require(&self, doctype: &str, verb: &str) -> Result<(), Error> {
        if scope::allows(&self.rules, doctype, verb) {
            Ok(())
        } else {
            Err(Error::Token(Refused::Scope))
        }
    }
}

/// Checks a token for the instance with this id. Only tokens of the command line open anything yet.
///
/// # Errors
/// Why it opens nothing; the database fails.
pub(crate) async fn check_token(
    store: &Store,
    clock: &Clock,
    instance: &str,
    token: Option<&str>,
) -> Result<Bearer, Error> {
    let token = token.ok_or(Error::Token(Refused::Missing))?;
    let token = Token::read(token).map_err(Error::Token)?;
    if token.audience != Audience::Cli {
        return Err(Error::Token(Refused::Scope));
    }
    // Who is not there has no tokens.
    let found = store
        .found_without_settings(instance, NameKind::Domain)
        .await?
        .ok_or(Error::Token(Refused::Wrong))?;
    let document = &found.document.body;
    let key = document
        .token_key(token.audience)
        .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
    let rules = token
        .check(&key, &document.domain, clock.now())
        .map_err(Error::Token)?;
    Ok(Bearer { found, rules })
}
