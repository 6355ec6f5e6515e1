//! Following the feeds while somebody watches.

use std::pin::pin;

use couch::{Feed, Since};
use futures::{StreamExt as _, future::join_all};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{HostChanges, Inner, LINGER, MARKER_EVERY, PROOF_LIFE};
use crate::store::{HOST_FEEDS, HostFeed, Store};

impl HostChanges {
    /// Follows the feeds while there are watchers, until the shutdown.
    pub(crate) async fn follow(self, store: Store, shutdown: CancellationToken) {
        let feeds = store.host_feeds();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = until(&self.0.watchers, |count| count > 0) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = run(&self.0, &feeds) => self.0.end(),
            }
        }
    }
}

/// Follows the feeds until nobody has watched for a while.
async fn run(inner: &Inner, feeds: &[HostFeed; HOST_FEEDS]) {
    let run = getrandom::u64().unwrap_or_else(|_| inner.next_marker());
    let begun = watch::Sender::new(0);
    let following = join_all(feeds.iter().enumerate().map(|(number, feed)| {
        let begun = &begun;
        follow(inner, number, feed, move || {
            begun.send_modify(|count| *count += 1);
        })
    }));
    let marking = async {
        until(&begun, |count| count == HOST_FEEDS).await;
        inner.begin(run);
        mark(inner, feeds).await;
    };
    tokio::select! {
        _ = following => {}
        () = marking => {}
        () = abandoned(inner) => {}
    }
}

/// Follows one feed without end. Says `begun` when the first position is known.
async fn follow(inner: &Inner, number: usize, feed: &HostFeed, begun: impl FnOnce()) {
    let mut begun = Some(begun);
    let mut since = Since::Now;
    loop {
        let mut changes = pin!(feed.changes(since.clone()));
        // Markers come through a feed that works. One that is silent for longer hangs, and is asked anew from where it
        // was. Without watchers there are no markers, and asking anew does no harm.
        while let Ok(Some(item)) = timeout(PROOF_LIFE, changes.next()).await {
            match item {
                Feed::Change(change) => {
                    inner.publish(feed.outdated(&change));
                    // After what precedes it was published: the proof covers it.
                    if let Some(marker) = HostFeed::marker(&change, &inner.writer) {
                        inner.proof().seen(number, marker);
                    }
                    since = Since::Sequence(change.seq);
                }
                Feed::UpToDate(sequence) => {
                    since = Since::Sequence(sequence);
                    if let Some(begun) = begun.take() {
                        begun();
                    }
                }
                Feed::Interrupted(error) => tracing::debug!(
                    database = feed.name(),
                    error = &error as &dyn std::error::Error,
                    "a feed of changes is interrupted"
                ),
            }
        }
    }
}

/// Writes markers while there are watchers, without end.
async fn mark(inner: &Inner, feeds: &[HostFeed; HOST_FEEDS]) {
    loop {
        until(&inner.watchers, |count| count > 0).await;
        let number = inner.next_marker();
        let begun = Instant::now();
        join_all(feeds.iter().enumerate().map(async |(at, feed)| {
            inner.proof().begin(at, number, begun);
            match feed.write_marker(&inner.writer, number).await {
                Ok(_) => inner.proof().committed(at, number),
                Err(error) => tracing::debug!(
                    database = feed.name(),
                    error = &error as &dyn std::error::Error,
                    "a marker was not written"
                ),
            }
        }))
        .await;
        // The proof may be what a watcher waits for.
        inner.reading.send_modify(|_| {});
        sleep_until(begun + MARKER_EVERY).await;
    }
}

/// Waits until there has been no watcher for a while.
async fn abandoned(inner: &Inner) {
    loop {
        until(&inner.watchers, |count| count == 0).await;
        tokio::select! {
            () = until(&inner.watchers, |count| count > 0) => {}
            () = sleep(LINGER) => return,
        }
    }
}

async fn until(count: &watch::Sender<usize>, is: impl Fn(usize) -> bool) {
    let mut receiver = count.subscribe();
    // It fails only without a sender.
    let _count = receiver.wait_for(|count| is(*count)).await;
}
