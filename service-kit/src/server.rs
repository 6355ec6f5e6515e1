//! A gRPC server with health and reflection, and a bounded shutdown. It may serve plain HTTP on the same port.

use std::{collections::HashSet, future::IntoFuture as _, io, net::SocketAddr, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use futures::future::BoxFuture;
use prost::Message as _;
use prost_types::{FileDescriptorSet, ServiceDescriptorProto};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    caller::{Authenticate, DOOR_HEADER, Door, IDENTITY_HEADER, Unproven},
    grpc, json_api,
    shutdown::GRACE,
    socket::Socket,
    telemetry::CallsLayer,
    tls::Tls,
};

/// How many bytes of one call may be received and not yet read.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all calls of a connection: large enough that a few stalled uploads do not stop the others.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// How many calls a connection carries at once. The gateway has lower limits of its own.
const MAX_STREAMS: u32 = 1024;
/// The most bytes of headers of one call. The gateway lets callers send less; it adds what their tokens allow.
const MAX_HEADER_LIST: u32 = 128 * 1024;

/// How long a caller may take for the handshake of TLS.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How many accepted connections may wait for the server.
const WAITING: usize = 64;

/// Where a server listens, with TLS if it is set up.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Tls>,
}

impl Listener {
    /// Accepts connections on `tcp`, over TLS if `tls` is set.
    #[must_use]
    pub const fn new(tcp: TcpListener, tls: Option<Tls>) -> Self {
        Self { tcp, tls }
    }

    /// The address on which it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The connections, until `shutdown`.
    fn connections(self, shutdown: CancellationToken) -> ReceiverStream<io::Result<Socket>> {
        let (sender, connections) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = shutdown.cancelled() => return,
                    accepted = self.tcp.accept() => accepted,
                };
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        // Out of file descriptors, most likely: trying at once would only spin.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                let (sender, tls) = (sender.clone(), self.tls.clone());
                tokio::spawn(async move {
                    match begin(stream, tls).await {
                        // The receiver is gone once the server has ended.
                        Ok(socket) => drop(sender.send(Ok(socket)).await),
                        Err(error) => tracing::debug!(%error, "a connection did not begin"),
                    }
                });
            }
        });
        ReceiverStream::new(connections)
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self::new(tcp, None)
    }
}

async fn begin(stream: TcpStream, tls: Option<Tls>) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Socket::Plain(stream)),
        Some(tls) => {
            let stream = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await??;
            Ok(stream.into())
        }
    }
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reflection cannot be set up.
    #[error("the contracts cannot be read")]
    Contracts(#[from] prost::DecodeError),
    /// They cannot be served.
    #[error("the contracts cannot be served by reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[from] io::Error),
}

/// The services that the doors of the gateway let through, and health, which it serves itself.
pub const PUBLIC_SERVICES: [&str; 9] = [
    "google.longrunning.Operations",
    "grpc.health.v1.Health",
    "hamlet.apps.v1.AppsService",
    "hamlet.files.v1.FilesService",
    "hamlet.instance.v1.FeatureService",
    "hamlet.instance.v1.InstanceService",
    "hamlet.instance.v1.OperationService",
    "hamlet.instance.v1.OwnerService",
    "hamlet.instance.v1.TenantService",
];

/// Tells the health of something that a server depends on, under a name of its own.
#[derive(Clone, Debug)]
pub struct Told {
    name: &'static str,
    reporter: HealthReporter,
}

impl Told {
    /// Tells whether it serves.
    pub async fn tell(&self, serves: bool) {
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status(self.name, status).await;
    }
}

/// Builds a gRPC server, which also serves health and reflection.
#[derive(Debug)]
pub struct GrpcServer {
    routes: RoutesBuilder,
    reporter: HealthReporter,
    names: Vec<&'static str>,
    for_strangers: &'static [&'static str],
    http: Option<axum::Router>,
}

/// The contracts of what callers can reach through the gateway, with all that these use. The services between services
/// are for nobody else, and neither are their messages.
fn public_contracts() -> Result<FileDescriptorSet, Error> {
    let mut all = FileDescriptorSet::decode(hamlet_proto::FILE_DESCRIPTOR_SET)?;
    let mut hidden: HashSet<String> = HashSet::new();
    for file in &mut all.file {
        let package = file.package().to_owned();
        file.service.retain(|service| {
            let name = format!("{package}.{}", service.name());
            let is_public = PUBLIC_SERVICES.contains(&name.as_str());
            if !is_public {
                hidden.extend(types_of(service));
            }
            is_public
        });
    }
    // A message of a hidden service may be one of a public service, or a part of another message, too.
    for file in &all.file {
        let package = file.package();
        let of_fields = file.message_type.iter().flat_map(|message| {
            // What is declared inside a message and used there says nothing of who else needs the message.
            let own = format!(".{package}.{}.", message.name());
            let used = message
                .field
                .iter()
                .map(|field| field.type_name().to_owned());
            used.filter(move |used| !used.starts_with(&own))
        });
        let of_services = file.service.iter().flat_map(types_of);
        for used in of_fields.chain(of_services) {
            // Whatever is declared inside a message needs it, too.
            hidden.retain(|name| {
                let inside = used.strip_prefix(name.as_str());
                !inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
        }
    }
    for file in &mut all.file {
        let package = file.package().to_owned();
        file.message_type
            .retain(|message| !hidden.contains(&format!(".{package}.{}", message.name())));
    }
    let mut used: HashSet<String> = HashSet::new();
    let with_services = all.file.iter().filter(|file| !file.service.is_empty());
    let mut next: Vec<String> = with_services.map(|file| file.name().to_owned()).collect();
    while let Some(name) = next.pop() {
        if let Some(file) = all.file.iter().find(|file| file.name() == name)
            && used.insert(name)
        {
            next.extend(file.dependency.iter().cloned());
        }
    }
    all.file.retain(|file| used.contains(file.name()));
    Ok(all)
}

/// The messages of a service's calls, as descriptors name them.
fn types_of(service: &ServiceDescriptorProto) -> Vec<String> {
    let methods = service.method.iter();
    methods
        .flat_map(|method| {
            [
                method.input_type().to_owned(),
                method.output_type().to_owned(),
            ]
        })
        .collect()
}

impl GrpcServer {
    /// A server with health and reflection only.
    pub fn new() -> Result<Self, Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_file_descriptor_set(public_contracts()?)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        let reflection = PUBLIC_SERVICES
            .iter()
            .fold(reflection, |reflection, name| {
                reflection.with_service_name(*name)
            })
            .build_v1()?;
        let mut routes = RoutesBuilder::default();
        routes.add_service(health).add_service(reflection);
        Ok(Self {
            routes,
            reporter,
            names: Vec::new(),
            for_strangers: &[],
            http: None,
        })
    }

    /// What tells the health of something that this server depends on, under a name of its own. The health of the server and
    /// its services does not follow from it.
    #[must_use]
    pub fn told(&self, name: &'static str) -> Told {
        Told {
            name,
            reporter: self.reporter.clone(),
        }
    }

    /// Adds a service. Its health is SERVING from the start until shutdown begins.
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

    /// The methods that strangers may call at the public door, as in `/package.Service/Method`. All others need a session or
    /// a token, whatever their handlers do.
    #[must_use]
    pub const fn for_strangers(mut self, methods: &'static [&'static str]) -> Self {
        self.for_strangers = methods;
        self
    }

    /// Adds routes of plain HTTP. They are asked for every path that is not one of a gRPC service, over HTTP/1.1 and
    /// HTTP/2, and their callers are authenticated by `door` as those of gRPC are.
    #[must_use]
    pub fn with_http(mut self, routes: axum::Router, door: Authenticate) -> Self {
        self.http = Some(json_api::behind(door, routes));
        self
    }

    /// Serves until `shutdown`, then stops accepting and gives running calls [`GRACE`] to end.
    pub fn serve(
        self,
        listener: impl Into<Listener>,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), Error>> {
        self.serve_on(listener.into(), shutdown)
    }

    /// Boxed, and not generic, so that the whole server is compiled in this crate, once: a plain future is compiled
    /// again in each crate that awaits it.
    fn serve_on(
        self,
        listener: Listener,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(self.run(listener, shutdown))
    }

    async fn run(self, listener: Listener, shutdown: CancellationToken) -> Result<(), Error> {
        for name in &self.names {
            self.reporter
                .set_service_status(name, ServingStatus::Serving)
                .await;
        }
        let incoming = listener.connections(shutdown.clone());
        let has_http = self.http.is_some();
        let mut routes = self.routes.routes();
        let calls = std::mem::take(routes.axum_router_mut())
            .layer(from_fn_with_state(self.for_strangers, refuse_strangers))
            .layer(from_fn(grpc::only_calls));
        let routes: Routes = match self.http {
            Some(http) => calls.fallback_service(http).into(),
            None => calls.into(),
        };
        let asked = shutdown.clone();
        let serving = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .accept_http1(has_http)
            .layer(CallsLayer)
            .add_routes(routes)
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

/// Refuses strangers where they may not call. Whether a call comes from the gateway at all is checked after this.
async fn refuse_strangers(
    State(listed): State<&'static [&'static str]>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let door = headers.get(DOOR_HEADER);
    let is_stranger = door.is_some_and(|door| door == Door::Public.as_str())
        && !headers.contains_key(IDENTITY_HEADER);
    if is_stranger && !listed.contains(&request.uri().path()) {
        return Unproven::of(headers).refusal().into_http();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{GrpcServer, PUBLIC_SERVICES, public_contracts};

    #[test]
    fn reflection_describes_what_the_door_lets_through_and_nothing_else() {
        GrpcServer::new().unwrap();
        let set = public_contracts().unwrap();
        let mut services: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| {
                let package = file.package();
                let services = file.service.iter();
                services.map(move |service| format!("{package}.{}", service.name()))
            })
            .collect();
        services.sort();
        let mut public: Vec<_> = PUBLIC_SERVICES
            .iter()
            .filter(|name| name.starts_with("hamlet.") || name.starts_with("google."))
            .collect();
        public.sort();
        assert_eq!(
            services.iter().map(String::as_str).collect::<Vec<_>>(),
            public.iter().map(|it| **it).collect::<Vec<_>>()
        );
        let messages = set.file.iter().flat_map(|file| &file.message_type);
        assert!(
            messages
                .into_iter()
                .all(|message| !message.name().contains("ResolveHost")),
            "a message between services is described"
        );
    }
}
