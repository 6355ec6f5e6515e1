//! Sources, manifests and documents of apps. No I/O.

pub(crate) mod addresses;
pub(crate) mod app_type;
pub(crate) mod consent;
pub(crate) mod document;
pub(crate) mod manifest;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod permissions;
pub(crate) mod policy;
pub(crate) mod routes;
pub(crate) mod slug;
pub(crate) mod source;
pub(crate) mod template;
pub(crate) mod version;
pub(crate) mod version_folder;
