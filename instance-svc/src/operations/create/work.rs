//! What a creation keeps in its operation.

use serde::{Deserialize, Serialize};

use crate::domain::{in_memory::InMemory, instance::InstanceDocument, sealed::Sealed, spec::Spec};

/// What is to be created, and the results so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct CreateWork {
    /// The request.
    pub spec: Box<Spec>,
    /// The seed of the instance's secrets, sealed for the instance. Removed when the instance is published, or its
    /// names are released. Absent from an operation that version 0.1.0 has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Sealed>,
    /// The ids of the claims that it has made, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Each database with the minimum number of documents that it must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<(String, u64)>,
    /// The result for each app, in the order of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppOutcome>,
    /// The instance as just published, so that the response needs no read.
    #[serde(skip)]
    pub published: InMemory<InstanceDocument>,
}

impl CreateWork {
    /// The work of a creation of this instance.
    #[must_use]
    pub fn new(spec: Spec, seed: Sealed) -> Self {
        Self {
            spec: Box::new(spec),
            seed: Some(seed),
            ..Self::default()
        }
    }
}

/// The result for one app.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct AppOutcome {
    /// The app as requested.
    pub source: String,
    /// Its slug, if that could be determined.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slug: String,
    /// The version that was installed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Why the app was not installed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}
