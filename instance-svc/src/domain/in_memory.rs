//! What an owner of an operation knows and never writes down.

use std::{fmt, sync::Arc};

/// A value that may be known, in the memory of one process alone.
///
/// It is no part of what an operation is: two of them are always equal, `Debug` shows nothing of it (it may
/// hold secrets), and it is left out of documents by `#[serde(skip)]`.
pub struct InMemory<T>(Option<Arc<T>>);

impl<T> InMemory<T> {
    /// A value that is known.
    #[must_use]
    pub fn known(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if it is known.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }
}

impl<T> Default for InMemory<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for InMemory<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> PartialEq for InMemory<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> fmt::Debug for InMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "InMemory(known)"
        } else {
            "InMemory(unknown)"
        })
    }
}
