//! A caller who speaks HTTP/2 in frames, and one who speaks HTTP/1.1 in text.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::poll_fn;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::SOON;

/// One HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Client(SendRequest<Bytes>);

/// A call under way.
pub(crate) struct Call {
    pub(crate) response: ResponseFuture,
    pub(crate) upload: SendStream<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http_status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether the head was the whole answer.
    pub(crate) trailers_only: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The gRPC status, wherever it stands.
    pub(crate) fn status(&self) -> tonic::Status {
        let headers = if self.trailers_only {
            &self.headers
        } else {
            &self.trailers
        };
        tonic::Status::from_header_map(headers)
            .unwrap_or_else(|| panic!("there is no status in {self:?}"))
    }

    pub(crate) fn code(&self) -> tonic::Code {
        self.status().code()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::with_window(address, 65_535).await
    }

    /// A client that leaves so many bytes of a call unread at most.
    pub(crate) async fn with_window(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::with_window_over(stream, window).await
    }

    /// A client on a connection that exists.
    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::with_window_over(stream, 65_535).await
    }

    async fn with_window_over<S>(stream: S, window: u32) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(16 * 1024 * 1024)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    /// Begins a gRPC call.
    pub(crate) async fn begin(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Call {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://{host}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut client = timeout(SOON, self.0.clone().ready())
            .await
            .unwrap()
            .unwrap();
        let (response, upload) = client
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        Call { response, upload }
    }

    /// Makes a unary gRPC call of the files service's method.
    pub(crate) async fn call(&self, host: &str, method: &str, headers: &[(&str, &str)]) -> Answer {
        let path = format!("/hamlet.files.v1.FilesService/{method}");
        self.call_path(host, &path, headers).await
    }

    pub(crate) async fn call_path(
        &self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut call = self.begin(host, path, headers).await;
        // An answer may come before the message is wanted.
        call.upload
            .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .ok();
        call.finish().await
    }

    /// Sends a body.
    pub(crate) async fn send(&self, request: Request<()>, body: impl Into<Bytes>) -> Answer {
        let mut client = self.0.clone().ready().await.unwrap();
        let (response, mut upload) = client.send_request(request, false).unwrap();
        upload.send_data(body.into(), true).ok();
        Call { response, upload }.finish().await
    }

    /// Returns when the connection has ended.
    pub(crate) async fn closed(&self) {
        while self.0.clone().ready().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Makes a plain request.
    pub(crate) async fn request(&self, request: Request<()>) -> Answer {
        let mut client = self.0.clone().ready().await.unwrap();
        let (response, upload) = client.send_request(request, true).unwrap();
        Call { response, upload }.finish().await
    }
}

impl Call {
    pub(crate) async fn finish(self) -> Answer {
        let response = timeout(SOON, self.response)
            .await
            .expect("no answer came")
            .unwrap();
        let (head, body) = response.into_parts();
        let trailers_only = body.is_end_stream();
        let (body, trailers) = timeout(SOON, read(body))
            .await
            .expect("the answer did not end");
        Answer {
            http_status: head.status,
            headers: head.headers,
            body,
            trailers,
            trailers_only,
        }
    }

    /// Breaks the call off.
    pub(crate) fn cancel(mut self) {
        self.upload.send_reset(Reason::CANCEL);
    }
}

async fn read(mut body: RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        whole.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await.unwrap();
    (whole, trailers.unwrap_or_default())
}

/// Sends `text` as it is and reads what comes back until the connection ends.
pub(crate) async fn http(address: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("the connection did not end")
        .unwrap();
    String::from_utf8(answer).unwrap()
}

/// Sends the same request on new connections until its answer holds this.
pub(crate) async fn ask_until(address: SocketAddr, text: &str, wanted: &str) {
    let asking = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(address).await
                && stream.write_all(text.as_bytes()).await.is_ok()
            {
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.ok();
                if String::from_utf8_lossy(&answer).contains(wanted) {
                    return;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, asking).await.expect("the answer never came");
}
