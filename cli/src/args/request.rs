//! Flags that every change has.

use clap::Args;

use crate::{failure::Failure, values};

/// How a change is asked for.
#[derive(Args, Debug, Default)]
pub(crate) struct Request {
    /// Check everything and change nothing; never asks.
    #[arg(long, visible_alias = "validate-only")]
    pub(crate) dry_run: bool,
    /// A UUID under which the same request is made only once.
    #[arg(long, value_name = "UUID", value_parser = values::names::request_id)]
    pub(crate) request_id: Option<String>,
}

impl Request {
    /// Refuses what only a change can have, in a command that is none without `needed`.
    ///
    /// # Errors
    /// When a flag of a change was given.
    pub(crate) fn refuse_without(&self, needed: &str) -> Result<(), Failure> {
        let flag = match (self.dry_run, &self.request_id) {
            (true, _) => "--dry-run",
            (false, Some(_)) => "--request-id",
            (false, None) => return Ok(()),
        };
        Err(cannot_take_effect(flag, needed))
    }
}

/// On which condition a change is made.
#[derive(Args, Debug, Default)]
pub(crate) struct Condition {
    /// Only if the instance has not changed since it had this etag; `instances show` tells it.
    #[arg(long, value_parser = values::names::etag)]
    pub(crate) etag: Option<String>,
}

impl Condition {
    /// The etag; empty when any will do.
    pub(crate) fn into_etag(self) -> String {
        self.etag.unwrap_or_default()
    }

    /// As [`Request::refuse_without`].
    ///
    /// # Errors
    /// When an etag was given.
    pub(crate) fn refuse_without(&self, needed: &str) -> Result<(), Failure> {
        match self.etag {
            Some(_) => Err(cannot_take_effect("--etag", needed)),
            None => Ok(()),
        }
    }
}

/// A flag that cannot take effect is refused, never dropped.
pub(crate) fn cannot_take_effect(flag: &str, needed: &str) -> Failure {
    Failure::Usage(format!(
        "{flag} has no effect without {needed}; give both or none"
    ))
}
