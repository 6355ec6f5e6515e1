//! Traces, metrics and logs of an installation.

use hamlet_proto::hamlet::{
    files::v1::{
        ListChildrenRequest, files_service_client::FilesServiceClient,
        list_children_request::Directory,
    },
    instance::v1::{CountInstancesRequest, instance_service_client::InstanceServiceClient},
};
use hamlet_tests::{
    cluster::{Cluster, Part},
    collector::Collector,
};
use serde_json::Value;
use test_kit::eventually_blocking;
use tonic::{Code, Request, metadata::MetadataValue, transport::Endpoint};

const DOMAIN: &str = "alice.example";
/// The example in the W3C recommendation.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Lists the root of the instance at the admin door, as part of the caller's own trace.
async fn list_root(cluster: &Cluster) {
    let admin = cluster.address(Part::Gateway, 0);
    let channel = Endpoint::from_shared(format!("http://{admin}"))
        .unwrap()
        .origin(format!("http://{DOMAIN}").parse().unwrap())
        .connect()
        .await
        .unwrap();
    let mut request = Request::new(ListChildrenRequest {
        directory: Some(Directory::Path("/".to_owned())),
        ..ListChildrenRequest::default()
    });
    let credential = std::fs::read_to_string(cluster.path("admin-credential")).unwrap();
    let headers = request.metadata_mut();
    headers.insert(
        "authorization",
        format!("Bearer {}", credential.trim()).parse().unwrap(),
    );
    headers.insert(
        "traceparent",
        format!("00-{TRACE}-{CALLER}-01").parse().unwrap(),
    );
    FilesServiceClient::new(channel)
        .list_children(request)
        .await
        .unwrap();
}

/// The lines of a log, each parsed as JSON.
fn lines(cluster: &Cluster, part: Part) -> Vec<Value> {
    cluster
        .logged(part, 0)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

async fn metrics(cluster: &Cluster, part: Part) -> String {
    // Another test of the process may have installed it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}/metrics", cluster.metrics(part, 0));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client
        .get(url)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .text()
        .await
        .unwrap()
}

/// Whether the metrics contain a line of this metric with all of these labels and a count.
fn counted(metrics: &str, name: &str, labels: &[&str]) -> bool {
    metrics.lines().any(|line| {
        line.starts_with(&format!("{name}{{"))
            && labels.iter().all(|label| line.contains(label))
            && !line.ends_with(" 0")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_traced_through_the_installation() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let mut cluster = Cluster::new();
    let metrics_at =
        [Part::Gateway, Part::Instances, Part::Files].map(|part| (part, cluster.metrics(part, 0)));
    cluster = cluster
        .flags(move |part| {
            let shown = metrics_at
                .iter()
                .find(|(its, _)| *its == part)
                .map(|(_, address)| format!("--metrics-listen={address}"));
            match part {
                Part::Database => Vec::new(),
                _ => [
                    format!("--otlp-endpoint={endpoint}"),
                    "--log-format=json".to_owned(),
                ]
                .into_iter()
                .chain(shown)
                .collect(),
            }
        })
        .start();
    let cli = cluster.cli();
    let _ = cli
        .run(&format!("instances add {DOMAIN} --email a@example.org"))
        .done();

    // A creation is one trace, from the request to the calls that its operation makes to the other services.
    eventually_blocking("the trace of the creation", || {
        let spans = collector.all();
        let operation = spans.iter().find(|span| span.name == "create")?;
        let of_it = |program: &str, name: &str| {
            spans.iter().any(|span| {
                span.trace == operation.trace
                    && span.program == program
                    && span.name.ends_with(name)
            })
        };
        let asked = of_it("gateway", "InstanceService/CreateInstance");
        let done = of_it("files-svc", "PrepareDatabases") && of_it("apps-svc", "PrepareDatabases");
        (asked && done).then_some(())
    });

    // Logs follow the settings until debugging is enabled for this instance.
    list_root(&cluster).await;
    let of_trace = |part| {
        lines(&cluster, part)
            .into_iter()
            .filter(|line| line["trace_id"] == TRACE)
            .collect::<Vec<_>>()
    };
    assert_eq!(of_trace(Part::Files), Vec::<Value>::new());
    let _ = cli
        .run(&format!("instances debug {DOMAIN} true --ttl 1h"))
        .done();
    eventually_blocking("the debugging in every service", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(list_root(&cluster));
        });
        let debugged = |part| of_trace(part).iter().any(|line| line["level"] == "DEBUG");
        (debugged(Part::Gateway) && debugged(Part::Files)).then_some(())
    });
    for line in of_trace(Part::Files) {
        assert_eq!(line["span_id"].as_str().unwrap().len(), 16, "{line}");
    }

    // The trace is the caller's, and the spans of each service are below those of the gateway.
    let spans = eventually_blocking("the trace", || {
        let spans = collector.of_trace(TRACE);
        let below = |program: &str, parent: &str| {
            spans
                .iter()
                .find(|span| span.program == program && span.parent == parent)
                .map(|span| span.id.clone())
        };
        let gateway = below("gateway", CALLER)?;
        let files = spans
            .iter()
            .filter(|span| span.program == "gateway")
            .find_map(|span| below("files-svc", &span.id))?;
        let resolved = spans.iter().any(|span| span.program == "instance-svc");
        let database = below("files-svc", &files).is_some();
        (!gateway.is_empty() && resolved && database).then(|| spans.clone())
    });
    assert!(
        spans.iter().all(|span| !span.name.contains("alice")),
        "{spans:?}"
    );

    let files = metrics(&cluster, Part::Files).await;
    let labels = [
        r#"service="hamlet.files.v1.FilesService""#,
        r#"method="ListChildren""#,
        r#"code="OK""#,
    ];
    for part in [Part::Gateway, Part::Files] {
        let shown = metrics(&cluster, part).await;
        assert!(counted(&shown, "hamlet_calls_total", &labels), "{shown}");
        assert!(
            counted(&shown, "hamlet_call_duration_seconds_count", &labels),
            "{shown}"
        );
    }
    assert!(
        counted(&files, "hamlet_database_calls_total", &[r#"outcome="ok""#]),
        "{files}"
    );
    let instances = metrics(&cluster, Part::Instances).await;
    assert!(
        counted(
            &instances,
            "hamlet_operation_steps_total",
            &[
                r#"kind="create""#,
                r#"step="databases""#,
                r#"outcome="done""#
            ]
        ),
        "{instances}"
    );
    for shown in [files, instances] {
        assert!(!shown.contains("alice"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_cannot_fill_the_log_of_a_service() {
    let mut cluster = Cluster::new()
        .flags(|part| match part {
            Part::Instances => vec!["--log-format=json".to_owned()],
            _ => Vec::new(),
        })
        .start();
    let admin = cluster.address(Part::Gateway, 0);
    let door = Endpoint::from_shared(format!("http://{admin}")).unwrap();
    let instances = InstanceServiceClient::new(door.connect().await.unwrap());
    let credential = std::fs::read_to_string(cluster.path("admin-credential")).unwrap();
    let credential: MetadataValue<_> = format!("Bearer {}", credential.trim()).parse().unwrap();
    cluster.stop(Part::Database, 0, "KILL");
    let mut failed = 0;
    for _ in 0..3 {
        let asked = (0..40).map(|_| {
            let mut request = Request::new(CountInstancesRequest::default());
            let headers = request.metadata_mut();
            headers.insert("authorization", credential.clone());
            let mut instances = instances.clone();
            async move { instances.count_instances(request).await }
        });
        for answer in futures::future::join_all(asked).await {
            assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
            failed += 1;
        }
    }
    cluster.stop(Part::Instances, 0, "TERM");
    let lines = lines(&cluster, Part::Instances);
    let written = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "a call failed")
        .count();
    // The gateway's own questions fail, too.
    let left_out: u64 = lines
        .iter()
        .filter(|line| line["fields"]["target_of_lines"] == "service_kit::status")
        .map(|line| line["fields"]["unseen"].as_u64().unwrap())
        .sum();
    let left_out = usize::try_from(left_out).unwrap();
    assert!(written >= 30, "{written} of {failed}");
    assert!(
        left_out > 0 && written + left_out >= failed,
        "{written} and {left_out} of {failed}"
    );
}

#[test]
fn an_invalid_collector_and_a_used_port_are_reported() {
    let cluster = Cluster::new();
    let taken = std::net::TcpListener::bind(cluster.metrics(Part::Files, 0)).unwrap();
    let taken_at = taken.local_addr().unwrap();
    let started = |flag: &str| {
        let started = std::process::Command::new(hamlet_tests::programs::program("files-svc"))
            .arg("--cluster-key-file")
            .arg(cluster.path("cluster-key"))
            .arg("--contents")
            .arg(cluster.path("contents"))
            .arg(flag)
            .output()
            .unwrap();
        assert_eq!(started.status.code(), Some(1));
        String::from_utf8(started.stderr).unwrap()
    };
    for wrong in ["collector:4317", "https://collector:4317"] {
        let told = started(&format!("--otlp-endpoint={wrong}"));
        assert!(told.starts_with("error: --otlp-endpoint: "), "{told}");
    }
    let told = started(&format!("--metrics-listen={taken_at}"));
    assert!(
        told.starts_with(&format!(
            "error: --metrics-listen: cannot listen on {taken_at}"
        )),
        "{told}"
    );
}
