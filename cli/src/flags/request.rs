//! Flags of every change.

use clap::Args;

use crate::{error::CommandError, values};

/// How a change is requested.
#[derive(Args, Debug, Default)]
pub(crate) struct RequestFlags {
    /// Check everything and change nothing; never asks.
    #[arg(long, visible_alias = "validate-only")]
    pub(crate) dry_run: bool,
    /// A UUID under which the same request is made only once.
    #[arg(long, value_name = "UUID", value_parser = values::names::request_id)]
    pub(crate) request_id: Option<String>,
}

impl RequestFlags {
    /// Refuses these flags in a command that changes nothing without the flag or argument `needed`.
    ///
    /// # Errors
    /// When one of them was given.
    pub(crate) fn refuse_without(&self, needed: &str) -> Result<(), CommandError> {
        let flag = match (self.dry_run, &self.request_id) {
            (true, _) => "--dry-run",
            (false, Some(_)) => "--request-id",
            (false, None) => return Ok(()),
        };
        Err(no_effect(flag, needed))
    }
}

/// How a change is requested that can be repeated without an id: the same again changes nothing.
#[derive(Args, Debug, Default)]
pub(crate) struct DryRunFlag {
    /// Check everything and change nothing.
    #[arg(long, visible_alias = "validate-only")]
    pub(crate) dry_run: bool,
}

impl DryRunFlag {
    /// As [`RequestFlags::refuse_without`].
    ///
    /// # Errors
    /// When the flag was given.
    pub(crate) fn refuse_without(&self, needed: &str) -> Result<(), CommandError> {
        if self.dry_run {
            return Err(no_effect("--dry-run", needed));
        }
        Ok(())
    }
}

/// The condition under which a change is made.
#[derive(Args, Debug, Default)]
pub(crate) struct EtagFlag {
    /// Only if the instance has not changed since it had this etag; `instances show` tells it.
    #[arg(long, value_parser = values::names::etag)]
    pub(crate) etag: Option<String>,
}

impl EtagFlag {
    /// The etag; empty when none was given.
    pub(crate) fn into_etag(self) -> String {
        self.etag.unwrap_or_default()
    }

    /// As [`RequestFlags::refuse_without`].
    ///
    /// # Errors
    /// When an etag was given.
    pub(crate) fn refuse_without(&self, needed: &str) -> Result<(), CommandError> {
        match self.etag {
            Some(_) => Err(no_effect("--etag", needed)),
            None => Ok(()),
        }
    }
}

/// The error for a flag that has no effect. It is refused rather than ignored.
pub(crate) fn no_effect(flag: &str, needed: &str) -> CommandError {
    CommandError::Usage(format!(
        "{flag} has no effect without {needed}; give both or none"
    ))
}
