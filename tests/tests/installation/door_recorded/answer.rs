//! Answers, read byte for byte, and what a client reads of them.

use std::collections::BTreeMap;

use hamlet_tests::browser::Page;
use http::HeaderMap;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What a client reads of an answer, by names.
pub(super) fn parts(
    status: String,
    body: String,
    header: impl Fn(&str) -> String,
) -> BTreeMap<&'static str, String> {
    let cookies = header("Set-Cookie");
    let session = cookies.lines().find(|line| line.contains("sess"));
    let attributes = session.and_then(|line| line.split_once("; "));
    let varies = header("Vary").to_ascii_lowercase().contains("origin");
    BTreeMap::from([
        ("status", status),
        ("body", body),
        (
            "type",
            header("Content-Type").split(';').next().unwrap().to_owned(),
        ),
        ("location", header("Location")),
        ("allow", header("Allow")),
        ("hsts", header("Strict-Transport-Security")),
        ("session", attributes.map_or("", |(_, it)| it).to_owned()),
        ("origin", header("Access-Control-Allow-Origin")),
        ("credentials", header("Access-Control-Allow-Credentials")),
        ("methods", header("Access-Control-Allow-Methods")),
        ("headers", header("Access-Control-Allow-Headers")),
        ("age", header("Access-Control-Max-Age")),
        (
            "varies by origin",
            if varies { "yes" } else { "no" }.to_owned(),
        ),
    ])
}

pub(super) fn of_page(page: &Page) -> BTreeMap<&'static str, String> {
    let header = |name: &str| {
        let lines = page.headers.get_all(name).iter();
        let lines = lines.map(|line| line.to_str().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    };
    let json: Result<Value, _> = serde_json::from_str(&page.text);
    let is_page = header("Content-Type").starts_with("text/html");
    let body = match &json {
        _ if page.text.is_empty() => "empty".to_owned(),
        Ok(json) => match json["errors"][0]["code"].as_str() {
            Some(code) if json["errors"][0]["code"] != "tos-updated" => code.to_owned(),
            _ => "json".to_owned(),
        },
        Err(_) if is_page => "page".to_owned(),
        Err(_) => "text".to_owned(),
    };
    parts(page.status.as_u16().to_string(), body, header)
}

/// Sends bytes, and reads the answer until its end.
pub(super) async fn exchange_bytes(door: &str, request: &str) -> Page {
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
        let name: http::HeaderName = name.parse().unwrap();
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
