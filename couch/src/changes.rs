//! What happens in a database, as it happens.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{self, Stream};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::Database;
use crate::document::Rev;
use crate::error::{Error, Result};
use crate::server::sequence;
use crate::transport::Outgoing;

/// Changes asked for in one call.
const PAGE: usize = 500;

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// At the first change that is still known.
    Beginning,
    /// After what has happened so far.
    Now,
    /// After this sequence, as a [`Feed::UpToDate`] or [`Change`] has told it.
    Sequence(String),
}

/// Which changes, and how much of them.
#[derive(Debug, Clone)]
pub struct ChangesQuery {
    since: Since,
    include_docs: bool,
    filter: Filter,
}

#[derive(Debug, Clone)]
enum Filter {
    None,
    Selector(Value),
    Ids(Vec<String>),
}

impl ChangesQuery {
    /// All changes after `since`, without the documents.
    #[must_use]
    pub fn since(since: Since) -> Self {
        Self {
            since,
            include_docs: false,
            filter: Filter::None,
        }
    }

    /// With the documents, in their winning revision.
    #[must_use]
    pub fn include_docs(mut self) -> Self {
        self.include_docs = true;
        self
    }

    /// Only of documents that fit a Mango selector.
    #[must_use]
    pub fn selector(mut self, selector: Value) -> Self {
        self.filter = Filter::Selector(selector);
        self
    }

    /// Only of these documents.
    #[must_use]
    pub fn ids(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.filter = Filter::Ids(ids.into_iter().map(Into::into).collect());
        self
    }
}

/// A document that changed. Of several changes of one document the feed tells the last; after a
/// reconnection it may tell one again, and on a cluster in another order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// Opaque; to go on from here.
    #[serde(deserialize_with = "sequence")]
    pub seq: String,
    /// The document.
    pub id: String,
    /// Its winning revision, and no other.
    #[serde(deserialize_with = "revisions", rename = "changes")]
    pub revs: Vec<Rev>,
    /// Whether it is a tombstone now.
    #[serde(default)]
    pub deleted: bool,
    /// The document with all its members, if asked for.
    #[serde(default)]
    pub doc: Option<Value>,
}

fn revisions<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Rev>, D::Error> {
    #[derive(Deserialize)]
    struct One {
        rev: Rev,
    }
    Ok(Vec::<One>::deserialize(from)?
        .into_iter()
        .map(|it| it.rev)
        .collect())
}

/// What a feed tells.
#[derive(Debug)]
pub enum Feed {
    /// A document changed.
    Change(Change),
    /// All that has happened so far has been told: the sequence to go on from.
    UpToDate(String),
    /// A poll failed. The feed goes on by itself, from where it was, after a pause that grows;
    /// until the next item nothing is known of what happens.
    Interrupted(Error),
}

#[derive(Deserialize)]
struct Answered {
    results: Vec<Change>,
    #[serde(deserialize_with = "sequence")]
    last_seq: String,
    #[serde(default)]
    pending: Option<u64>,
}

/// Whether a poll waits for something to happen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce,
    Wait,
}

impl Pace {
    fn feed(self) -> &'static str {
        match self {
            Self::AtOnce => "normal",
            Self::Wait => "longpoll",
        }
    }
}

struct State {
    database: Database,
    query: ChangesQuery,
    since: String,
    ready: VecDeque<Feed>,
    failures: u32,
    /// Whether the subscriber knows already that nothing is left to be told.
    up_to_date: bool,
}

impl Database {
    /// One call to the changes feed that does not wait: what has happened, at most `limit` changes,
    /// and the sequence to go on from. Sent once.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn changes_page(
        &self,
        query: &ChangesQuery,
        limit: usize,
    ) -> Result<(Vec<Change>, String)> {
        let since = query.since.as_parameter();
        let answered = self.poll(query, &since, Pace::AtOnce, limit).await?;
        Ok((answered.results, answered.last_seq))
    }

    /// Follows the changes of the database without end. It polls (`longpoll`), and after a fault
    /// reconnects by itself, telling so; it is ended by dropping it.
    pub fn changes(&self, query: ChangesQuery) -> impl Stream<Item = Feed> + Send + use<> {
        let first = State {
            database: self.clone(),
            since: query.since.as_parameter(),
            query,
            ready: VecDeque::new(),
            failures: 0,
            up_to_date: false,
        };
        stream::unfold(first, |mut state| async move {
            loop {
                if let Some(item) = state.ready.pop_front() {
                    return Some((item, state));
                }
                state.fill().await;
            }
        })
    }

    async fn poll(
        &self,
        query: &ChangesQuery,
        since: &str,
        pace: Pace,
        limit: usize,
    ) -> Result<Answered> {
        let call = self.call("read changes");
        let transport = &self.couch.transport;
        let patience = self.couch.feed_timeout;
        let mut outgoing = Outgoing::new(&call, Method::POST, self.path("_changes"))
            .query("since", since)
            .query("limit", limit.to_string())
            .query("feed", pace.feed());
        if pace == Pace::Wait {
            outgoing = outgoing.query("timeout", patience.as_millis().to_string());
        }
        if query.include_docs {
            outgoing = outgoing.query("include_docs", "true");
        }
        outgoing = match &query.filter {
            Filter::None => outgoing.json(&json!({})),
            Filter::Selector(selector) => outgoing
                .query("filter", "_selector")
                .json(&json!({ "selector": selector })),
            Filter::Ids(ids) => outgoing
                .query("filter", "_doc_ids")
                .json(&json!({ "doc_ids": ids })),
        };
        let within = match pace {
            Pace::Wait => patience + transport.call_timeout,
            Pace::AtOnce => transport.call_timeout,
        };
        transport
            .once(&outgoing, within)
            .await?
            .success(&call)?
            .json(&call)
    }
}

impl Since {
    fn as_parameter(&self) -> String {
        match self {
            Self::Beginning => "0".to_owned(),
            Self::Now => "now".to_owned(),
            Self::Sequence(sequence) => sequence.clone(),
        }
    }
}

impl State {
    /// Polls once, and lays what came of it ready.
    async fn fill(&mut self) {
        if self.failures > 0 {
            let dice = &self.database.couch.transport.dice;
            tokio::time::sleep(dice.backoff(self.failures, Duration::from_secs(10))).await;
        }
        // `now` has to become a sequence first, or what happens between two polls would be missed.
        let pace = if self.up_to_date {
            Pace::Wait
        } else {
            Pace::AtOnce
        };
        match self
            .database
            .poll(&self.query, &self.since, pace, PAGE)
            .await
        {
            Ok(answered) => {
                let recovered = std::mem::take(&mut self.failures) > 0;
                let more = answered
                    .pending
                    .map_or(answered.results.len() >= PAGE, |left| left > 0);
                let news = !answered.results.is_empty();
                self.since = answered.last_seq;
                self.ready
                    .extend(answered.results.into_iter().map(Feed::Change));
                if !more && (news || recovered || !self.up_to_date) {
                    self.ready.push_back(Feed::UpToDate(self.since.clone()));
                }
                self.up_to_date = !more;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.up_to_date = false;
                self.ready.push_back(Feed::Interrupted(error));
            }
        }
    }
}
