//! Calls that need no operation, and requests for operations. One verb in each file.

pub(crate) mod adopt;
pub(crate) mod app_versions;
pub(crate) mod cancel;
pub(crate) mod check_context;
pub(crate) mod check_token;
pub(crate) mod conflicts;
pub(crate) mod create_token;
pub(crate) mod derive;
pub(crate) mod features;
pub(crate) mod find;
pub(crate) mod follow;
pub(crate) mod forget;
pub(crate) mod last_activity;
pub(crate) mod list;
pub(crate) mod list_operations;
pub(crate) mod oauth_client;
pub(crate) mod register_passphrase;
pub(crate) mod request;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod returned;
pub(crate) mod soft_delete;
