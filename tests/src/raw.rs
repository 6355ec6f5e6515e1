//! Requests of HTTP/1.1 byte for byte.

use reqwest::header::{HeaderMap, HeaderName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::browser::Page;

/// Sends a request, and reads the answer until the connection ends: the request has to say `Connection: close`.
///
/// # Panics
/// When there is no whole answer.
pub async fn exchange(door: &str, request: &str) -> Page {
    let mut stream = TcpStream::connect(door).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        let name: HeaderName = name.parse().unwrap();
        let _ = headers.append(name, value.parse().unwrap());
    }
    let is_chunked = headers.contains_key("transfer-encoding");
    Page {
        status: status.parse().unwrap(),
        text: if is_chunked {
            whole(body)
        } else {
            body.to_owned()
        },
        headers,
    }
}

/// The body that was sent in chunks.
fn whole(mut chunks: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&rest[..size]);
        chunks = rest[size..].trim_start_matches("\r\n");
    }
    text
}
