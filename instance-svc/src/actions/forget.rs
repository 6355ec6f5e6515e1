//! Forgetting an operation that has ended.

use couch::Exchange;

use crate::{error::Error, operations::Engine, store::Store};

/// Forgets an operation that has ended: its name is not known any more, and its request id may be used again.
///
/// # Errors
/// [`Error::NoSuchOperation`]; [`Error::NotForgettable`] while it runs or is to be looked at once more; any
/// fault of the database.
pub(crate) async fn forget(store: &Store, engine: &Engine, id: &str) -> Result<(), Error> {
    // The end is told a moment before it is written down.
    if let Some(mut state) = engine.follow(id)
        && state.borrow().phase.is_end()
    {
        while state.changed().await.is_ok() {}
    }
    let refuse = |why| Error::NotForgettable {
        operation: id.to_owned(),
        why,
    };
    loop {
        let found = store
            .operation(id)
            .await?
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))?;
        if !found.body.phase.is_end() {
            return Err(refuse("it has not ended; cancel it, or wait for its end"));
        }
        if found.body.open {
            return Err(refuse(
                "what it may have left is looked at once more ten minutes after its end",
            ));
        }
        match store.forget(id, &found.rev).await? {
            Exchange::Won(_) => return Ok(()),
            Exchange::Lost => {}
        }
    }
}
