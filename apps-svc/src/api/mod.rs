//! The contracts: what is asked made ours, and what came of it made theirs.

mod convert;
mod lifecycle;
mod service;

pub(crate) use lifecycle::Lifecycle;
pub(crate) use service::Apps;
