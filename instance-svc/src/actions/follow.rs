//! Following an operation, wherever it is driven.

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use tokio::sync::watch;

use crate::{domain::operation::Operation, error::Error, operations::Engine, store::Store};

/// How often an operation that another replica drives is read.
const POLL: Duration = Duration::from_millis(500);

enum Following {
    Begin,
    Here(watch::Receiver<Arc<Operation>>),
    Elsewhere(Arc<Operation>),
    Over,
}

/// The operation's state at once, then at every change, until it has ended.
///
/// Level-triggered: states that follow each other quickly may be left out, the last one never.
pub(crate) fn follow(
    store: Store,
    engine: Engine,
    id: String,
) -> impl Stream<Item = Result<Arc<Operation>, Error>> + Send + 'static {
    stream::unfold(
        (Following::Begin, store, engine, id),
        |(following, store, engine, id)| async move {
            let next = match following {
                Following::Over => return None,
                Following::Begin => begin(&store, &engine, &id).await,
                Following::Here(receiver) => continue_here(&store, &engine, &id, receiver).await,
                Following::Elsewhere(last) => poll(&store, &engine, &id, &last).await,
            };
            Some(match next {
                Ok((state, following)) => {
                    let following = if state.phase.is_end() {
                        Following::Over
                    } else {
                        following
                    };
                    (Ok(state), (following, store, engine, id))
                }
                Err(error) => (Err(error), (Following::Over, store, engine, id)),
            })
        },
    )
}

type State = (Arc<Operation>, Following);

async fn begin(store: &Store, engine: &Engine, id: &str) -> Result<State, Error> {
    if let Some(mut receiver) = engine.follow(id) {
        let state = Arc::clone(&receiver.borrow_and_update());
        return Ok((state, Following::Here(receiver)));
    }
    let state = read(store, id).await?;
    Ok((Arc::clone(&state), Following::Elsewhere(state)))
}

async fn continue_here(
    store: &Store,
    engine: &Engine,
    id: &str,
    mut receiver: watch::Receiver<Arc<Operation>>,
) -> Result<State, Error> {
    if receiver.changed().await.is_ok() {
        let state = Arc::clone(&receiver.borrow_and_update());
        return Ok((state, Following::Here(receiver)));
    }
    // It is no longer driven here.
    let last = Arc::clone(&receiver.borrow());
    if last.phase.is_end() {
        return Ok((last, Following::Over));
    }
    poll(store, engine, id, &last).await
}

async fn poll(store: &Store, engine: &Engine, id: &str, last: &Operation) -> Result<State, Error> {
    loop {
        tokio::time::sleep(POLL).await;
        if engine.follow(id).is_some() {
            return begin(store, engine, id).await;
        }
        let state = read(store, id).await?;
        if *state != *last {
            return Ok((Arc::clone(&state), Following::Elsewhere(state)));
        }
    }
}

async fn read(store: &Store, id: &str) -> Result<Arc<Operation>, Error> {
    store
        .operation(id)
        .await?
        .map(|found| Arc::new(found.body))
        .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))
}
