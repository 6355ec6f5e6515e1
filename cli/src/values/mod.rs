//! The values of flags and arguments, checked before anything is sent.

pub(crate) mod apps;
pub(crate) mod auth_mode;
pub(crate) mod domain;
pub(crate) mod duration;
pub(crate) mod names;
pub(crate) mod quota;
pub(crate) mod settings;
