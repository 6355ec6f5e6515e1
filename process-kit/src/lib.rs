//! What every program of Hamlet does with its process, before it serves anything.
//!
//! - [`arguments`]: the command line and the environment
//! - [`address`]: addresses to listen on
//! - [`duration`]: durations in settings
//! - [`folder`]: folders that one process at a time uses, and the modes of files

pub mod address;
pub mod arguments;
pub mod duration;
pub mod folder;
