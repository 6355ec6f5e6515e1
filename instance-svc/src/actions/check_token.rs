//! What a caller with a token may do: the one place in this service that decides it.

use hamlet_proto::hamlet::instance::v1::{Tenant, identity::Rule};
use service_kit::rights::{Rights, Verb};

use super::authenticate::{Authentication, Who};
use crate::{
    domain::{bearer::Refused, claim::NameKind},
    error::Error,
    messages,
    store::Found,
};

/// Whoever has a valid token of an instance.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// The instance.
    pub(crate) found: Found,
    /// Who it is.
    pub(crate) who: Who,
    /// What the token allows.
    rules: Vec<Rule>,
}

impl Bearer {
    /// What the token allows.
    pub(crate) fn rights(&self) -> Rights<'_> {
        Rights::Token(&self.rules)
    }

    /// Requires that the token allows a verb on everything with a doctype.
    ///
    /// # Errors
    /// [`Refused::Scope`].
    pub(crate) fn require(&self, doctype: &str, verb: Verb) -> Result<(), Error> {
        if self.rights().allow(doctype, verb) {
            Ok(())
        } else {
            Err(Error::Token(Refused::Scope))
        }
    }

    /// Requires that the token allows a verb on one document.
    ///
    /// # Errors
    /// [`Refused::Scope`].
    pub(crate) fn require_one(&self, doctype: &str, verb: Verb, id: &str) -> Result<(), Error> {
        let is_meant =
            |rule: &Rule| rule.selector.is_empty() && rule.values.iter().any(|value| value == id);
        if self.rights().allow_one(doctype, verb, is_meant) {
            Ok(())
        } else {
            Err(Error::Token(Refused::Scope))
        }
    }
}

/// What a caller may do at the instance of a call. `who` is the bearer that the gateway has found out; where that is nobody,
/// the proofs that the caller sent say why.
///
/// # Errors
/// Why the token opens nothing; an app that is not installed; the database fails.
pub(crate) async fn check_token(
    authentication: Authentication<'_>,
    tenant: &Tenant,
    who: Option<Who>,
    token: Option<&str>,
    cookie: &str,
) -> Result<Bearer, Error> {
    let who = match who {
        Some(who) => who,
        None => {
            let token = token.ok_or(Error::Token(Refused::Missing))?;
            authentication.identify(&tenant.id, cookie, token).await?
        }
    };
    let found = authentication
        .store
        .found_without_settings(&tenant.id, NameKind::Domain)
        .await?
        .ok_or(Error::Token(Refused::Wrong))?;
    let rules = messages::rules(&who.rules);
    Ok(Bearer { found, who, rules })
}
