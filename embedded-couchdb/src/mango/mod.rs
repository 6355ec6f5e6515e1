//! Mango: selectors, index selection and queries.

pub(crate) mod collation;
pub(crate) mod explain;
pub(crate) mod fields;
pub(crate) mod matcher;
pub(crate) mod planner;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod selector;
