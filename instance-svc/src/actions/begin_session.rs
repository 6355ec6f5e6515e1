//! Beginning a session for an owner who has proven to be one.

use std::net::IpAddr;

use identity::{
    browser,
    secrets::new_id,
    session::{Kind, Session, seal},
};
use service_kit::{contexts::Contexts, secret::Secret};

use super::authenticate::cookie_name;
use crate::{
    clock::Clock,
    domain::{instance::InstanceDocument, token::Audience},
    error::Error,
    store::{Login, Store},
};

/// The longest description of a browser that is kept.
const LONGEST_USER_AGENT: usize = 512;

/// Where an owner is.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// The address.
    pub(crate) address: IpAddr,
    /// What the browser says of itself.
    pub(crate) user_agent: String,
}

/// A session that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The name of its cookie.
    pub(crate) name: String,
    /// The value of its cookie.
    pub(crate) value: Secret,
    /// How long the browser keeps it.
    pub(crate) kind: Kind,
}

/// Begins a session.
///
/// # Errors
/// When the instance has no readable key, or the database fails.
pub(crate) async fn begin_session(
    store: &Store,
    clock: &Clock,
    contexts: &Contexts,
    document: &InstanceDocument,
    kind: Kind,
    visitor: &Visitor,
) -> Result<Begun, Error> {
    let key = document
        .token_key(Audience::App)
        .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
    let now = clock.now();
    let id = new_id();
    let location = document.location();
    store
        .add_session(location, &id, &Session::new(kind, now))
        .await?;
    let user_agent: String = visitor
        .user_agent
        .chars()
        .take(LONGEST_USER_AGENT)
        .collect();
    let (browser, os) = browser::describe(&user_agent);
    let login = Login {
        session_id: id.clone(),
        ip: visitor.address.to_string(),
        os: os.to_owned(),
        browser: browser.to_owned(),
        user_agent,
        client_registration: false,
        created_at: now,
    };
    if let Err(error) = store.note_login(location, &new_id(), &login).await {
        // The owner is logged in all the same: the note is for the list of sessions.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a login could not be noted"
        );
    }
    let name = cookie_name(contexts, document);
    Ok(Begun {
        value: Secret::new(seal(&key, &name, &id, now)),
        name,
        kind,
    })
}
