//! The server of a [`Fake`](super::Fake): gRPC on any path, and health.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::Grpc,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use super::{Answers, Call, Shared, codec::BytesCodec};

/// Starts the server on its own port and in its own runtime. So tests without a runtime can use it, and stopping the
/// runtime stops it completely.
pub(super) fn serve(shared: Arc<Shared>) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let entered = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    drop(entered);
    let routes = Routes::default()
        .into_axum_router()
        .reset_fallback()
        .fallback_service(AnyMethod(shared));
    runtime.spawn(async move {
        Server::builder()
            .add_routes(Routes::from(routes))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .expect("it can be served");
    });
    (runtime, address)
}

/// Handles a call of any method. On the wire, a unary response is a stream of one message.
#[derive(Clone)]
struct AnyMethod(Arc<Shared>);

impl<B> tower::Service<http::Request<B>> for AnyMethod
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let path = request.uri().path().to_owned();
        let authority = request.uri().authority().map(ToString::to_string);
        let authority = authority.unwrap_or_default();
        async move {
            let method = tower::service_fn(move |request: Request<Bytes>| {
                answer(
                    Arc::clone(&shared),
                    path.clone(),
                    authority.clone(),
                    request,
                )
            });
            let mut grpc = Grpc::new(BytesCodec);
            Ok(grpc.server_streaming(method, request).await)
        }
        .boxed()
    }
}

async fn answer(
    shared: Arc<Shared>,
    path: String,
    authority: String,
    request: Request<Bytes>,
) -> Result<Response<Answers>, Status> {
    if path == "/grpc.health.v1.Health/Check" {
        let answer = shared.health(request.get_ref().clone())?;
        return Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)))));
    }
    let (metadata, extensions, message) = request.into_parts();
    let number = shared.note(&path, authority);
    let admitted = (shared.entrance)(Request::from_parts(metadata, extensions, ()))?;
    let (metadata, extensions, ()) = admitted.into_parts();
    let answer = {
        let mut state = shared.state();
        if let Some(status) = &state.refusal {
            return Err(status.clone());
        }
        state.calls[number].message = Some(message.clone());
        let answer = state.answers.get(&path).cloned();
        answer.ok_or_else(|| Status::unimplemented(format!("the test answers no {path}")))?
    };
    let answers = answer(Request::from_parts(metadata, extensions, message)).await?;
    Ok(Response::new(answers))
}

impl Shared {
    /// Records a call, and returns its index among all calls.
    fn note(&self, path: &str, authority: String) -> usize {
        let mut state = self.state();
        state.calls.push(Call {
            path: path.to_owned(),
            authority,
            message: None,
        });
        state.calls.len() - 1
    }

    fn health(&self, question: Bytes) -> Result<Bytes, Status> {
        let question = HealthCheckRequest::decode(question)
            .map_err(|error| Status::internal(error.to_string()))?;
        let serves = match self.state().health.get(&question.service) {
            Some(serves) => *serves,
            None if question.service.is_empty() => true,
            None => return Err(Status::not_found("there is no such service")),
        };
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        let answer = HealthCheckResponse {
            status: status.into(),
        };
        Ok(answer.encode_to_vec().into())
    }
}
