//! Requests and responses, read completely, and the way to the embedded databases.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

/// How long an embedded database may take: only machines with too much to do are slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// User and password of the embedded databases, for requests of the model itself.
const ADMIN: HeaderValue = HeaderValue::from_static("Basic YWRtaW46cGFzc3dvcmQ=");

/// Headers that belong to one connection and are not passed on.
const OF_CONNECTION: [HeaderName; 4] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// A request with its complete body.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path as sent, percent-encoded, with a leading slash.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// A request of the model itself. `target` is a path with an optional query.
    pub(super) fn new(method: Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = [
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (header::AUTHORIZATION, ADMIN),
        ];
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.into_iter().collect(),
            body: Bytes::new(),
        }
    }

    pub(super) fn post(target: &str, body: &Value) -> Self {
        Self::new(Method::POST, target).json(body)
    }

    /// This request with another body.
    pub(super) fn json(mut self, body: &Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        self.headers.insert(header::CONTENT_TYPE, json);
        self.body = body.to_string().into();
        self
    }

    /// Reads a request.
    pub(super) async fn read<B: Body>(request: Request<B>) -> Result<Self, B::Error> {
        let (parts, body) = request.into_parts();
        Ok(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: passed_on(parts.headers),
            body: body.collect().await?.to_bytes(),
        })
    }

    /// The decoded value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|it| it.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| decoded(value))
            .next_back()
    }

    /// This request with another value of a parameter.
    pub(super) fn with_parameter(&self, name: &str, value: &str) -> Self {
        let others = self.query.split('&').filter(|pair| {
            !pair.is_empty() && pair.split_once('=').is_none_or(|(key, _)| key != name)
        });
        let pair = format!("{name}={}", encoded(value));
        let query: Vec<&str> = others.chain([pair.as_str()]).collect();
        Self {
            query: query.join("&"),
            ..self.clone()
        }
    }
}

fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// A segment of a path or a value of a query, decoded.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A segment of a path or a value of a query, encoded.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A response with its complete body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            status,
            headers: [(header::CONTENT_TYPE, json)].into_iter().collect(),
            body: format!("{body}\n").into(),
        }
    }

    pub(super) fn error(status: StatusCode, error: &str, reason: &str) -> Self {
        Self::json(status, &json!({ "error": error, "reason": reason }))
    }

    /// The response to a request for a database that the node does not know.
    pub(super) fn no_database() -> Self {
        Self::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "Database does not exist.",
        )
    }

    /// The body as JSON; `null` if it is not JSON.
    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with_body(mut self, body: String) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON, if the status is 2xx.
    pub(super) fn success(&self, what: &str) -> Result<Value, String> {
        if self.status.is_success() {
            return Ok(self.value());
        }
        let text = String::from_utf8_lossy(&self.body);
        Err(format!("{what}: {} {text}", self.status))
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The way to the embedded databases.
pub(super) struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    nodes: [SocketAddr; 3],
}

impl Wire {
    pub(super) fn new(nodes: [SocketAddr; 3]) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            nodes,
        }
    }

    /// Sends a request to the embedded database of a node, whether the node is alive or not.
    ///
    /// # Panics
    /// When the database does not answer within [`PATIENCE`]: it hangs.
    pub(super) async fn ask(&self, node: usize, call: &Call) -> Answer {
        // A feed waits for changes.
        if call.parameter("feed").is_some() {
            return self.ask_without_limit(node, call).await;
        }
        let asked = tokio::time::timeout(PATIENCE, self.ask_without_limit(node, call)).await;
        asked.unwrap_or_else(|_| {
            panic!(
                "the database of node {node} does not answer {} {}",
                call.method, call.path
            )
        })
    }

    async fn ask_without_limit(&self, node: usize, call: &Call) -> Answer {
        let target = format!("http://{}{}?{}", self.nodes[node], call.path, call.query);
        let target: Uri = target
            .trim_end_matches('?')
            .parse()
            .expect("the target of a request that was read");
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = target;
        request.headers_mut().clone_from(&call.headers);
        let failed = |error: &dyn std::error::Error| {
            let reason = format!("the database of node {node} does not answer: {error}");
            Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "unreachable", &reason)
        };
        let (parts, body) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return failed(&error),
        };
        match body.collect().await {
            Ok(body) => Answer {
                status: parts.status,
                headers: passed_on(parts.headers),
                body: body.to_bytes(),
            },
            Err(error) => failed(&error),
        }
    }
}
