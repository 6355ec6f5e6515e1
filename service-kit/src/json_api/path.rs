//! The parameters in a path.

use axum::extract::{FromRequestParts, Path, rejection::PathRejection};
use http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;

use super::Error;

/// The decoded parameters of a path. An escaped colon is a colon.
#[derive(Clone, Debug)]
pub struct Segments<T>(pub T);

impl<S, T> FromRequestParts<S> for Segments<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        let Path(segments) = read.map_err(|wrong: PathRejection| {
            Error::new(StatusCode::BAD_REQUEST, "MALFORMED_PATH", wrong.body_text())
        })?;
        Ok(Self(segments))
    }
}
