//! Hamlet's CouchDB client: the HTTP API with typed outcomes.
//!
//! - A 2xx status is not always a success: [`Write`] distinguishes a write that a majority of nodes holds
//!   (201) from one that lost a race (202).
//! - [`Database::claim`], [`Database::compare_and_set`] and [`Database::release`] implement a protocol for
//!   concurrent writers of one document, on a single node and on a cluster.
//! - Every call has a deadline. Only idempotent requests are sent again.
//! - An [`Error`] names the call and keeps CouchDB's `error` and `reason`. It never holds credentials or
//!   document bodies. Any call can fail because the server is unreachable, too slow, refuses the
//!   credentials or answers unexpectedly; an `# Errors` section lists what is specific to a function.
//!
//! On a cluster, every read except a read by id may be outdated: [`Database::all_docs`],
//! [`Database::find`], [`Database::changes`] and [`Couch::databases_with_prefix`] may suggest what to do,
//! but a decision needs a read by id.

mod all_docs;
mod bulk;
mod changes;
mod cluster_setup;
mod clusters;
mod config;
mod credentials;
mod database;
pub mod design;
mod document;
mod error;
mod find;
mod flags;
mod marker;
mod names;
mod race;
mod random;
mod reduction;
mod server;
mod transport;

pub use all_docs::{AllDocs, Row};
pub use bulk::{BulkDoc, BulkOutcome};
pub use changes::{Change, ChangesQuery, Feed, Since};
pub use cluster_setup::{Membership, NewNode};
pub use clusters::{Clusters, Member};
pub use config::CouchConfig;
pub use database::Database;
pub use document::{Document, Leaf, Rev, Write};
pub use error::{BulkFailure, Call, Cause, Error, FailedDocument, Result};
pub use find::{Find, Page, Sort};
pub use flags::{CouchFlags, CouchOptions};
pub use names::{DbName, DocId};
pub use race::{ClaimOutcome, Exchange};
pub use server::{Couch, Creation, DbInfo, Removal};
