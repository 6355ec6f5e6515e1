//! The span and the metrics of a gRPC call, on the server's side.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use prost::Message as _;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field::Empty};

use super::{log::CALL_TARGET, trace};

/// The methods of our contracts, by path. A caller may send any path; only these become labels of metrics.
static METHODS: LazyLock<HashMap<String, (String, String)>> = LazyLock::new(|| {
    [
        hamlet_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ]
    .into_iter()
    .filter_map(|set| prost_types::FileDescriptorSet::decode(set).ok())
    .flat_map(|set| set.file)
    .flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let name = format!("{package}.{}", service.name());
            service
                .method
                .into_iter()
                .map(move |method| {
                    let path = format!("/{name}/{}", method.name());
                    (path, (name.clone(), method.name().to_owned()))
                })
                .collect::<Vec<_>>()
        })
    })
    .collect()
});

/// A call in progress. It is counted when it is dropped.
#[derive(Debug)]
pub struct Call {
    span: Span,
    service: &'static str,
    method: &'static str,
    begun: Instant,
    code: Option<Code>,
}

impl Call {
    /// The call of a request, in the trace that the request's headers name.
    #[must_use]
    pub fn begin(path: &str, headers: &HeaderMap) -> Self {
        let (service, method) = METHODS
            .get(path)
            .map_or(("other", "other"), |(service, method)| {
                (service.as_str(), method.as_str())
            });
        Self {
            span: span(path, service, headers),
            service,
            method,
            begun: Instant::now(),
            code: None,
        }
    }

    /// The span in which to handle it.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// Observes the response until its end.
    pub fn answer<B>(mut self, response: Response<B>) -> Response<Observed<B>> {
        self.look_at(response.headers());
        response.map(|body| Observed {
            body,
            call: Some(self),
        })
    }

    fn look_at(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = Some(status.code());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Without a code, the caller went away before the end.
        let code = name(self.code.unwrap_or(Code::Cancelled));
        let took = self.begun.elapsed();
        let labels = [
            ("service", self.service),
            ("method", self.method),
            ("code", code),
        ];
        metrics::counter!("hamlet_calls_total", &labels).increment(1);
        metrics::histogram!("hamlet_call_duration_seconds", &labels).record(took);
        self.span.record("code", code);
        self.span
            .in_scope(|| tracing::debug!(code, ?took, "a call has ended"));
    }
}

fn span(path: &str, service: &str, headers: &HeaderMap) -> Span {
    // Health checks are frequent and would fill the traces.
    if service == "grpc.health.v1.Health" {
        return Span::none();
    }
    request_span(path.trim_start_matches('/'), headers)
}

/// The span of a request called `name`, in the trace that its headers name.
#[must_use]
pub fn request_span(name: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: CALL_TARGET,
        "call",
        otel.name = name,
        otel.kind = "server",
        code = Empty,
        trace_id = Empty,
        span_id = Empty,
        debug = Empty,
    );
    trace::join(&span, headers);
    span
}

/// The span of an operation, in the trace of the request that started it, as given by [`traceparent`] at that
/// time: the operation may outlive the request and end in another process. Without one, it starts a trace.
///
/// [`traceparent`]: super::traceparent
#[must_use]
pub fn operation_span(kind: &'static str, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: CALL_TARGET,
        parent: None,
        "operation",
        otel.name = kind,
        trace_id = Empty,
        span_id = Empty,
    );
    trace::join(&span, &trace::headers_of(traceparent));
    span
}

/// The name of a code in the specification.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The body of a response. It passes through unchanged, and its end ends the call.
#[derive(Debug)]
pub struct Observed<B> {
    body: B,
    call: Option<Call>,
}

impl<B> Observed<B> {
    /// A body without a call.
    pub const fn unobserved(body: B) -> Self {
        Self { body, call: None }
    }
}

impl<B: Default> Default for Observed<B> {
    fn default() -> Self {
        Self::unobserved(B::default())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Observed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let entered = this.call.as_ref().map(|call| call.span.clone().entered());
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        drop(entered);
        let Poll::Ready(frame) = &polled else {
            return polled;
        };
        match frame {
            Some(Ok(frame)) => {
                if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut this.call) {
                    call.look_at(trailers);
                }
            }
            Some(Err(_)) | None => {
                if let Some(call) = &mut this.call
                    && call.code.is_none()
                {
                    call.code = Some(Code::Unknown);
                }
                this.call = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Observes every call of a gRPC server.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallsLayer;

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner }
    }
}

/// A server whose calls are observed.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Calls<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Observed<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let call = Call::begin(request.uri().path(), request.headers());
        let span = call.span().clone();
        let handling = span.in_scope(|| self.inner.call(request));
        Box::pin(
            async move {
                let response = handling.await?;
                Ok(call.answer(response))
            }
            .instrument(span),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::METHODS;

    #[test]
    fn only_the_methods_of_the_contracts_are_labels() {
        for known in [
            "/hamlet.instance.v1.InstanceService/GetInstance",
            "/hamlet.files.v1.FilesService/ListChildren",
            "/google.longrunning.Operations/WaitOperation",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(METHODS.contains_key(known), "{known}");
        }
        assert!(!METHODS.contains_key("/hamlet.instance.v1.InstanceService/Anything"));
    }
}
