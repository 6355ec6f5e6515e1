//! The changes feed of a database.

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
use crate::transport::Request;

/// The most changes of one poll.
const POLL_LIMIT: usize = 500;

/// Where a feed begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// At the first change of the database.
    Beginning,
    /// After the latest change.
    Now,
    /// After this sequence, taken from a [`Change`] or [`Feed::UpToDate`].
    Sequence(String),
}

/// A selection of changes.
#[derive(Debug, Clone)]
pub struct ChangesQuery {
    since: Since,
    include_docs: bool,
    all_leaves: bool,
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
            all_leaves: false,
            filter: Filter::None,
        }
    }

    /// Includes the winning revision of each document.
    #[must_use]
    pub fn include_docs(mut self) -> Self {
        self.include_docs = true;
        self
    }

    /// Reports all leaves of each document, deleted ones too, and not the winning revision alone.
    #[must_use]
    pub fn all_leaves(mut self) -> Self {
        self.all_leaves = true;
        self
    }

    /// Only changes of documents that match a Mango selector.
    #[must_use]
    pub fn selector(mut self, selector: Value) -> Self {
        self.filter = Filter::Selector(selector);
        self
    }

    /// Only changes of these documents.
    #[must_use]
    pub fn ids(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.filter = Filter::Ids(ids.into_iter().map(Into::into).collect());
        self
    }
}

/// A document that changed. A feed reports only the latest of several changes of a document. After a
/// reconnection it may report a change again, on a cluster in another order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// The opaque sequence of the change.
    #[serde(deserialize_with = "sequence")]
    pub seq: String,
    /// The id of the document.
    pub id: String,
    /// The winning revision alone, or all leaves if they were requested.
    #[serde(deserialize_with = "revisions", rename = "changes")]
    pub revs: Vec<Rev>,
    /// Whether the document is deleted.
    #[serde(default)]
    pub deleted: bool,
    /// The document with all members, if requested.
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

/// An item of a feed.
#[derive(Debug)]
pub enum Feed {
    /// A document changed.
    Change(Change),
    /// All changes so far have been reported, up to this sequence.
    UpToDate(String),
    /// A poll failed. The feed retries by itself with a growing pause and continues where it was. Until
    /// the next item, changes are unknown.
    Interrupted(Error),
}

#[derive(Deserialize)]
struct ChangesResponse {
    results: Vec<Change>,
    #[serde(deserialize_with = "sequence")]
    last_seq: String,
    #[serde(default)]
    pending: Option<u64>,
}

/// Whether a poll waits for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PollMode {
    Immediate,
    LongPoll,
}

impl PollMode {
    fn feed(self) -> &'static str {
        match self {
            Self::Immediate => "normal",
            Self::LongPoll => "longpoll",
        }
    }
}

struct FeedState {
    database: Database,
    query: ChangesQuery,
    since: String,
    ready: VecDeque<Feed>,
    failures: u32,
    /// Whether the last item was [`Feed::UpToDate`].
    up_to_date: bool,
}

impl Database {
    /// At most `limit` changes, without waiting, and the sequence to continue from. The request is sent
    /// once.
    pub async fn changes_page(
        &self,
        query: &ChangesQuery,
        limit: usize,
    ) -> Result<(Vec<Change>, String)> {
        let since = query.since.as_parameter();
        let answered = self.poll(query, &since, PollMode::Immediate, limit).await?;
        Ok((answered.results, answered.last_seq))
    }

    /// Follows the changes of the database by long polls until the stream is dropped. After a failed poll
    /// it yields [`Feed::Interrupted`] and retries.
    pub fn changes(&self, query: ChangesQuery) -> impl Stream<Item = Feed> + Send + use<> {
        let first = FeedState {
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
                state.poll_once().await;
            }
        })
    }

    async fn poll(
        &self,
        query: &ChangesQuery,
        since: &str,
        mode: PollMode,
        limit: usize,
    ) -> Result<ChangesResponse> {
        let call = self.call("read changes");
        let transport = &self.couch.transport;
        let wait = self.couch.feed_timeout;
        let mut request = Request::new(&call, Method::POST, self.path("_changes"))
            .query("since", since)
            .query("limit", limit.to_string())
            .query("feed", mode.feed());
        if mode == PollMode::LongPoll {
            request = request.query("timeout", wait.as_millis().to_string());
        }
        if query.include_docs {
            request = request.query("include_docs", "true");
        }
        if query.all_leaves {
            request = request.query("style", "all_docs");
        }
        request = match &query.filter {
            Filter::None => request.json(&json!({})),
            Filter::Selector(selector) => request
                .query("filter", "_selector")
                .json(&json!({ "selector": selector })),
            Filter::Ids(ids) => request
                .query("filter", "_doc_ids")
                .json(&json!({ "doc_ids": ids })),
        };
        let within = match mode {
            PollMode::LongPoll => wait + transport.call_timeout,
            PollMode::Immediate => transport.call_timeout,
        };
        transport
            .send_within(&request, within)
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

impl FeedState {
    /// Polls once and queues the resulting items.
    async fn poll_once(&mut self) {
        if self.failures > 0 {
            let random = &self.database.couch.transport.random;
            tokio::time::sleep(random.backoff(self.failures, Duration::from_secs(10))).await;
        }
        // The first poll resolves `now` to a sequence. Repeating `now` would miss changes between two polls.
        let mode = if self.up_to_date {
            PollMode::LongPoll
        } else {
            PollMode::Immediate
        };
        match self
            .database
            .poll(&self.query, &self.since, mode, POLL_LIMIT)
            .await
        {
            Ok(answered) => {
                let recovered = std::mem::take(&mut self.failures) > 0;
                let more = answered
                    .pending
                    .map_or(answered.results.len() >= POLL_LIMIT, |left| left > 0);
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
