//! Translates between the contract and the domain.

mod convert;
mod lifecycle;
mod service;

pub(crate) use lifecycle::Lifecycle;
pub(crate) use service::Apps;
