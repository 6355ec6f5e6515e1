//! Forgetting an ended operation.

use couch::Exchange;

use crate::{error::Error, operations::Engine};

/// Removes an ended operation: its name becomes unknown, and its request id may be used again.
///
/// # Errors
/// [`Error::NoSuchOperation`]; [`Error::NotForgettable`] while it runs or is to be looked at once more.
pub(crate) async fn forget(engine: &Engine, id: &str) -> Result<(), Error> {
    let refuse = |why| Error::NotForgettable {
        operation: id.to_owned(),
        why,
    };
    loop {
        let found = engine
            .log()
            .read(id)
            .await?
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))?;
        if !found.body.phase.is_end() {
            return Err(refuse("it has not ended; cancel it, or wait for its end"));
        }
        if found.body.open {
            return Err(refuse(
                "what it may have left is looked at once more, ten minutes after its end or when all nodes of the \
                 database are back; try again then",
            ));
        }
        match engine.log().forget(id, &found.rev).await? {
            Exchange::Won(_) => return Ok(()),
            Exchange::Lost => {}
        }
    }
}
