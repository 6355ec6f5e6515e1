//! A fake OpenTelemetry collector.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// A received span. Ids are in hex; `parent` is empty for a root span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The name of the program that sent it.
    pub program: String,
    /// Its name.
    pub name: String,
    /// The id of its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent span.
    pub parent: String,
}

/// A collector that keeps all received spans. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Starts a collector.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self {
            address: listener.local_addr().expect("an address"),
            spans: Arc::default(),
        };
        let serving = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        collector
    }

    /// Its URL, for `--otlp-endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The received spans of one trace.
    #[must_use]
    pub fn of_trace(&self, trace: &str) -> Vec<Span> {
        let mut spans = self.all();
        spans.retain(|span| span.trace == trace);
        spans
    }

    /// All received spans.
    #[must_use]
    pub fn all(&self) -> Vec<Span> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in request.into_inner().resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let program = program(&attributes);
            for span in of_resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                spans.push(Span {
                    program: program.clone(),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn program(attributes: &[KeyValue]) -> String {
    let named = attributes
        .iter()
        .find(|attribute| attribute.key == "service.name")
        .and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    match named {
        Some(Value::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
