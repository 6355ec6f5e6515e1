//! Cancelling an operation.

use couch::Exchange;

use crate::{clock, domain::operation::Cancelling, error::Error, operations::Engine};

/// Asks for an operation to be cancelled: one that waits in line ends at once, one that runs is marked, and
/// whoever drives it takes back what was made. May be repeated.
///
/// # Errors
/// [`Error::NoSuchOperation`]; [`Error::NotCancellable`] beyond the point of no return; any fault of the
/// database.
pub(crate) async fn cancel(engine: &Engine, id: &str) -> Result<(), Error> {
    loop {
        let mut found = engine
            .log()
            .read(id)
            .await?
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))?;
        let asked =
            found
                .body
                .request_cancel(clock::now())
                .map_err(|why| Error::NotCancellable {
                    operation: id.to_owned(),
                    why,
                })?;
        if asked == Cancelling::Already {
            return Ok(());
        }
        match engine.log().transition(id, &found.rev, &found.body).await? {
            Exchange::Won(_) if asked == Cancelling::Ended => {
                engine.leave_line(id, &found.body);
                return Ok(());
            }
            Exchange::Won(_) => {
                engine.nudge(id);
                return Ok(());
            }
            // It went on in between: whether it can still be cancelled is asked of what it is now.
            Exchange::Lost => {}
        }
    }
}
