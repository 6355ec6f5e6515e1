//! Names, states and rules. No module here does I/O.

pub mod change;
pub mod claim;
pub mod databases;
pub mod etag;
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
pub mod passphrase;
pub mod record;
pub mod removed;
pub mod scope;
pub mod sealed;
pub mod seed;
pub mod spec;
pub mod state;
pub mod time;
pub mod token;
pub mod tos;
