//! Following an operation, whichever replica drives it.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;

use crate::{
    domain::operation::{OperationFailure, Phase},
    error::Error,
    operations::{Engine, Operation},
};

/// How often an operation on another replica is read.
const POLL: Duration = Duration::from_millis(500);

enum Following {
    Begin,
    Here(watch::Receiver<Arc<Operation>>, Option<usize>),
    Elsewhere(Arc<Operation>, Option<usize>),
    Over,
}

/// Yields the current state, then the state after every change (also of the position in the queue), until the
/// operation has ended.
///
/// Level-triggered: states in quick succession may be skipped, but never the last one.
pub(crate) fn follow(
    engine: Engine,
    id: String,
) -> impl Stream<Item = Result<Arc<Operation>, Error>> + Send + 'static {
    stream::unfold(
        (Following::Begin, engine, id),
        |(following, engine, id)| async move {
            let next = match following {
                Following::Over => return None,
                Following::Begin => begin(&engine, &id).await,
                Following::Here(receiver, position) => {
                    continue_here(&engine, &id, receiver, position).await
                }
                Following::Elsewhere(last, position) => poll(&engine, &id, &last, position).await,
            };
            Some(match next {
                Ok((state, following)) => {
                    let following = if state.phase.is_end() {
                        Following::Over
                    } else {
                        following
                    };
                    (Ok(state), (following, engine, id))
                }
                Err(error) => (Err(error), (Following::Over, engine, id)),
            })
        },
    )
}

/// Waits for the end of an operation. `None` when it succeeded.
///
/// # Errors
/// There is no such operation; the database fails.
pub(crate) async fn end_of(engine: &Engine, id: String) -> Result<Option<OperationFailure>, Error> {
    let states = follow(engine.clone(), id.clone());
    let mut states = pin!(states);
    let mut last = None;
    while let Some(state) = states.next().await {
        last = Some(state?);
    }
    let last = last.ok_or(Error::NoSuchOperation(id))?;
    if last.phase == Phase::Succeeded {
        return Ok(None);
    }
    Ok(Some(last.error.clone().unwrap_or_else(|| {
        OperationFailure {
            code: tonic::Code::Unknown as i32,
            reason: "UNKNOWN".to_owned(),
            message: "the operation failed for a reason that was not kept".to_owned(),
        }
    })))
}

type State = (Arc<Operation>, Following);

async fn begin(engine: &Engine, id: &str) -> Result<State, Error> {
    if let Some(receiver) = engine.follow(id) {
        return Ok(here(engine, id, receiver));
    }
    let state = read(engine, id).await?;
    let position = engine.position(id, &state);
    Ok((Arc::clone(&state), Following::Elsewhere(state, position)))
}

fn here(engine: &Engine, id: &str, mut receiver: watch::Receiver<Arc<Operation>>) -> State {
    let state = Arc::clone(&receiver.borrow_and_update());
    let position = engine.position(id, &state);
    (state, Following::Here(receiver, position))
}

async fn continue_here(
    engine: &Engine,
    id: &str,
    mut receiver: watch::Receiver<Arc<Operation>>,
    position: Option<usize>,
) -> Result<State, Error> {
    let mut queue = engine.queue_changes();
    loop {
        let last = Arc::clone(&receiver.borrow());
        if engine.position(id, &last) != position {
            return Ok(here(engine, id, receiver));
        }
        let changed = tokio::select! {
            changed = receiver.changed() => changed,
            _ = queue.changed(), if position.is_some() => continue,
        };
        if changed.is_ok() {
            return Ok(here(engine, id, receiver));
        }
        // This replica no longer drives the operation.
        if last.phase.is_end() {
            return Ok((last, Following::Over));
        }
        return poll(engine, id, &last, position).await;
    }
}

async fn poll(
    engine: &Engine,
    id: &str,
    last: &Operation,
    position: Option<usize>,
) -> Result<State, Error> {
    loop {
        tokio::time::sleep(POLL).await;
        if engine.follow(id).is_some() {
            return begin(engine, id).await;
        }
        let state = read(engine, id).await?;
        let now = engine.position(id, &state);
        if *state != *last || now != position {
            return Ok((Arc::clone(&state), Following::Elsewhere(state, now)));
        }
    }
}

async fn read(engine: &Engine, id: &str) -> Result<Arc<Operation>, Error> {
    engine
        .log()
        .read(id)
        .await?
        .map(|found| Arc::new(found.body))
        .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))
}
