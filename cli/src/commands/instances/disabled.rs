//! Whether instances may be added and destroyed from this command line.

use std::env;

use crate::error::CommandError;

/// When it is not empty, `instances add` and `instances destroy` are disabled; its value says why.
const VARIABLE: &str = "HAMLET_DISABLE_INSTANCES_ADD_RM";

/// # Errors
/// When `instances` `command` is disabled by the environment.
pub(super) fn refuse_if_disabled(command: &str) -> Result<(), CommandError> {
    match env::var_os(VARIABLE) {
        Some(why) if !why.is_empty() => Err(CommandError::NotAllowed(format!(
            "`instances {command}` is disabled here: {} ({VARIABLE} is set)",
            why.to_string_lossy()
        ))),
        _ => Ok(()),
    }
}
