//! Beginning a session for an owner who has proven to be one.

use std::net::IpAddr;

use identity::{
    browser,
    secrets::new_id,
    session::{Kind, Session, seal},
};
use service_kit::{contexts::Contexts, secret::Secret};

use super::{authenticate::cookie_name, second_factor::Cleared};
use crate::{
    clock::Clock,
    domain::{instance::InstanceDocument, time::Time, token::Audience},
    error::Error,
    store::{Login, Store, Use},
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

/// Begins a session of an owner who has shown all that the instance asks for.
///
/// # Errors
/// [`Error::DeadCode`] when what was shown works once, and was used before; when the instance has no readable key, or the
/// database fails.
pub(crate) async fn begin_session(
    store: &Store,
    clock: &Clock,
    contexts: &Contexts,
    document: &InstanceDocument,
    kind: Kind,
    visitor: &Visitor,
    cleared: Cleared,
) -> Result<Begun, Error> {
    let key = document
        .token_key(Audience::App)
        .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
    let now = clock.now();
    let id = new_id();
    let location = document.location();
    let login = login(&id, visitor, now);
    if let Some(once) = &cleared.once {
        // The proof holds on every replica, and outlives sessions and logins: those can be cleaned.
        let used = Use {
            session_id: id.clone(),
            created_at: now,
        };
        if !store.use_once(location, once, &used).await? {
            return Err(Error::DeadCode);
        }
    }
    store
        .add_session(location, &id, &Session::new(kind, now))
        .await?;
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

fn login(session: &str, visitor: &Visitor, now: Time) -> Login {
    let user_agent: String = visitor
        .user_agent
        .chars()
        .take(LONGEST_USER_AGENT)
        .collect();
    let (browser, os) = browser::describe(&user_agent);
    Login {
        session_id: session.to_owned(),
        ip: visitor.address.to_string(),
        os: os.to_owned(),
        browser: browser.to_owned(),
        user_agent,
        client_registration: false,
        created_at: now,
    }
}
