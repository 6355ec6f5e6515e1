//! Decides on the root, the trash and the default directories.

use service_kit::contexts::Context;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::{
    domain::default_tree::{Directory, Wanted, default_tree},
    error::Error,
};

/// The instance for which directories are created, and the operation that creates them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// The locale of the instance.
    pub(crate) locale: &'a str,
    /// Where a browser finds the instance, with a final slash.
    pub(crate) url: &'a str,
    /// When the creation of the instance was requested.
    pub(crate) created_at: OffsetDateTime,
    /// The id of the operation.
    pub(crate) operation: &'a str,
}

/// The directories of a new instance, the root first.
///
/// # Errors
/// [`Error::Field`] when a field of the order is missing or cannot be used.
pub(crate) fn plan_directories(
    context: &Context,
    order: &Order<'_>,
) -> Result<Vec<Directory>, Error> {
    if order.operation.is_empty() {
        return Err(Error::field(
            "operation_id",
            "is empty; name the operation that asks",
        ));
    }
    let created_at = order
        .created_at
        .to_offset(UtcOffset::UTC)
        .format(&Rfc3339)
        .map_err(|_| Error::field("create_time", "lies outside of the years 0 to 9999"))?;
    Ok(default_tree(&Wanted {
        locale: order.locale,
        url: order.url,
        created_at: &created_at,
        operation: order.operation,
        administrative: context.init_administrative_folder,
        photos: context.init_photos_folder,
    }))
}
