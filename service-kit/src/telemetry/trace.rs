//! Traces of requests across gateway and services, by the W3C `traceparent` header.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::{
    error::Error,
    ids::{Ids, TRACEPARENT},
    log,
};

/// Sends traces to the collector at `endpoint`.
pub(super) fn provider(name: &'static str, endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder().with_service_name(name).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
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
        .with_filter(
            filter_fn(|metadata| metadata.is_span() && *metadata.level() <= Level::INFO)
                .with_max_level_hint(Level::INFO),
        )
}

/// Adds `span` to the trace that the request's headers name, or begins one, and keeps its ids for the logs.
pub(super) fn join(span: &Span, headers: &HeaderMap) -> Ids {
    let parent = TraceContextPropagator::new().extract(&Incoming(headers));
    if parent.span().span_context().is_valid() {
        // Fails only when no traces are sent.
        let _ = span.set_parent(parent);
    }
    let ids = Ids::of(&span.context()).unwrap_or_else(|| Ids::below(headers));
    log::mark(span, ids);
    ids
}

/// Adds the trace of the current span to the headers of an outgoing request.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if let Some(ids) = Ids::of(&context).or_else(log::current_ids) {
        ids.inject(headers);
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
