//! The sessions of owners, and the logins that began them.

use couch::{BulkDoc, ClaimOutcome, Database, DbName, Document, Exchange, Find};
use futures::TryStreamExt as _;
use identity::session::Session;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Store;
use crate::domain::{
    databases::{SESSIONS, USES},
    location::DatabaseLocation,
    time::Time,
};

/// The most logins that are read for a list.
const LOGINS: usize = 200;

/// A login, as other software notes it, too.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Login {
    /// The session that it began.
    pub(crate) session_id: String,
    /// The address it came from.
    #[serde(default)]
    pub(crate) ip: String,
    /// What the browser said of itself.
    #[serde(default)]
    pub(crate) user_agent: String,
    /// The system of the browser.
    #[serde(default)]
    pub(crate) os: String,
    /// The browser.
    #[serde(default)]
    pub(crate) browser: String,
    /// Whether it was the registration of an OAuth client.
    #[serde(default)]
    pub(crate) client_registration: bool,
    /// When it was.
    pub(crate) created_at: Time,
}

/// The proof that what works once was used.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Use {
    /// The session that began with it.
    pub(crate) session_id: String,
    /// When it was.
    pub(crate) created_at: Time,
}

impl Store {
    pub(super) fn database_of(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
    ) -> Result<Database, couch::Error> {
        let name = DbName::instance(location.prefix, doctype)?;
        Ok(self.couch(location)?.database(&name))
    }

    /// A session. `None` also for a document that is none.
    pub(crate) async fn session(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
    ) -> Result<Option<Document<Session>>, couch::Error> {
        let [sessions, _] = SESSIONS;
        match self.database_of(location, sessions)?.get::<Value>(id).await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(None),
            found => Ok(found?.and_then(readable)),
        }
    }

    /// All sessions of an instance, those that have ended unnoticed among them.
    pub(crate) async fn sessions(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<Document<Session>>, couch::Error> {
        let [sessions, _] = SESSIONS;
        let all = self.all_of::<Value>(location, sessions)?;
        let all: Vec<Document<Value>> = match all.try_collect().await {
            Err(couch::Error::DatabaseMissing { .. }) => return Ok(Vec::new()),
            read => read?,
        };
        Ok(all.into_iter().filter_map(readable).collect())
    }

    /// Writes a new session, whose id nobody else has.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn add_session(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
        session: &Session,
    ) -> Result<(), couch::Error> {
        let [sessions, _] = SESSIONS;
        self.add_to(location, sessions, &BulkDoc::create(id, session)?)
            .await
    }

    /// Notes a login.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn note_login(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
        login: &Login,
    ) -> Result<(), couch::Error> {
        let [_, logins] = SESSIONS;
        self.add_to(location, logins, &BulkDoc::create(id, login)?)
            .await
    }

    /// Notes that what works once was used, under an id that stands for it. Returns whether it is the first use.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn use_once(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
        used: &Use,
    ) -> Result<bool, couch::Error> {
        let database = self.database_of(location, USES)?;
        let claim = || database.claim(id, used, |found| found.session_id == used.session_id);
        let claimed = match claim().await {
            Err(couch::Error::DatabaseMissing { .. }) => {
                self.couch(location)?
                    .create_database(database.name())
                    .await?;
                claim().await
            }
            claimed => claimed,
        };
        Ok(matches!(claimed?, ClaimOutcome::Won(_)))
    }

    /// Writes a new document. The first one makes its database, as in other software.
    pub(super) async fn add_to(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
        document: &BulkDoc,
    ) -> Result<(), couch::Error> {
        let database = self.database_of(location, doctype)?;
        let documents = std::slice::from_ref(document);
        match database.bulk_create_missing(documents).await {
            Err(couch::Error::DatabaseMissing { .. }) => {
                self.couch(location)?
                    .create_database(database.name())
                    .await?;
                database.bulk_create_missing(documents).await
            }
            written => written,
        }
    }

    /// Replaces a session, if it is still at its revision.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn replace_session(
        &self,
        location: DatabaseLocation<'_>,
        session: &Document<Session>,
    ) -> Result<Exchange, couch::Error> {
        let [sessions, _] = SESSIONS;
        self.database_of(location, sessions)?
            .compare_and_set(&session.id, &session.rev, &session.body)
            .await
    }

    /// Ends a session. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails; the session may have ended all the same.
    pub(crate) async fn end_session(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
    ) -> Result<bool, couch::Error> {
        let [sessions, _] = SESSIONS;
        let database = self.database_of(location, sessions)?;
        loop {
            let found = match database.get::<Value>(id).await {
                Err(couch::Error::DatabaseMissing { .. }) => None,
                found => found?,
            };
            let Some(found) = found else {
                return Ok(false);
            };
            match database.compare_and_delete(id, &found.rev).await? {
                Exchange::Won(_) => return Ok(true),
                // It was seen meanwhile.
                Exchange::Lost => {}
            }
        }
    }

    /// The logins that began these sessions, as far as they are known.
    pub(crate) async fn logins_of(
        &self,
        location: DatabaseLocation<'_>,
        sessions: &[&str],
    ) -> Result<Vec<Login>, couch::Error> {
        let [_, logins] = SESSIONS;
        let database = self.database_of(location, logins)?;
        // The index is one that other software has, too. It serves only queries that name all of its fields. Every login has
        // them; their values do not matter.
        let query = Find::new(json!({
            "os": {"$gt": null},
            "browser": {"$exists": true},
            "ip": {"$exists": true},
            "session_id": {"$in": sessions},
        }))
        .use_index("by-os-browser-ip", None)
        .limit(LOGINS);
        let found: Vec<Document<Value>> = match database.find(query).try_collect().await {
            Err(couch::Error::DatabaseMissing { .. }) => return Ok(Vec::new()),
            read => read?,
        };
        let found = found.into_iter();
        Ok(found
            .filter_map(|login| serde_json::from_value(login.body).ok())
            .collect())
    }

    /// What an installed app or konnector may do: the rules by their names. `None` when there is no such document.
    pub(crate) async fn permissions_of(
        &self,
        location: DatabaseLocation<'_>,
        source_id: &str,
        kind: &str,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        let database = self.database_of(location, "io.cozy.permissions")?;
        let query = Find::new(json!({"source_id": source_id, "type": kind}))
            .use_index("by-source-and-type", None)
            .limit(1);
        let mut found = std::pin::pin!(database.find(query));
        match found.try_next().await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(None),
            found => found,
        }
    }
}

/// A session that can be read. What other software writes in another form is left alone.
fn readable(found: Document<Value>) -> Option<Document<Session>> {
    let Document { id, rev, body } = found;
    let body = serde_json::from_value(body).ok()?;
    Some(Document { id, rev, body })
}
