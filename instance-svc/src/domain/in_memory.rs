//! Values that the owner of an operation keeps in memory and never stores.

use std::{fmt, sync::Arc};

/// An optional value that exists only in the memory of one process.
///
/// It is not part of the operation: two such values are always equal, `Debug` shows nothing of them (they may
/// hold secrets), and `#[serde(skip)]` leaves them out of documents.
pub struct InMemory<T>(Option<Arc<T>>);

impl<T> InMemory<T> {
    /// Holds a value.
    #[must_use]
    pub fn known(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if there is one.
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
