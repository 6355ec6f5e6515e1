//! Names, states and rules. No module here does I/O.

pub mod account;
pub mod change;
pub mod claim;
pub mod conflict;
pub mod databases;
pub mod etag;
pub(crate) mod features;
pub mod fields;
pub mod holder;
pub mod in_memory;
pub mod instance;
pub mod locale;
pub mod location;
pub mod name;
pub mod operation;
pub mod operation_filter;
pub mod orphan;
pub(crate) mod outdated;
pub(crate) mod own_hosts;
pub(crate) mod owner_settings;
pub mod record;
pub mod removed;
pub mod sealed;
pub mod seed;
pub mod spec;
pub mod state;
pub mod tos;

pub use identity::{bearer, passphrase, scope, time, token};
