//! Cancelling an operation.

use couch::Exchange;

use crate::{domain::operation::Cancelling, error::Error, operations::Engine};

/// Requests the cancellation of an operation. A queued operation ends at once. A running one gets a mark, and
/// its owner undoes what was made. May be repeated.
///
/// # Errors
/// [`Error::NoSuchOperation`]; [`Error::NotCancellable`] after the point of no return.
pub(crate) async fn cancel(engine: &Engine, id: &str) -> Result<(), Error> {
    loop {
        let mut found = engine
            .log()
            .read(id)
            .await?
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))?;
        let asked = found
            .body
            .request_cancel(engine.clock().now())
            .map_err(|why| Error::NotCancellable {
                operation: id.to_owned(),
                why,
            })?;
        if asked == Cancelling::Already {
            return Ok(());
        }
        match engine.log().transition(id, &found.rev, &found.body).await? {
            Exchange::Won(_) if asked == Cancelling::Ended => {
                engine.leave_queue(id, &found.body);
                return Ok(());
            }
            Exchange::Won(_) => {
                engine.nudge(id);
                return Ok(());
            }
            // The operation has advanced meanwhile: whether it can be cancelled depends on its new state.
            Exchange::Lost => {}
        }
    }
}
