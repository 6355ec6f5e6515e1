//! CouchDB's HTTP API.

mod access;
mod all_docs;
mod app;
mod attachments;
mod auth;
mod body;
mod bulk;
mod bulk_get;
mod clock;
mod config;
mod cors;
mod database;
mod db_updates;
mod design_form;
mod designs;
mod document;
mod feed;
mod find;
mod form;
mod functions;
mod incoming;
mod listing;
mod local;
mod logins;
mod multipart;
mod race;
mod ranges;
mod reduce;
mod reduced;
mod request;
mod response;
mod revisions;
mod root;
mod route;
mod server;
mod session;
mod targets;
mod users;
mod validation;
mod view_query;
mod view_update;
mod views;
mod writing;

#[cfg(test)]
pub(crate) use self::request::Query;
pub use self::server::Server;
