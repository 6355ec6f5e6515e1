//! The feeds that tell which answers about hosts are outdated.

use couch::{Change, ChangesQuery, Database, Feed, Rev, Since};
use futures::Stream;

use super::Store;
use crate::domain::{claim::host_of, instance::InstanceDocument, outdated::Outdated};

/// The number of feeds.
pub(crate) const HOST_FEEDS: usize = 3;

/// The prefix of the ids of markers. Neither hosts nor ids of instances have a colon.
pub(super) const MARKER: &str = "marker:";

/// A database whose changes make answers about hosts outdated.
#[derive(Clone, Debug)]
pub(crate) struct HostFeed {
    database: Database,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Claims,
    Instances,
    Records,
}

impl HostFeed {
    /// The name of its database.
    pub(crate) fn name(&self) -> &str {
        self.database.name().as_str()
    }

    /// Its changes after `since`, without end.
    pub(crate) fn changes(&self, since: Since) -> impl Stream<Item = Feed> + Send + use<> {
        let query = ChangesQuery::since(since);
        self.database.changes(match self.kind {
            // Nothing but the document tells the names of an instance that has just been published.
            Kind::Instances => query.include_docs(),
            Kind::Claims | Kind::Records => query,
        })
    }

    /// Writes a marker, which comes through the feed of every replica.
    ///
    /// # Errors
    /// When no majority of the database's nodes holds it.
    pub(crate) async fn write_marker(
        &self,
        writer: &str,
        number: u64,
    ) -> Result<Rev, couch::Error> {
        let id = format!("{MARKER}{writer}");
        self.database.write_marker(&id, number).await
    }

    /// The number of the marker of `writer` that a change is; `None` if it is none.
    pub(crate) fn marker(change: &Change, writer: &str) -> Option<u64> {
        if change.id.strip_prefix(MARKER) != Some(writer) {
            return None;
        }
        change.revs.first().map(Rev::generation)
    }

    /// What a change makes outdated. Of a deleted document no more than its id is known.
    pub(crate) fn outdated(&self, change: &Change) -> Vec<Outdated> {
        let id = change.id.as_str();
        if id.starts_with(MARKER) || id.starts_with('_') {
            return Vec::new();
        }
        match self.kind {
            Kind::Claims => vec![Outdated::host(host_of(id))],
            Kind::Records => vec![Outdated::instance(id)],
            Kind::Instances => {
                // A host may lead to another instance until this one is published.
                let document = change.doc.as_ref().filter(|_| !change.deleted);
                let document = document
                    .and_then(|it| serde_json::from_value::<InstanceDocument>(it.clone()).ok());
                let names = document.map_or_else(Vec::new, |document| document.wanted());
                let hosts = names.iter().map(|name| Outdated::host(host_of(&name.id)));
                std::iter::once(Outdated::instance(id))
                    .chain(hosts)
                    .collect()
            }
        }
    }
}

impl Store {
    /// The feeds that together report every change of an answer about a host.
    pub(crate) fn host_feeds(&self) -> [HostFeed; HOST_FEEDS] {
        [
            (&self.claims, Kind::Claims),
            (&self.instances, Kind::Instances),
            (&self.records, Kind::Records),
        ]
        .map(|(database, kind)| HostFeed {
            database: database.clone(),
            kind,
        })
    }
}
