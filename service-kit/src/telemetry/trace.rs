//! Traces of requests across gateway and services, by the W3C `traceparent` header.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::error::Error;

const TRACEPARENT: &str = "traceparent";

/// Sends traces to the collector at `endpoint`. Without one, spans still get ids, for logs and for the
/// services that are called.
pub(super) fn provider(
    name: &'static str,
    endpoint: Option<&str>,
) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder().with_service_name(name).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else {
        return Ok(builder.build());
    };
    let refuse = |source| Error::Collector {
        endpoint: endpoint.to_owned(),
        source,
    };
    // The exporter accepts any text and would fail later, unnoticed.
    let usable = url::Url::parse(endpoint)
        .is_ok_and(|url| url.scheme() == "http" && url.host_str().is_some());
    if !usable {
        return Err(refuse(None));
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| refuse(Some(source)))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

/// Spans of level INFO and above become spans of traces.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
    provider: &SdkTracerProvider,
) -> impl Layer<S> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("hamlet"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_filter(filter_fn(|metadata| {
            metadata.is_span() && *metadata.level() <= Level::INFO
        }))
}

/// Adds `span` to the trace that the request's headers name, if any, and records its ids for the logs.
pub(super) fn join(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&Incoming(headers));
    if parent.has_active_remote_parent() {
        // Fails only when no tracing layer is installed, as in tests.
        let _ = span.set_parent(parent);
    }
    let context = span.context();
    let ids = context.span().span_context().clone();
    if ids.is_valid() {
        span.record("trace_id", tracing::field::display(ids.trace_id()));
        span.record("span_id", tracing::field::display(ids.span_id()));
    }
}

trait RemoteParent {
    fn has_active_remote_parent(&self) -> bool;
}

impl RemoteParent for Context {
    fn has_active_remote_parent(&self) -> bool {
        self.span().span_context().is_valid()
    }
}

/// Adds the trace of the current span to the headers of an outgoing request.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Outgoing(headers));
    }
}

/// The trace of the current span as a `traceparent` header, for work that continues elsewhere or later.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    Some(value.to_owned())
}

/// The headers of a request that belongs to this trace.
pub(super) fn headers_of(traceparent: Option<&str>) -> HeaderMap {
    traceparent
        .and_then(|it| HeaderValue::from_str(it).ok())
        .map(|value| (HeaderName::from_static(TRACEPARENT), value))
        .into_iter()
        .collect()
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(key.as_bytes()),
            HeaderValue::try_from(value),
        ) {
            self.0.insert(name, value);
        }
    }
}
