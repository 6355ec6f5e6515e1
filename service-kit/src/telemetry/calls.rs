//! The span and the metrics of a gRPC call, on the server's side.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use prost::Message as _;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    http_code::{code_of, is_grpc},
    ids::Ids,
    log::{self, CALL_TARGET},
    trace,
};

/// Whether somebody sees the span of every call: traces are sent, or more is logged than INFO.
pub(super) static LOOKED_AT: AtomicBool = AtomicBool::new(false);

/// The methods of our contracts, by path. A caller may send any path; only these become labels of metrics.
static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
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
                    (path, Method::new(&name, method.name()))
                })
                .collect::<Vec<_>>()
        })
    })
    .collect()
});

/// All other methods.
static OTHER: LazyLock<Method> = LazyLock::new(|| Method::new("other", "other"));

/// Requests of plain HTTP.
static HTTP: LazyLock<Method> = LazyLock::new(|| Method::new("http", "http"));

/// A method, and what is counted of its calls.
#[derive(Debug)]
struct Method {
    service: String,
    name: String,
    /// By the number of the code. Looking a counter up by its labels takes longer than all else that is counted.
    ended: [OnceLock<Ended>; CODES],
}

/// How many codes there are.
const CODES: usize = 17;

/// The calls that ended with one code.
struct Ended {
    count: metrics::Counter,
    durations: metrics::Histogram,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

impl Method {
    fn new(service: &str, name: &str) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            ended: [const { OnceLock::new() }; CODES],
        }
    }

    fn of(path: &str, headers: &HeaderMap) -> &'static Self {
        let other = if is_grpc(headers) { &*OTHER } else { &*HTTP };
        METHODS.get(path).unwrap_or(other)
    }

    fn count(&'static self, code: Code, took: Duration) {
        let Some(ended) = self.ended.get(code as usize) else {
            return;
        };
        let ended = ended.get_or_init(|| {
            let labels = [
                ("service", self.service.as_str()),
                ("method", self.name.as_str()),
                ("code", name(code)),
            ];
            Ended {
                count: metrics::counter!("hamlet_calls_total", &labels),
                durations: metrics::histogram!("hamlet_call_duration_seconds", &labels),
            }
        });
        ended.count.increment(1);
        ended.durations.record(took);
    }
}

/// The place of a request in its trace, and its span if somebody sees it.
#[derive(Clone, Debug)]
pub struct Trace {
    ids: Ids,
    span: Span,
}

impl Trace {
    /// A request called `name`, in the trace that its headers name.
    fn with_span(name: &str, headers: &HeaderMap) -> Self {
        let span = call_span(name);
        let ids = trace::join(&span, headers);
        Self { ids, span }
    }

    /// The same, without a span where nobody sees it: a span costs more than forwarding a small call.
    #[must_use]
    pub fn lean(name: &str, headers: &HeaderMap) -> Self {
        if LOOKED_AT.load(Ordering::Relaxed) {
            return Self::with_span(name, headers);
        }
        Self {
            ids: Ids::below(headers),
            span: Span::none(),
        }
    }

    /// The span in which to handle the request.
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    /// Gives the request a span if it has none: for one that is debugged, and around log lines.
    pub fn show(&mut self, name: &str) -> &Span {
        if self.span.is_disabled() {
            self.span = call_span(name);
            log::mark(&self.span, self.ids);
        }
        &self.span
    }

    /// The same request with a span, and with its DEBUG lines logged.
    #[must_use]
    pub fn debugged(&self, name: &str) -> Self {
        let mut shown = self.clone();
        shown.show(name).in_scope(log::debug_this_call);
        shown
    }

    /// Puts the trace into the headers of a request to a service.
    pub fn inject(&self, headers: &mut HeaderMap) {
        self.ids.inject(headers);
    }
}

/// A call in progress. It is counted when it is dropped.
#[derive(Debug)]
pub struct Call {
    trace: Trace,
    method: &'static Method,
    begun: Instant,
    code: Option<Code>,
}

impl Call {
    /// The call of a request, in the trace that the request's headers name.
    #[must_use]
    pub fn begin(path: &str, headers: &HeaderMap) -> Self {
        let method = Method::of(path, headers);
        // Health checks are frequent and would fill the traces.
        let trace = if method.service == "grpc.health.v1.Health" {
            Trace {
                ids: Ids::below(headers),
                span: Span::none(),
            }
        } else {
            Trace::with_span(path.trim_start_matches('/'), headers)
        };
        Self::of(method, trace)
    }

    /// The same, with a span only where somebody sees it.
    #[must_use]
    pub fn lean(path: &str, headers: &HeaderMap) -> Self {
        Self::of(
            Method::of(path, headers),
            Trace::lean(path.trim_start_matches('/'), headers),
        )
    }

    fn of(method: &'static Method, trace: Trace) -> Self {
        Self {
            trace,
            method,
            begun: Instant::now(),
            code: None,
        }
    }

    /// Its place in the trace.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Observes the response until its end.
    pub fn answer<B>(mut self, response: Response<B>) -> Response<Observed<B>> {
        self.look_at(response.headers());
        if self.code.is_none() && !is_grpc(response.headers()) {
            self.code = Some(code_of(response.status()));
        }
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
        let code = self.code.unwrap_or(Code::Cancelled);
        let took = self.begun.elapsed();
        self.method.count(code, took);
        let span = &self.trace.span;
        if !span.is_disabled() {
            let code = name(code);
            span.record("code", code);
            span.in_scope(|| tracing::debug!(code, ?took, "a call has ended"));
        }
    }
}

fn call_span(name: &str) -> Span {
    tracing::info_span!(
        target: CALL_TARGET,
        "call",
        otel.name = name,
        otel.kind = "server",
        code = Empty,
        request_id = Empty,
        trace_id = Empty,
        span_id = Empty,
        debug = Empty,
    )
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
        let entered = this
            .call
            .as_ref()
            .map(|call| call.trace.span.clone().entered());
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
        let span = call.trace().span().clone();
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
