//! What every server of Hamlet shares, and nothing that one of them owns.
//!
//! - [`config`]: one struct gives flags, environment, `hamlet.toml` and the manual
//! - [`contexts`]: the groups of settings in `hamlet.toml`
//! - [`clusters`]: the list of CouchDB servers in `hamlet.toml`
//! - [`languages`]: those that Hamlet speaks
//! - [`secret`]: texts that are never shown
//! - [`program`]: a server as a program: its start, its end, and asking after its health
//! - [`caller`]: who calls, for which instance, through which door
//! - [`peer`]: the way from one server to the replicas of another
//! - [`tls`], [`socket`]: connections between servers
//! - [`deadline`]: how long a caller is willing to wait
//! - [`server`]: serving gRPC with health and reflection, and stopping in time
//! - [`status`]: errors as callers see them
//! - [`telemetry`], [`shutdown`]: logs and signals

pub mod caller;
pub mod clusters;
pub mod config;
pub mod contexts;
pub mod deadline;
pub mod health;
pub mod languages;
pub mod peer;
pub mod program;
pub mod server;
pub mod shutdown;
pub mod socket;
pub mod status;
pub mod telemetry;
pub mod tls;

pub use secret;
