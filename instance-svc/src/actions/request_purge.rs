//! Asking for orphans to be removed.

use service_kit::secret::Secret;

use super::{arguments_mac, check_request_id, operation_id};
use crate::{
    domain::operation::{Operation, Removed, Work},
    error::Error,
    operations::{Accepted, Engine},
};

/// What a request to remove orphans came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An operation, new or known.
    Accepted {
        /// Its id.
        id: String,
        /// How far it is.
        operation: Box<Operation>,
    },
    /// Nothing was done; so much would go.
    Valid(Removed),
}

/// Checks the request and accepts it; with `validate_only`, counts instead.
///
/// # Errors
/// A request id that cannot be used or was used otherwise, a fault of the database or of a service.
pub(crate) async fn request_purge(
    engine: &Engine,
    key: &Secret,
    request_id: &str,
    validate_only: bool,
) -> Result<Answer, Error> {
    check_request_id(request_id)?;
    if validate_only {
        return Ok(Answer::Valid(engine.orphans().count().await?));
    }
    let operation = Operation {
        work: Work::PurgeOrphans,
        ..Operation::new(arguments_mac(key, &())?, engine.clock().now())
    };
    let id = operation_id("orphans", request_id);
    let checked = std::future::ready(Ok(Vec::new()));
    match engine.accept(id, operation, checked).await? {
        Accepted::Operation { id, operation } => Ok(Answer::Accepted { id, operation }),
        Accepted::Reused => Err(Error::RequestIdReused),
    }
}
