//! The id by which a caller finds its request in logs and traces. It decides nothing.

use axum::{extract::Request, middleware::Next, response::Response};
use http::HeaderValue;

/// The header of the id.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The longest id that is noted.
const LONGEST: usize = 128;

/// Notes the id in the span of the request, and gives it back.
pub(super) async fn carry(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID_HEADER).cloned();
    let Some(id) = id.filter(is_usable) else {
        return next.run(request).await;
    };
    if let Ok(text) = id.to_str() {
        tracing::Span::current().record("request_id", text);
        tracing::debug!(request_id = text, path = request.uri().path(), "a request");
    }
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID_HEADER, id);
    response
}

fn is_usable(id: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}
