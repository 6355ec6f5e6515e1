//! What a caller with a token may do: the one place in this service that decides it.

use hamlet_proto::hamlet::instance::v1::Tenant;
use identity::grant::is_login;

use super::authenticate::{Authentication, ProvenWith, Who};
use crate::{
    domain::{bearer::Refused, claim::NameKind, scope::Rule},
    error::Error,
    store::Found,
};

/// The rule of a scope that stands for what an installed app may do.
const LINKED: &str = "@io.cozy.apps/";

/// Whoever has a valid token of an instance.
#[derive(Debug)]
pub(crate) struct Bearer {
    /// The instance.
    pub(crate) found: Found,
    /// Who it is.
    pub(crate) who: Who,
    /// What the token allows, by the names that an app gives its rules.
    pub(crate) rules: Vec<(String, Rule)>,
}

impl Bearer {
    /// Requires that the token allows a verb on everything with a doctype.
    ///
    /// # Errors
    /// [`Refused::Scope`].
    pub(crate) fn require(&self, doctype: &str, verb: &str) -> Result<(), Error> {
        if self
            .rules
            .iter()
            .any(|(_, rule)| rule.allows(doctype, verb))
        {
            Ok(())
        } else {
            Err(Error::Token(Refused::Scope))
        }
    }

    /// Requires that the token allows a verb on one document.
    ///
    /// # Errors
    /// [`Refused::Scope`].
    pub(crate) fn require_one(&self, doctype: &str, verb: &str, id: &str) -> Result<(), Error> {
        let mut rules = self.rules.iter();
        if rules.any(|(_, rule)| rule.allows_one(doctype, verb, id)) {
            Ok(())
        } else {
            Err(Error::Token(Refused::Scope))
        }
    }
}

/// What a caller may do at the instance of a call. `who` is what the gateway has found out; where that is nobody, the proofs
/// that the caller sent say why.
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
    let who = match who.filter(|who| who.proven_with != ProvenWith::Session) {
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
    let rules = rules(authentication, &found, &who).await?;
    Ok(Bearer { found, who, rules })
}

async fn rules(
    authentication: Authentication<'_>,
    found: &Found,
    who: &Who,
) -> Result<Vec<(String, Rule)>, Error> {
    match who.proven_with {
        ProvenWith::Session => Ok(Vec::new()),
        ProvenWith::App | ProvenWith::Konnector => {
            of_app(authentication, found, who.proven_with, who.subject.clone()).await
        }
        ProvenWith::OAuth | ProvenWith::Cli => rules_of(authentication, found, &who.scope).await,
    }
}

/// What a scope allows: its rules, and those of the app for which it stands.
pub(crate) async fn rules_of(
    authentication: Authentication<'_>,
    found: &Found,
    scope: &str,
) -> Result<Vec<(String, Rule)>, Error> {
    let mut rules = Vec::new();
    // It says who the owner is, and opens nothing.
    if is_login(scope) {
        return Ok(rules);
    }
    for text in scope.split(' ').filter(|text| !text.is_empty()) {
        match text.strip_prefix(LINKED) {
            Some(slug) => {
                let slug = slug.to_owned();
                rules.extend(of_app(authentication, found, ProvenWith::App, slug).await?);
            }
            None => {
                // A rule that this version does not know allows nothing.
                let name = format!("rule{}", rules.len());
                rules.extend(Rule::parse(text).map(|rule| (name, rule)));
            }
        }
    }
    Ok(rules)
}

/// The rules of an installed app or konnector.
async fn of_app(
    authentication: Authentication<'_>,
    found: &Found,
    kind: ProvenWith,
    slug: String,
) -> Result<Vec<(String, Rule)>, Error> {
    let (doctype, kind) = match kind {
        ProvenWith::Konnector => ("io.cozy.konnectors", "konnector"),
        _ => ("io.cozy.apps", "app"),
    };
    let source = format!("{doctype}/{slug}");
    let location = found.document.body.location();
    let document = authentication
        .store
        .permissions_of(location, &source, kind)
        .await?
        .ok_or(Error::NoPermissions { slug })?;
    let rules = document.body.get("permissions");
    let rules = rules.and_then(serde_json::Value::as_object);
    let rules = rules.into_iter().flatten();
    Ok(rules
        .filter_map(|(name, rule)| Some((name.clone(), Rule::of_manifest(rule)?)))
        .collect())
}
