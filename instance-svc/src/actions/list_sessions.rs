//! Listing the sessions of an owner.

use couch::Document;
use identity::session::Session;

use crate::{
    clock::Clock,
    domain::instance::InstanceDocument,
    error::Error,
    store::{Login, Store},
};

/// The most sessions of a list: those that were used last.
const MOST: usize = 100;

/// A session, and the login that began it if that is known.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The session.
    pub(crate) session: Document<Session>,
    /// The login.
    pub(crate) login: Option<Login>,
}

/// Lists the sessions that have not ended, the one used last first.
///
/// # Errors
/// When the database fails.
pub(crate) async fn list_sessions(
    store: &Store,
    clock: &Clock,
    document: &InstanceDocument,
) -> Result<Vec<Listed>, Error> {
    let location = document.location();
    let now = clock.now();
    let mut sessions = store.sessions(location).await?;
    sessions.retain(|session| !session.body.is_over(now));
    sessions.sort_by_key(|session| {
        std::cmp::Reverse((session.body.last_seen, session.body.created_at))
    });
    sessions.truncate(MOST);
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = sessions.iter().map(|session| session.id.as_str()).collect();
    let mut logins = store.logins_of(location, &ids).await?;
    Ok(sessions
        .into_iter()
        .map(|session| {
            let login = logins.iter().position(|it| it.session_id == session.id);
            Listed {
                login: login.map(|position| logins.swap_remove(position)),
                session,
            }
        })
        .collect())
}
