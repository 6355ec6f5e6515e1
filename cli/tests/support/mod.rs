//! A server with scripted answers on a real socket, and the built binary run against it.

pub(crate) mod answers;
pub(crate) mod program;
