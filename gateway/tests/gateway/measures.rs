//! What the way to a backend takes of a gateway that runs as a process of its own. Run with
//! `cargo test --release -p gateway --test gateway -- --ignored --nocapture measures`.

#![allow(clippy::print_stdout, reason = "measures are printed")]

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::Process;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measure: it takes minutes without optimisation"]
async fn a_body_of_2_gib_takes_16_mib_in_either_direction() {
    const SIZE: usize = 2 << 30;
    let process = Process::start().await;
    let before = process.memory("VmRSS");
    let mut stream = TcpStream::connect(process.public).await.unwrap();
    let head = format!(
        "POST /files/sink HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![7; 64 * 1024];
    for _ in 0..SIZE / piece.len() {
        stream.write_all(&piece).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&SIZE.to_string()), "{answer}");
    let up = process.memory("VmHWM") - before;

    let mut stream = TcpStream::connect(process.public).await.unwrap();
    let head = format!(
        "GET /files/flood?{SIZE} HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(read >= SIZE, "{read}");
    let both = process.memory("VmHWM") - before;
    println!("2 GiB up: {up} KiB more; up and down: {both} KiB more");
    assert!(both <= 16 * 1024, "{both} KiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measure: other tests disturb it"]
async fn a_thousand_idle_tunnels_take_32_mib() {
    let process = Process::start().await;
    let before = process.memory("VmRSS");
    let mut tunnels = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(process.public).await.unwrap();
        let head = "GET /files/socket HTTP/1.1\r\nhost: alice.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        tunnels.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = process.memory("VmRSS") - before;
    println!("1000 idle tunnels: {more} KiB more");
    assert!(more <= 32 * 1024, "{more} KiB");
    // They work.
    for tunnel in &mut tunnels {
        tunnel.write_all(b"hello").await.unwrap();
    }
}
