//! The database client of Hamlet: CouchDB's HTTP API with typed outcomes.
//!
//! - A 2xx is not yet a success: [`Write`] tells a majority (201) from a lost race (202).
//! - [`Database::claim`], [`Database::compare_and_set`] and [`Database::release`] are the protocol for
//!   writers who race, on one node or on a cluster.
//! - Every call has a deadline. Only what may be repeated without harm is repeated.
//! - Errors name the call and keep both of CouchDB's `error` and `reason`; they never hold
//!   credentials or document bodies.
//!
//! On a cluster, everything but reading by id may lag: [`Database::all_docs`], [`Database::find`],
//! [`Database::changes`] and [`Couch::databases_with_prefix`] may propose, but no decision may rest
//! on them alone.

mod bulk;
mod changes;
mod cluster;
mod clusters;
mod config;
mod credentials;
mod database;
pub mod design;
mod document;
mod error;
mod find;
mod flags;
mod list;
mod names;
mod pause;
mod race;
mod server;
mod transport;

pub use bulk::{BulkDoc, BulkFailure, BulkOutcome, Failed};
pub use changes::{Change, ChangesQuery, Feed, Since};
pub use cluster::{Membership, Newcomer};
pub use clusters::{Clusters, Member};
pub use config::CouchConfig;
pub use database::Database;
pub use document::{Document, Leaf, Rev, Write};
pub use error::{Call, Cause, Error, Result};
pub use find::{Find, Index, Page, Sort};
pub use flags::{CouchFlags, CouchOptions};
pub use list::{AllDocs, Row};
pub use names::{DbName, DocId};
pub use race::{Claim, Exchange};
pub use server::{Couch, Creation, DbInfo, Removal};
