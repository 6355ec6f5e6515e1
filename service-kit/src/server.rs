//! Serving gRPC: health, reflection, and stopping in time.

use std::{future::IntoFuture as _, io, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::RoutesBuilder,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::shutdown::GRACE;

/// How many bytes of one call may wait to be read.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all calls of a connection: wide enough that a few stalled uploads do not stop the rest.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// How many calls a connection carries at once. The gateway bounds them before.
const MAX_STREAMS: u32 = 1024;

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The contracts cannot be shown by reflection.
    #[error("the contracts cannot be served by reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] io::Error),
}

/// A gRPC server in the making. Health and reflection are served beside what is added.
#[derive(Debug)]
pub struct GrpcServer {
    routes: RoutesBuilder,
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl GrpcServer {
    /// A server with health and reflection only.
    ///
    /// # Errors
    /// When the contracts cannot be read.
    pub fn new() -> Result<Self, Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(hamlet_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let mut routes = RoutesBuilder::default();
        routes.add_service(health).add_service(reflection);
        Ok(Self {
            routes,
            reporter,
            names: Vec::new(),
        })
    }

    /// Adds a service, and its health: serving from the start until the server is asked to stop.
    #[must_use]
    pub fn with<S, B>(mut self, service: S) -> Self
    where
        S: tower::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<B>,
                Error = std::convert::Infallible,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Serves until `shutdown`, then stops accepting and gives running calls [`GRACE`] to end.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        for name in &self.names {
            self.reporter
                .set_service_status(name, ServingStatus::Serving)
                .await;
        }
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let asked = shutdown.clone();
        let serving = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(incoming, async move { asked.cancelled().await });
        let late = async {
            shutdown.cancelled().await;
            for name in &self.names {
                self.reporter
                    .set_service_status(name, ServingStatus::NotServing)
                    .await;
            }
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving.into_future() => Ok(ended?),
            () = late => Ok(()),
        }
    }
}
