//! What every server of Hamlet shares, and nothing that one of them owns.
//!
//! - [`config`]: flags, environment variables, `hamlet.toml` and the manual, from one struct
//! - [`contexts`], [`clusters`], [`mail`]: the tables of `hamlet.toml`
//! - [`program`]: the `main` of a server: start, shutdown and the `health` subcommand
//! - [`server`]: a gRPC server with health and reflection
//! - [`caller`]: the authentication of calls between gateway and services
//! - [`rights`]: what a caller may do with the documents of an instance
//! - [`peer`]: the client of another service's replicas
//! - [`tls`], [`socket`]: connections between servers
//! - [`unchecked`]: TLS to a server of the own machine
//! - [`deadline`]: the `grpc-timeout` header
//! - [`status`]: errors as callers see them
//! - [`json_api`]: plain HTTP in JSON, beside gRPC: callers, parameters and errors
//! - [`health`]: asking a server for its health
//! - [`telemetry`], [`shutdown`]: logs, traces, metrics and signals
//! - [`languages`], [`unbuilt`]: what several programs have to agree on
//! - [`secret`]: secret values

pub mod backend;
pub mod caller;
pub mod clusters;
pub mod config;
pub mod contexts;
pub mod deadline;
pub mod grpc;
pub mod health;
pub mod json_api;
pub mod languages;
pub mod mail;
pub mod peer;
pub mod program;
pub mod rights;
pub mod server;
pub mod shutdown;
pub mod socket;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod unbuilt;
pub mod unchecked;

pub use secret;
