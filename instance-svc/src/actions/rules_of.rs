//! What a token allows: the rules of its scope, and those of the app for which it stands.

use std::collections::BTreeSet;

use identity::{
    grant::is_login,
    scope::{MOST_APPS, linked_app},
};

use super::authenticate::{Authentication, ProvenWith, Who};
use crate::{
    domain::{instance::InstanceDocument, scope::Rule},
    error::Error,
};

impl Authentication<'_> {
    /// The rules of whoever has a token, by the names that an app gives them. A session has none: it is the owner's.
    ///
    /// # Errors
    /// An app that is not installed; the database fails.
    pub(crate) async fn rules_of(
        &self,
        document: &InstanceDocument,
        who: &Who,
    ) -> Result<Vec<(String, Rule)>, Error> {
        match who.proven_with {
            ProvenWith::Session => Ok(Vec::new()),
            kind @ (ProvenWith::App | ProvenWith::Konnector) => {
                self.rules_of_app(document, kind, &who.subject).await
            }
            ProvenWith::OAuth | ProvenWith::Cli => self.rules_of_scope(document, &who.scope).await,
        }
    }

    /// The rules of a scope. That of a login alone has none: it says who the owner is, and opens nothing. Apps beyond the limit
    /// add nothing.
    ///
    /// # Errors
    /// As [`Self::rules_of`].
    pub(crate) async fn rules_of_scope(
        &self,
        document: &InstanceDocument,
        scope: &str,
    ) -> Result<Vec<(String, Rule)>, Error> {
        let mut rules = Vec::new();
        let mut apps = BTreeSet::new();
        if is_login(scope) {
            return Ok(rules);
        }
        for text in scope.split(' ').filter(|text| !text.is_empty()) {
            if let Some(slug) = linked_app(text) {
                if apps.len() < MOST_APPS && apps.insert(slug) {
                    let of_app = self.rules_of_app(document, ProvenWith::App, slug);
                    rules.extend(of_app.await?);
                }
            } else {
                // A rule that this version does not know allows nothing.
                let name = format!("rule{}", rules.len());
                rules.extend(Rule::parse(text).map(|rule| (name, rule)));
            }
        }
        Ok(rules)
    }

    /// The rules of an installed app or konnector. They are in its permission document and nowhere else.
    async fn rules_of_app(
        &self,
        instance: &InstanceDocument,
        kind: ProvenWith,
        slug: &str,
    ) -> Result<Vec<(String, Rule)>, Error> {
        let (doctype, kind) = match kind {
            ProvenWith::Konnector => ("io.cozy.konnectors", "konnector"),
            _ => ("io.cozy.apps", "app"),
        };
        let document = self
            .store
            .permissions_of(instance.location(), &format!("{doctype}/{slug}"), kind)
            .await?
            .ok_or_else(|| Error::NoPermissions {
                slug: slug.to_owned(),
            })?;
        let rules = document.body.get("permissions");
        let rules = rules.and_then(serde_json::Value::as_object);
        let rules = rules.into_iter().flatten();
        Ok(rules
            .filter_map(|(name, rule)| Some((name.clone(), Rule::of_manifest(rule)?)))
            .collect())
    }
}
