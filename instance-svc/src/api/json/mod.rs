//! The JSON API of administrators, compatible with the tools of the original. It converts requests, has the handlers of gRPC
//! or the same actions carry them out, and converts the results. Nothing is decided here.
//!
//! One file has the routes of one group. [`openapi`] collects the routes and their document from the same functions.

#![expect(
    unused_qualifications,
    reason = "the macros of utoipa qualify the names of parameters"
)]

mod app_versions;
mod auth_mode;
mod change;
mod contexts;
mod count;
mod create;
mod debug;
mod destroy;
mod disk_usage;
mod features;
mod fsck;
mod last_activity;
mod list;
mod magic_link;
mod oauth_client;
mod openapi;
mod operation;
mod parameters;
mod prefix;
mod public;
mod relayed;
mod resource;
mod sessions;
mod settings;
mod show;
mod token;
mod unbuilt;
mod write;

pub(crate) use openapi::routes;
