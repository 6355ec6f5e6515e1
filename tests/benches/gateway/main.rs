//! Measures what the gateway costs a call, next to other proxies in the same run: the bare one of this benchmark, which
//! only hands bodies through, and nginx and Envoy where they are installed. `HAMLET_BENCH_ENVOY` names Envoy's program;
//! otherwise `envoy` is looked for on the PATH, as `nginx` is there and in `/usr/sbin`. `HAMLET_BENCH_GATEWAY` names
//! another build of the gateway; otherwise it is built.
//!
//! The upstream, each proxy and the load are processes of their own. All proxies run at once, and the load goes to one
//! after the other, `--rounds` times (5). For each proxy, the median of the rounds is printed: the processor time of its
//! processes a call, and the latency that the load sees.
//!
//! `--instances N` lets calls go round over N hosts (1). `--only TEXT` measures only loads with this in their name.
//! `--smoke` runs each measurement once and shortly, as a functional check.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its results, and panics on errors; its numbers are small"
)]

mod bare;
mod load;
mod processor;
mod proxies;
mod report;
mod serve;
mod upstream;

use std::time::Duration;

use crate::{
    load::{Outcome, Plan, Traffic},
    proxies::{BARE, OURS, Proxy, Upstream},
    report::{Row, Size},
};

/// The first argument of this program when it is one of the other processes.
const UPSTREAM: &str = "--upstream";
const BARE_PROXY: &str = "--bare-proxy";
const LOAD: &str = "--load";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        [UPSTREAM, listen, ..] => upstream::run(address(listen)),
        [BARE_PROXY, listen, upstream, ..] => bare::run(address(listen), address(upstream)),
        [LOAD, plan, ..] => load::run(plan),
        _ => compare(&Size::of(&words)),
    }
}

fn address(word: &str) -> std::net::SocketAddr {
    word.parse().expect("an address")
}

/// A load, and its name in the output.
struct Load {
    name: String,
    traffic: Traffic,
}

/// The loads that every proxy gets.
fn loads(size: &Size) -> Vec<Load> {
    let mut loads = Vec::new();
    for (label, bytes) in [("32 B", 32), ("64 KiB", 64 * 1024)] {
        for (connections, streams) in [(1, 64), (8, 32)] {
            loads.push(Load {
                name: format!("unary gRPC, {label} each way, {connections} x {streams} streams"),
                traffic: Traffic::Unary {
                    bytes,
                    connections,
                    streams,
                },
            });
        }
    }
    loads.push(Load {
        name: format!(
            "gRPC stream, {} messages of 32 B each way, {} under way",
            size.messages,
            load::UNDER_WAY
        ),
        traffic: Traffic::Stream {
            bytes: 32,
            messages: size.messages,
        },
    });
    for (label, bytes) in [("32 B", 32), ("64 KiB", 64 * 1024)] {
        loads.push(Load {
            name: format!("HTTP/1.1 GET of {label}, 32 connections"),
            traffic: Traffic::Http1 {
                bytes,
                connections: 32,
            },
        });
    }
    loads
}

/// One that the load goes to.
struct Runner<'a> {
    label: String,
    proxy: &'a Proxy,
    instances: usize,
}

fn compare(size: &Size) {
    let upstream = Upstream::start();
    let (proxies, missing) = proxies::start(&upstream);
    report::begin(size, &missing);
    let mut rows = Vec::new();
    for load in loads(size) {
        let runners = proxies.iter().map(|proxy| Runner {
            label: proxy.name.to_owned(),
            proxy,
            instances: size.instances,
        });
        let runners: Vec<_> = runners.collect();
        rows.extend(measure(size, &load, &runners, OURS));
    }
    if let Some(ours) = proxies.iter().find(|proxy| proxy.name == OURS) {
        let runners = [1, size.crowd].map(|instances| Runner {
            label: format!("{OURS}, {instances}"),
            proxy: ours,
            instances,
        });
        let load = Load {
            name: "instances: unary gRPC, 32 B each way, 8 x 32 streams".to_owned(),
            traffic: Traffic::Unary {
                bytes: 32,
                connections: 8,
                streams: 32,
            },
        };
        let crowded = format!("{OURS}, {}", size.crowd);
        measure(size, &load, &runners, &crowded);
    }
    report::summary(&rows, &[BARE, proxies::ENVOY, proxies::NGINX]);
}

/// Measures one load and prints the result. Nothing happens when it is not asked for.
fn measure(size: &Size, load: &Load, runners: &[Runner<'_>], ours: &str) -> Option<Row> {
    if !load.name.contains(&size.only) {
        return None;
    }
    let mut outcomes: Vec<Vec<Outcome>> = runners.iter().map(|_| Vec::new()).collect();
    for _ in 0..size.rounds {
        // The proxies alternate, so that a change of the machine's speed affects all of them.
        for (runner, outcomes) in runners.iter().zip(&mut outcomes) {
            outcomes.push(load::start(&Plan {
                address: runner.proxy.address(load.traffic),
                process: runner.proxy.process(),
                traffic: load.traffic,
                instances: runner.instances,
                warm_up: size.warm_up,
                length: size.length,
            }));
        }
    }
    let labels = runners.iter().map(|runner| runner.label.clone());
    let row = Row::new(&load.name, labels.zip(outcomes));
    row.print(ours);
    Some(row)
}

impl Size {
    fn of(words: &[&str]) -> Self {
        let value = |flag| {
            let place = words.iter().position(|word| *word == flag)?;
            words.get(place + 1).copied()
        };
        let number = |flag, default| {
            value(flag).map_or(default, |word| word.parse().expect("a number after a flag"))
        };
        let is_smoke = words.contains(&"--smoke");
        let (rounds, messages, crowd, warm_up, length) = if is_smoke {
            (1, 2_000, 100, 50, 200)
        } else {
            (5, 1_000_000, 100_000, 1_000, 4_000)
        };
        Self {
            rounds: number("--rounds", rounds).max(1),
            messages,
            instances: number("--instances", 1).max(1),
            crowd,
            warm_up: Duration::from_millis(warm_up),
            length: Duration::from_millis(length),
            only: value("--only").unwrap_or_default().to_owned(),
        }
    }
}
