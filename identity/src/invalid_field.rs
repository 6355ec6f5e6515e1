//! A field of a request with an invalid value.

/// A field with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}")]
pub struct InvalidField {
    /// The field of the request.
    pub field: String,
    /// What is wrong, and what would be valid.
    pub wrong: String,
}

impl InvalidField {
    /// The field cannot be used.
    pub fn new(field: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            wrong: wrong.into(),
        }
    }
}
