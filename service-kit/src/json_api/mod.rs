//! Plain HTTP in JSON, beside gRPC on the same port and over the same actions.
//!
//! - [`behind`] checks the callers of routes as those of gRPC are checked; [`Administrator`] is one with the admin
//!   credential
//! - [`no_such_method`] answers where a route of the public door has no such method
//! - [`Query`] and [`query`] read the parameters of a request, [`Segments`] those in its path
//! - [`JsonApi`] and [`Json`] are responses
//! - [`Error`] is a refusal as a JSON:API error object, made from the status that gRPC would give

mod callers;
mod error;
mod path;
pub mod query;
mod reply;
mod request_id;

pub use callers::{Administrator, behind, no_such_method};
pub use error::{Error, ErrorDocument, ErrorObject, ErrorSource};
pub use path::Segments;
pub use query::Query;
pub use reply::{Json, JsonApi};
pub use request_id::REQUEST_ID_HEADER;

/// The content type of documents.
pub const CONTENT_TYPE: &str = "application/vnd.api+json";
