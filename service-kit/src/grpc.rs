//! What is a call of gRPC. The routers of gRPC look at the path alone, so whatever else comes to the path of a call is
//! refused before them: a page in a browser can send it, and a session that came with it would count.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Method, StatusCode, Version, header::CONTENT_TYPE};

use crate::json_api::Error;

/// The packages whose services are served somewhere behind the gateway.
const PACKAGES: [&str; 3] = ["hamlet.", "google.longrunning.", "grpc."];

/// Whether a request is a gRPC call by its content type. `application/grpc-web` is another protocol.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// Whether a path is that of a gRPC service, or below it: nothing else is answered there.
#[must_use]
pub fn is_path_of_service(path: &str) -> bool {
    let inside = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    inside.is_some_and(|(service, _)| PACKAGES.iter().any(|it| service.starts_with(it)))
}

/// Lets calls of gRPC through: POST over HTTP/2 with its content type.
pub(crate) async fn only_calls(request: Request, next: Next) -> Response {
    let refused = if !is_grpc(request.headers()) {
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "calls of gRPC have the content type application/grpc",
        )
    } else if request.method() != Method::POST {
        (
            StatusCode::METHOD_NOT_ALLOWED,
            "gRPC calls are POST requests",
        )
    } else if request.version() != Version::HTTP_2 {
        (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2")
    } else {
        return next.run(request).await;
    };
    let (status, detail) = refused;
    Error::new(status, "NO_GRPC_CALL", detail).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

    use secret::Secret;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    use tokio_util::sync::CancellationToken;

    use super::{is_grpc, is_path_of_service};
    use crate::{caller::Authenticate, server::GrpcServer};

    #[test]
    fn the_content_type_tells_a_call() {
        let of = |kind: &'static str| {
            let kind = HeaderValue::from_static(kind);
            is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, kind)]))
        };
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;a=b",
        ] {
            assert!(of(kind), "{kind}");
        }
        for kind in [
            "",
            "text/plain",
            "application/grpc-web",
            "application/grpcx",
            "text/plain, application/grpc",
        ] {
            assert!(!of(kind), "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_server_answers_calls_at_the_paths_of_calls_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = Secret::new("a".repeat(44));
        let server = GrpcServer::new()
            .unwrap()
            .with_http(axum::Router::new(), Authenticate::new(key));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(listener, stop.clone()));
        for (method, kind, status) in [
            ("POST", "text/plain", "415"),
            ("POST", "application/json", "415"),
            ("GET", "text/plain", "415"),
            ("GET", "application/grpc", "405"),
            ("POST", "application/grpc", "505"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!(
                "{method} /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n\
                 content-length: 5\r\nconnection: close\r\n\r\n\0\0\0\0\0"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            let begin = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&begin), "{method} {kind}: {answer}");
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[test]
    fn paths_of_services_are_known() {
        for path in [
            "/hamlet.apps.v1.AppsService/InstallApp",
            "/hamlet.apps.v1.AppsService/",
            "/hamlet.any.v1.Other/A/b",
            "/grpc.health.v1.Health/Check",
            "/google.longrunning.Operations/GetOperation",
        ] {
            assert!(is_path_of_service(path), "{path}");
        }
        for path in ["/", "/hamlet.svg", "/assets/hamlet.x/y", "/google.html/x"] {
            assert!(!is_path_of_service(path), "{path}");
        }
    }
}
