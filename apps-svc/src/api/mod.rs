//! Translates between the contract and the domain.

mod convert;
pub(crate) mod http;
mod lifecycle;
mod service;

pub(crate) use lifecycle::Lifecycle;
pub(crate) use service::Apps;
