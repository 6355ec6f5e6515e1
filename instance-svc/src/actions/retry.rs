//! Making a waiting operation try again at once.

use couch::Exchange;

use crate::{
    error::Error,
    operations::{Engine, Operation},
};

/// Makes an operation that waits for its next try go on at once; another operation is not affected. Returns its
/// state afterwards.
///
/// # Errors
/// [`Error::NoSuchOperation`]; [`Error::OperationEnded`].
pub(crate) async fn retry(engine: &Engine, id: &str) -> Result<Operation, Error> {
    loop {
        let mut found = engine
            .log()
            .read(id)
            .await?
            .ok_or_else(|| Error::NoSuchOperation(format!("operations/{id}")))?;
        if found.body.phase.is_end() {
            return Err(Error::OperationEnded(id.to_owned()));
        }
        if found.body.next_try.is_none() || found.body.retry_requested {
            return Ok(found.body);
        }
        found.body.retry_requested = true;
        match engine.log().transition(id, &found.rev, &found.body).await? {
            Exchange::Won(_) => {
                engine.nudge(id);
                return Ok(found.body);
            }
            Exchange::Lost => {}
        }
    }
}
