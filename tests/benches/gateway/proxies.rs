//! The processes: the upstream and the proxies in front of it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hamlet_tests::programs::program;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::eventually_blocking;

use crate::{
    load::Traffic,
    processor,
    serve::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS},
};

/// The names of the proxies in the output.
pub(crate) const BARE: &str = "bare";
pub(crate) const OURS: &str = "ours";
pub(crate) const ENVOY: &str = "Envoy";
pub(crate) const NGINX: &str = "nginx";

/// Name the programs of Envoy and of another build of the gateway.
const ENVOY_VARIABLE: &str = "HAMLET_BENCH_ENVOY";
const OURS_VARIABLE: &str = "HAMLET_BENCH_GATEWAY";

/// How many threads or processes nginx and Envoy work with.
const WORKERS: usize = 2;

/// How long a process may take to end after it was asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the processes listen.
const UPSTREAM: u8 = 1;
const BARE_PROXY: u8 = 2;
const PUBLIC_DOOR: u8 = 3;
const ADMIN_DOOR: u8 = 4;
const ENVOY_PROXY: u8 = 5;
const NGINX_GRPC: u8 = 6;
const NGINX_HTTP1: u8 = 7;

/// An address that belongs to this process. A port of 127.0.0.1 could be taken by somebody between the choice and the
/// use.
fn address(number: u8) -> SocketAddr {
    let process = u8::try_from(std::process::id() % 250).expect("less than 250");
    SocketAddr::from((Ipv4Addr::new(127, 1 + process, 250, number), 7000))
}

/// A process that ends with this value, and its children with it.
struct Running(Child);

impl Running {
    /// Starts a process, and waits until it listens. What it says goes to the file `log`.
    fn start(mut command: Command, stdin: Stdio, log: &Path, listens: SocketAddr) -> Self {
        let file = File::create(log).expect("a log can be written");
        let stdout = file.try_clone().expect("a second handle of the log");
        command.stdin(stdin).stdout(stdout).stderr(file);
        let mut running = Self(command.spawn().expect("the program can be run"));
        eventually_blocking(&format!("a listener of {command:?}"), || {
            if let Ok(Some(status)) = running.0.try_wait() {
                let log = fs::read_to_string(log).unwrap_or_default();
                panic!("{command:?} ended with {status}:\n{log}");
            }
            TcpStream::connect(listens).is_ok()
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let process = self.0.id();
        let children = processor::children(process);
        // nginx takes its children along when it is asked to end, but not when it is killed.
        signal("TERM", process);
        let asked = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
            for child in children {
                signal("KILL", child);
            }
        }
    }
}

/// Sends a signal to a process that may have ended already.
fn signal(name: &str, process: u32) {
    let _ = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// This program again, as another process.
fn own(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the own path"));
    command.arg(role);
    command
}

/// What is behind the proxies.
pub(crate) struct Upstream {
    folder: TempDir,
    _running: Running,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = address(UPSTREAM);
        let mut command = own(crate::UPSTREAM);
        command.arg(listen.to_string());
        let log = folder.path().join("upstream.log");
        Self {
            _running: Running::start(command, Stdio::piped(), &log, listen),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    grpc: SocketAddr,
    http1: SocketAddr,
    running: Running,
}

impl Proxy {
    /// The process whose time, with that of its children, is measured.
    pub(crate) fn process(&self) -> u32 {
        self.running.0.id()
    }

    /// Where it listens.
    pub(crate) const fn address(&self, traffic: Traffic) -> SocketAddr {
        match traffic {
            Traffic::Unary { .. } | Traffic::Stream { .. } => self.grpc,
            Traffic::Http1 { .. } => self.http1,
        }
    }
}

/// Starts all proxies that are here; also returns which are not.
pub(crate) fn start(upstream: &Upstream) -> (Vec<Proxy>, Vec<&'static str>) {
    let mut proxies = vec![bare(upstream), ours(upstream)];
    let mut missing = Vec::new();
    match named(ENVOY_VARIABLE).or_else(|| found("envoy", &[])) {
        Some(program) => proxies.push(envoy(upstream, &program)),
        None => missing.push(ENVOY),
    }
    match found("nginx", &["/usr/sbin"]) {
        Some(program) => proxies.push(nginx(upstream, &program)),
        None => missing.push(NGINX),
    }
    (proxies, missing)
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty())?;
    Some(path.into())
}

/// A program on the PATH, or in one of these folders.
fn found(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(also.iter().map(PathBuf::from));
    let mut files = folders.map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

fn bare(upstream: &Upstream) -> Proxy {
    let listen = address(BARE_PROXY);
    let mut command = own(crate::BARE_PROXY);
    command.args([listen.to_string(), address(UPSTREAM).to_string()]);
    let log = upstream.path("bare.log");
    Proxy {
        name: BARE,
        grpc: listen,
        http1: listen,
        running: Running::start(command, Stdio::piped(), &log, listen),
    }
}

fn ours(upstream: &Upstream) -> Proxy {
    let listen = address(PUBLIC_DOOR);
    let key = upstream.write("cluster-key", "the cluster key of a benchmark");
    let credential = upstream.write("admin-credential", "the credential of a benchmark");
    let mut command = Command::new(named(OURS_VARIABLE).unwrap_or_else(|| program("gateway")));
    for service in ["instance", "files", "apps"] {
        command.arg(format!("--{service}-service=http://{}", address(UPSTREAM)));
    }
    command
        .arg(format!("--listen={listen}"))
        .arg(format!("--admin-listen={}", address(ADMIN_DOOR)))
        .arg(format!("--cluster-key-file={}", key.display()))
        .arg(format!("--admin-credential-file={}", credential.display()))
        // The other proxies have no limit for one host, and a call that waits for its turn costs little.
        .arg("--streams-per-instance=512");
    let log = upstream.path("gateway.log");
    Proxy {
        name: OURS,
        grpc: listen,
        http1: listen,
        running: Running::start(command, Stdio::null(), &log, listen),
    }
}

fn envoy(upstream: &Upstream, program: &Path) -> Proxy {
    let listen = address(ENVOY_PROXY);
    let config = envoy_config(listen, address(UPSTREAM)).to_string();
    let config = upstream.write("envoy.json", &config);
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &WORKERS.to_string()])
        .args(["--log-level", "error", "--disable-hot-restart"]);
    let log = upstream.path("envoy.log");
    Proxy {
        name: ENVOY,
        grpc: listen,
        http1: listen,
        running: Running::start(command, Stdio::null(), &log, listen),
    }
}

/// One listener for both protocols, no access log and no timeouts. The windows are those of the gateway.
fn envoy_config(listen: SocketAddr, upstream: SocketAddr) -> Value {
    let http = "type.googleapis.com/envoy.extensions.filters";
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let at = |address: SocketAddr| {
        json!({"socket_address": {
            "address": address.ip().to_string(),
            "port_value": address.port(),
        }})
    };
    let http2 = json!({
        "initial_stream_window_size": STREAM_WINDOW,
        "initial_connection_window_size": CONNECTION_WINDOW,
        "max_concurrent_streams": STREAMS,
    });
    let manager = json!({
        "@type": format!("{http}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "door",
        "codec_type": "AUTO",
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "http2_protocol_options": http2,
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{
                "match": {"prefix": "/"},
                "route": {"cluster": "upstream", "timeout": "0s"},
            }],
        }]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{http}.http.router.v3.Router")},
        }],
    });
    json!({"static_resources": {
        "listeners": [{
            "name": "door",
            "address": at(listen),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }]}],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "connect_timeout": "2s",
            // The protocol of the caller is the one that the upstream is spoken to in.
            "typed_extension_protocol_options": {options: {
                "@type": format!("type.googleapis.com/{options}"),
                "use_downstream_protocol_config": {
                    "http_protocol_options": {},
                    "http2_protocol_options": http2,
                },
            }},
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}],
            },
        }],
    }})
}

fn nginx(upstream: &Upstream, program: &Path) -> Proxy {
    let (grpc, http1) = (address(NGINX_GRPC), address(NGINX_HTTP1));
    let folder = upstream.folder.path().display().to_string();
    let config = NGINX_CONFIG
        .replace("WORKERS", &WORKERS.to_string())
        .replace("FOLDER", &folder)
        .replace("GRPC", &grpc.to_string())
        .replace("HTTP1", &http1.to_string())
        .replace("UPSTREAM", &address(UPSTREAM).to_string())
        .replace("STREAM_WINDOW", &STREAM_WINDOW.to_string())
        .replace("STREAMS", &STREAMS.to_string());
    let config = upstream.write("nginx.conf", &config);
    let mut command = Command::new(program);
    command
        .args(["-p", &folder, "-e", "stderr", "-c"])
        .arg(config);
    let log = upstream.path("nginx.log");
    Proxy {
        name: NGINX,
        grpc,
        http1,
        running: Running::start(command, Stdio::null(), &log, grpc),
    }
}

/// Connections are never closed for their age, nothing is written to files, and each call finds a connection that is
/// kept.
const NGINX_CONFIG: &str = "
daemon off;
worker_processes WORKERS;
pid FOLDER/nginx.pid;
error_log stderr error;
events {
    worker_connections 4096;
}
http {
    access_log off;
    client_body_temp_path FOLDER/nginx-body;
    proxy_temp_path FOLDER/nginx-proxy;
    fastcgi_temp_path FOLDER/nginx-fastcgi;
    scgi_temp_path FOLDER/nginx-scgi;
    uwsgi_temp_path FOLDER/nginx-uwsgi;
    client_max_body_size 0;
    client_body_buffer_size STREAM_WINDOW;
    keepalive_requests 1000000000;
    keepalive_time 1d;
    http2_max_concurrent_streams STREAMS;
    http2_body_preread_size STREAM_WINDOW;
    upstream grpc {
        server UPSTREAM;
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_time 1d;
    }
    upstream pages {
        server UPSTREAM;
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_time 1d;
    }
    server {
        listen GRPC http2;
        location / {
            grpc_pass grpc://grpc;
            grpc_read_timeout 1d;
            grpc_send_timeout 1d;
        }
    }
    server {
        listen HTTP1;
        location / {
            proxy_pass http://pages;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_set_header Host $http_host;
        }
    }
}
";
