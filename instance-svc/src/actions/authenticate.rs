//! Finding out who has a session cookie or a token of an instance.

use identity::session;
use service_kit::contexts::{Contexts, Subdomains};

use crate::{
    clock::Clock,
    domain::{
        bearer::{Checked, Refused, Token},
        instance::InstanceDocument,
        scope::Rule,
        time::Time,
        token::Audience,
    },
    error::Error,
    store::Store,
};

/// What a caller's identity was proven with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProvenWith {
    /// The cookie of a session.
    Session,
    /// The token of a web app.
    App,
    /// The token of a konnector.
    Konnector,
    /// The access token of an OAuth client.
    OAuth,
    /// A token of the command line.
    Cli,
}

/// Who calls an instance.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// How that was proven.
    pub(crate) proven_with: ProvenWith,
    /// The session; empty for tokens that are bound to none.
    pub(crate) session: String,
    /// Whose token it is; empty for sessions and the command line.
    pub(crate) subject: String,
    /// What the token says that it allows: rules, separated by spaces.
    pub(crate) scope: String,
    /// What it allows, by the names that an app gives its rules.
    pub(crate) rules: Vec<(String, Rule)>,
    /// When it is no longer valid, if that is known.
    pub(crate) ends_at: Option<Time>,
}

/// What is needed to find out who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authentication<'a> {
    /// The store.
    pub(crate) store: &'a Store,
    /// The wall clock.
    pub(crate) clock: &'a Clock,
    /// The contexts of the configuration.
    pub(crate) contexts: &'a Contexts,
}

/// The name of the session cookie of an instance.
pub(crate) fn cookie_name(contexts: &Contexts, document: &InstanceDocument) -> String {
    let subdomains = contexts.get(&document.context).subdomains;
    session::cookie_name(document.database_prefix(), subdomains == Subdomains::Flat)
}

impl Authentication<'_> {
    /// Finds out who calls the instance with this id. A token counts before a cookie; one that is bound to a session counts
    /// together with the cookie of that session only.
    ///
    /// # Errors
    /// Why the token or the cookie proves nothing; it is that of an app that is not installed; the database fails.
    pub(crate) async fn identify(
        &self,
        instance: &str,
        cookie: &str,
        token: &str,
    ) -> Result<Who, Error> {
        // Who is not there has neither.
        let document = self.store.instance(instance).await?;
        let document = document.ok_or(Error::Token(Refused::Wrong))?.body;
        if token.is_empty() {
            let (id, ends_at) = self.session(&document, cookie).await?;
            return Ok(Who {
                proven_with: ProvenWith::Session,
                session: id,
                subject: String::new(),
                scope: String::new(),
                rules: Vec::new(),
                ends_at: Some(ends_at),
            });
        }
        self.token(&document, cookie, token).await
    }

    /// The session that a cookie proves, and when it ends unless it is used.
    async fn session(
        &self,
        document: &InstanceDocument,
        cookie: &str,
    ) -> Result<(String, Time), Error> {
        let wrong = Error::Token(Refused::Wrong);
        let Some(key) = document.token_key(Audience::App) else {
            return Err(wrong);
        };
        let name = cookie_name(self.contexts, document);
        let Some(id) = session::open(&key, &name, cookie) else {
            return Err(wrong);
        };
        let location = document.location();
        let Some(mut found) = self.store.session(location, &id).await? else {
            return Err(wrong);
        };
        let now = self.clock.now();
        if found.body.is_over(now) {
            let _was_there = self.store.end_session(location, &id).await?;
            return Err(Error::Token(Refused::Expired));
        }
        if found.body.is_seen(now) {
            // Whoever wrote it meanwhile has noted the same.
            let _written = self.store.replace_session(location, &found).await?;
        }
        Ok((id, found.body.ends_at()))
    }

    async fn token(
        &self,
        document: &InstanceDocument,
        cookie: &str,
        token: &str,
    ) -> Result<Who, Error> {
        let token = Token::read(token).map_err(Error::Token)?;
        let proven_with = match token.audience {
            Audience::App => ProvenWith::App,
            Audience::Konnector => ProvenWith::Konnector,
            Audience::Cli => ProvenWith::Cli,
            Audience::Access => ProvenWith::OAuth,
            // They open nothing: they ask for other tokens, or change a registration.
            Audience::Refresh | Audience::Registration => {
                return Err(Error::Token(Refused::Wrong));
            }
        };
        let key = document
            .token_key(token.audience)
            .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
        // After a change of the name, tokens of the former one stay valid.
        let issuers = [document.domain.as_str(), document.old_domain.as_str()];
        let checked = token.check(&key, &issuers, self.clock.now());
        let checked = checked.map_err(Error::Token)?;
        self.require_bonds(document, cookie, proven_with, &checked)
            .await?;
        let mut who = Who {
            proven_with,
            session: checked.session,
            subject: checked.subject,
            scope: checked.scope,
            rules: Vec::new(),
            ends_at: checked.ends_at,
        };
        who.rules = self.rules_of(document, &who).await?;
        Ok(who)
    }

    /// Requires that what a token depends on is still there.
    async fn require_bonds(
        &self,
        document: &InstanceDocument,
        cookie: &str,
        proven_with: ProvenWith,
        token: &Checked,
    ) -> Result<(), Error> {
        let wrong = || Error::Token(Refused::Wrong);
        if !token.session.is_empty() {
            let (id, _) = self.session(document, cookie).await?;
            if id != token.session {
                return Err(wrong());
            }
        }
        if !token.stamp.is_empty() {
            let settings = self.store.vault_settings(document.location()).await?;
            let stamp = settings.and_then(|found| {
                let stamp = found.body.get("security_stamp")?;
                Some(stamp.as_str()?.to_owned())
            });
            if stamp.as_deref() != Some(&token.stamp) {
                return Err(wrong());
            }
        }
        if proven_with != ProvenWith::OAuth {
            return Ok(());
        }
        let client = self
            .store
            .oauth_client(document.location(), &token.subject)
            .await?;
        let client = client.ok_or_else(wrong)?;
        let is_flagship = client
            .body
            .get("flagship")
            .and_then(serde_json::Value::as_bool);
        // Everything is for clients that the original has certified.
        let has_all = token.scope.split(' ').any(|rule| rule == "*");
        if has_all && is_flagship != Some(true) {
            return Err(wrong());
        }
        Ok(())
    }
}
