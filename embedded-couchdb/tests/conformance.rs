//! Responses compared with recorded responses of CouchDB 3.4.3.
//!
//! Each file `conformance/*.calls` is a recording: for each request a line with method and path, `@` lines for
//! headers, `>` lines for the body, and `<` lines for CouchDB's response. Revisions and names of indexes are
//! the real ones. `{db}` stands for a database of the recording, `{rev:ID}` for the latest revision of a
//! document. A line `>64` is a part of the body in base64.
//!
//! In files whose name ends with `_raw`, all headers of a response are shown, and multipart bodies line by line.
//!
//! In files whose name ends with `_exact`, the body is shown byte by byte, as a string of Rust.
//!
//! `HAMLET_CONFORMANCE=NAME` limits the tests to the files whose name contains it.
//!
//! With `HAMLET_TEST_COUCHDB_URL` the requests are also sent to a real CouchDB. With
//! `HAMLET_RECORD_CONFORMANCE=1` too, its responses replace those in the files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{fmt::Write as _, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use support::{Client, Embedded, Reply, Revs, mask, real_couchdb};

struct Call {
    /// The comments and blank lines before the request.
    before: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<Piece>,
    expected: Vec<String>,
}

enum Piece {
    Text(String),
    Base64(String),
}

fn parse(text: &str) -> (Vec<Call>, String) {
    let mut calls: Vec<Call> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('@') {
            let (name, value) = header.split_once(':').unwrap();
            calls
                .last_mut()
                .unwrap()
                .headers
                .push((name.trim().to_owned(), value.trim().to_owned()));
        } else if let Some(body) = line.strip_prefix("> ") {
            let piece = Piece::Text(body.to_owned());
            calls.last_mut().unwrap().body.push(piece);
        } else if let Some(body) = line.strip_prefix(">64 ") {
            let piece = Piece::Base64(body.to_owned());
            calls.last_mut().unwrap().body.push(piece);
        } else if let Some(answer) = line.strip_prefix("< ") {
            calls.last_mut().unwrap().expected.push(answer.to_owned());
        } else if line.is_empty() || line.starts_with('#') {
            before.push_str(line);
            before.push('\n');
        } else {
            let (method, path) = line
                .split_once(' ')
                .unwrap_or_else(|| panic!("no call: {line}"));
            calls.push(Call {
                before: std::mem::take(&mut before),
                method: method.to_owned(),
                path: path.to_owned(),
                headers: Vec::new(),
                body: Vec::new(),
                expected: Vec::new(),
            });
        }
    }
    (calls, before)
}

fn fill(text: &str, db: &str, revs: &Revs) -> String {
    let cookie = revs.get("the cookie").map_or("", String::as_str);
    let mut out = text.replace("{db}", db).replace("{cookie}", cookie);
    while let Some(at) = out.find("{rev:") {
        let end = at + out[at..].find('}').unwrap();
        let rev = revs.get(&out[at + 5..end]).cloned().unwrap_or_default();
        out.replace_range(at..=end, &rev);
    }
    // A body of this size would make the file unreadable.
    if let Some(at) = out.find("{filler:") {
        let end = at + out[at..].find('}').unwrap();
        let count: usize = out[at + 8..end].parse().unwrap();
        out.replace_range(at..=end, &"x".repeat(count));
    }
    out
}

/// Whether users are concerned, whose salts are random.
fn is_about_users(call: &Call) -> bool {
    call.path.contains("/_users") || call.path.contains("/_session")
}

/// Replaces what is random in the documents of users.
fn mask_users(value: &mut Value) {
    const RANDOM: [&str; 12] = [
        "rev",
        "_rev",
        "salt",
        "derived_key",
        "password_sha",
        "total_rows",
        "doc_count",
        "doc_del_count",
        "revpos",
        "_revs_info",
        "update_seq",
        "last_seq",
    ];
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask_users),
        Value::Object(members) => {
            for (key, inner) in members.iter_mut() {
                if RANDOM.contains(&key.as_str()) {
                    *inner = Value::from("…");
                } else {
                    mask_users(inner);
                }
            }
        }
        _ => {}
    }
}

/// The response in the format of the files.
fn shown(call: &Call, reply: &Reply, db_name: &str) -> Vec<String> {
    let mut lines = vec![reply.status.to_string()];
    for name in ["etag", "allow", "content-type"] {
        if let Some(value) = reply.headers.get(name) {
            let value = value.to_str().unwrap();
            let masked = if value.starts_with("multipart/") {
                value.split(';').next().unwrap()
            } else {
                value
            };
            let opaque = name == "etag" && (!value.contains('-') || is_about_users(call));
            let usual = name == "content-type" && masked == "application/json";
            if !opaque && !usual {
                lines.push(format!("{name}: {masked}"));
            }
        }
    }
    let text = reply.text();
    // Other databases, counters and background tasks differ between servers.
    if ["/_active_tasks", "/_all_dbs", "/_node/_local/_stats"].contains(&call.path.as_str())
        || call.method == "HEAD"
        || text.is_empty()
        || reply
            .headers
            .get("content-type")
            .is_some_and(|kind| kind.to_str().unwrap().starts_with("multipart"))
    {
        return lines;
    }
    if is_about_users(call)
        && let Ok(mut value) = serde_json::from_str::<Value>(&text)
    {
        mask_users(&mut value);
        body_lines(&value.to_string(), db_name, &mut lines);
    } else {
        body_lines(&text, db_name, &mut lines);
    }
    lines
}

fn body_lines(text: &str, db_name: &str, lines: &mut Vec<String>) {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            mask(&mut value);
            lines.push(value.to_string().replace(db_name, "{name}"));
        }
        // A continuous feed has one document per line.
        Err(_) => {
            for line in text.lines().filter(|line| !line.is_empty()) {
                match serde_json::from_str::<Value>(line) {
                    Ok(mut value) => {
                        mask(&mut value);
                        lines.push(value.to_string());
                    }
                    Err(_) => lines.push(line.to_owned()),
                }
            }
        }
    }
}

/// The response in the format of the files that show everything.
fn shown_whole(
    call: &Call,
    reply: &Reply,
    db_name: &str,
    host: &str,
    is_exact: bool,
) -> Vec<String> {
    /// Those that say nothing about the request.
    const LEFT_OUT: [&str; 7] = [
        "cache-control",
        "connection",
        "date",
        "server",
        "x-couch-request-id",
        "x-couch-stack-hash",
        "x-couchdb-body-time",
    ];
    let boundaries = boundaries(reply);
    let named = |text: &str| {
        let mut text = text.to_owned();
        for (n, boundary) in boundaries.iter().enumerate() {
            text = text.replace(boundary, &format!("{{boundary{n}}}"));
        }
        text
    };
    let header = |name: &str| {
        reply
            .headers
            .get(name)
            .map_or("", |it| it.to_str().unwrap())
    };
    let content_type = header("content-type");
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let value = value.to_str().unwrap();
            let value = match name.as_str() {
                // JSON is written with other spaces, and in one piece or in several.
                "content-length" | "transfer-encoding"
                    if !content_type.starts_with("text/")
                        && !content_type.starts_with("application/octet-stream") =>
                {
                    return None;
                }
                "location" => value
                    .replace(&db_name.replace('/', "%2F"), "{name}")
                    .replace(db_name, "{name unescaped}")
                    .replace(host, "{host}"),
                "set-cookie" => value
                    .split(';')
                    .map(|part| match part.split_once('=') {
                        Some((name @ " Expires", _)) => format!("{name}={{date}}"),
                        Some((name @ "AuthSession", some)) if !some.is_empty() => {
                            format!("{name}={{cookie}}")
                        }
                        _ => part.to_owned(),
                    })
                    .collect::<Vec<_>>()
                    .join(";"),
                "etag" if call.path.contains("/_changes") => return None,
                _ => named(value),
            };
            Some(format!("{name}: {value}"))
        })
        .collect();
    headers.sort();
    let mut lines = vec![reply.status.to_string()];
    lines.append(&mut headers);
    if call.method == "HEAD" || reply.body.is_empty() {
        return lines;
    }
    if is_exact {
        lines.push(format!("{:?}", reply.text()));
    } else if content_type.starts_with("multipart/") {
        for line in split(&reply.body, b"\r\n") {
            lines.push(match std::str::from_utf8(line) {
                Ok(text) if !text.contains(|c: char| c < ' ') => {
                    match serde_json::from_str::<Value>(text) {
                        Ok(Value::Object(members)) => format!("|{}", Value::Object(members)),
                        _ => format!("|{}", named(text)),
                    }
                }
                _ => format!("|base64:{}", STANDARD.encode(line)),
            });
        }
    } else if reply.body.starts_with(&[0x1f, 0x8b]) {
        lines.push(format!("base64:{}", STANDARD.encode(&reply.body)));
    } else {
        body_lines(&reply.text(), db_name, &mut lines);
    }
    lines
}

fn split<'a>(mut body: &'a [u8], at: &[u8]) -> Vec<&'a [u8]> {
    let mut lines = Vec::new();
    while let Some(end) = body.windows(at.len()).position(|window| window == at) {
        lines.push(&body[..end]);
        body = &body[end + at.len()..];
    }
    lines.push(body);
    lines
}

/// The boundaries of a multipart response, from outside to inside.
fn boundaries(reply: &Reply) -> Vec<String> {
    let content_type = reply.headers.get("content-type");
    let head = content_type.map_or("", |value| value.to_str().unwrap());
    let text = format!("{head}\n{}", reply.text());
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some((_, boundary)) = line.split_once("boundary=") {
            let boundary = boundary.trim_matches('"').to_owned();
            if !found.contains(&boundary) {
                found.push(boundary);
            }
        }
    }
    found
}

/// The lines as JSON, so that the order of members is not compared.
fn comparable(lines: &[String]) -> Vec<Result<Value, &str>> {
    lines
        .iter()
        .map(|line| {
            let json = line.strip_prefix('|').unwrap_or(line);
            serde_json::from_str(json).map_err(|_| line.as_str())
        })
        .collect()
}

/// Whether a response is the recorded one. A reason that ends with `…` is cut where a stack trace begins.
fn is_expected(heard: &[Result<Value, &str>], expected: &[Result<Value, &str>]) -> bool {
    let same = |(heard, expected): (&Result<Value, &str>, &Result<Value, &str>)| {
        if heard == expected {
            return true;
        }
        let reason = |line: &Result<Value, &str>| match line {
            Ok(value) => value["reason"].as_str().map(str::to_owned),
            Err(_) => None,
        };
        match (reason(heard), reason(expected)) {
            (Some(heard), Some(expected)) => expected
                .strip_suffix('…')
                .is_some_and(|front| heard.starts_with(front)),
            _ => false,
        }
    };
    heard.len() == expected.len() && heard.iter().zip(expected).all(same)
}

fn remember(value: &Value, revs: &mut Revs) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| remember(item, revs)),
        Value::Object(members) => {
            if let Some(results) = members.get("results") {
                remember(results, revs);
            }
            if let (Some(Value::String(id)), Some(Value::String(seq))) =
                (members.get("id"), members.get("seq"))
            {
                revs.insert(format!("seq of {id}"), seq.clone());
            }
            if let (Some(Value::String(id)), Some(Value::String(rev))) =
                (members.get("id"), members.get("rev"))
            {
                revs.insert(id.clone(), rev.clone());
            }
        }
        _ => {}
    }
}

/// Replays a recording. Returns it with the actual responses, and the differences from the recorded ones.
async fn replay(client: &Client, name: &str, text: &str) -> (String, Vec<String>) {
    let db_name = format!("conformance/{name}");
    let db = format!("/conformance%2F{name}");
    client.delete(&db).await;
    let (calls, rest) = parse(text);
    let mut revs = Revs::new();
    let mut heard = String::new();
    let mut differences = Vec::new();
    for call in calls {
        let path = fill(&call.path, &db, &revs);
        let body: Vec<u8> = call
            .body
            .iter()
            .flat_map(|piece| match piece {
                Piece::Text(text) => fill(text, &db, &revs).into_bytes(),
                Piece::Base64(text) => STANDARD.decode(text).unwrap(),
            })
            .collect();
        let filled: Vec<(String, String)> = call
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, &db, &revs)))
            .collect();
        let headers: Vec<(&str, &str)> = filled
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut anonymous = client.clone();
        let client = if headers.iter().any(|(name, _)| *name == "Anonymous") {
            anonymous.authorization = None;
            &anonymous
        } else {
            client
        };
        let headers: Vec<(&str, &str)> = headers
            .into_iter()
            .filter(|(name, _)| *name != "Anonymous")
            .collect();
        let reply = client.call(&call.method, &path, &headers, &body).await;
        if let Ok(value) = serde_json::from_slice(&reply.body) {
            remember(&value, &mut revs);
        }
        for cookie in reply.headers.get_all("set-cookie") {
            let value = cookie.to_str().unwrap();
            let value = value.strip_prefix("AuthSession=").unwrap_or_default();
            let value = value.split(';').next().unwrap_or_default();
            if !value.is_empty() {
                revs.insert("the cookie".to_owned(), value.to_owned());
            }
        }
        let is_exact = name.ends_with("_exact");
        let lines = if is_exact || name.ends_with("_raw") {
            shown_whole(&call, &reply, &db_name, &client.address, is_exact)
        } else {
            shown(&call, &reply, &db_name)
        };
        let _ = writeln!(heard, "{}{} {}", call.before, call.method, call.path);
        for (name, value) in &call.headers {
            let _ = writeln!(heard, "@{name}: {value}");
        }
        for piece in &call.body {
            let _ = match piece {
                Piece::Text(text) => writeln!(heard, "> {text}"),
                Piece::Base64(text) => writeln!(heard, ">64 {text}"),
            };
        }
        for line in &lines {
            let _ = writeln!(heard, "< {line}");
        }
        if !is_expected(&comparable(&lines), &comparable(&call.expected)) {
            differences.push(format!(
                "{} {}\n  {:?}\n  {}\n  expected {:#?}\n  heard    {:#?}",
                call.method,
                call.path,
                call.headers,
                String::from_utf8_lossy(&body),
                call.expected,
                lines
            ));
        }
    }
    client.delete(&db).await;
    heard.push_str(&rest);
    (heard, differences)
}

fn recordings() -> Vec<(String, PathBuf)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let wanted = std::env::var("HAMLET_CONFORMANCE").unwrap_or_default();
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "calls")
        })
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(name, _)| name.contains(&wanted))
        .collect();
    found.sort();
    found
}

/// Fails if anything was answered otherwise than it was recorded.
fn require_none(differences: &[String], who: &str) {
    assert!(
        differences.is_empty(),
        "{who} answers {} calls otherwise:\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// Each recording has a server of its own, all at the same time: some of them mostly wait.
#[tokio::test]
async fn the_embedded_server_responds_as_recorded() {
    let replays = recordings().into_iter().map(async |(name, path)| {
        let server = Embedded::start().await;
        let text = fs::read_to_string(&path).unwrap();
        let (_, differences) = replay(&server.client, &name, &text).await;
        server.stop().await;
        differences
    });
    let differences = futures::future::join_all(replays).await.concat();
    require_none(&differences, "the embedded server");
}

/// One recording after the other, because the server is shared.
async fn replay_on(real: &Client) {
    let mut differences = Vec::new();
    for (name, path) in recordings() {
        let text = fs::read_to_string(&path).unwrap();
        let (heard, mut different) = replay(real, &name, &text).await;
        if std::env::var_os("HAMLET_RECORD_CONFORMANCE").is_some() {
            fs::write(&path, heard).unwrap();
            different.clear();
        }
        differences.append(&mut different);
    }
    require_none(&differences, "CouchDB");
}

#[tokio::test]
async fn a_real_couchdb_responds_as_recorded() {
    match real_couchdb() {
        Some(client) => replay_on(&client).await,
        None => eprintln!(
            "HAMLET_TEST_COUCHDB_URL names no CouchDB: only the embedded server was asked"
        ),
    }
}
