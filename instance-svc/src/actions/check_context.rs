//! Looking at what a context needs: its backend, its admin backend, its file store, its databases.

use std::time::{Duration, Instant};

use reqwest::{Client, Response, header::HOST, redirect};
use service_kit::{
    backend::BackendAddress,
    contexts::{Context, Contexts, DEFAULT},
};

use crate::{
    actions::find,
    domain::{instance::InstanceDocument, name::Name, spec::InvalidField},
    error::Error,
    operations::backend::{Backends, Said},
    store::Store,
};

/// How long a backend may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How many records are read at once.
const PAGE: usize = 500;

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Fine,
    /// It can be meant so.
    Notice,
    /// It is not.
    Problem,
}

/// What was found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was found and, for a problem, what helps.
    pub detail: String,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// How many instances the context has.
    pub instances: usize,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

impl Finding {
    fn new(subject: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            verdict,
            detail: detail.into(),
        }
    }
}

/// Checks the context `name`. Its backend is asked about the instance with this domain; without one, about the oldest of
/// the context.
///
/// # Errors
/// When there is no such context, the instance is not of it, or the database fails.
pub(crate) async fn check_context(
    store: &Store,
    contexts: &Contexts,
    backends: &Backends,
    name: &str,
    domain: &str,
) -> Result<Checked, Error> {
    if !contexts.knows(name) {
        return Err(Error::NoSuchContext(name.to_owned()));
    }
    let name = if name.is_empty() { DEFAULT } else { name };
    let context = contexts.get(name);
    let (instances, oldest) = instances_of(store, contexts, name).await?;
    let instance = if domain.is_empty() {
        match oldest {
            Some(id) => store.instance(&id).await?.map(|found| found.body),
            None => None,
        }
    } else {
        Some(named(store, contexts, name, domain).await?)
    };
    let mut findings = Vec::new();
    backend(&context, instance.as_ref(), &mut findings).await?;
    admin_backend(backends, name, &context, instance.as_ref(), &mut findings).await;
    storage(&context, instance.as_ref(), &mut findings).await;
    if let Some(instance) = &instance {
        designs(store, instance, &mut findings).await?;
    }
    Ok(Checked {
        instances,
        findings,
    })
}

/// How many instances a context has, and the id of its oldest one.
async fn instances_of(
    store: &Store,
    contexts: &Contexts,
    name: &str,
) -> Result<(usize, Option<String>), Error> {
    let (mut count, mut oldest, mut after) = (0, None, None::<String>);
    loop {
        let page = store.records_after(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for record in page {
            if is_of(contexts, name, &record.body.context) {
                count += 1;
                oldest.get_or_insert_with(|| record.id.clone());
            }
            after = Some(record.id);
        }
        if is_last {
            return Ok((count, oldest));
        }
    }
}

/// Whether an instance that names `its` context has the settings of `name`: an unknown context is the default one.
fn is_of(contexts: &Contexts, name: &str, its: &str) -> bool {
    if its.is_empty() || !contexts.knows(its) {
        name == DEFAULT
    } else {
        name == its
    }
}

async fn named(
    store: &Store,
    contexts: &Contexts,
    context: &str,
    domain: &str,
) -> Result<InstanceDocument, Error> {
    let wrong = |wrong: String| {
        Error::Field(InvalidField {
            field: "domain".to_owned(),
            wrong,
        })
    };
    let name: Name = domain
        .parse()
        .map_err(|_| wrong("is no domain; it looks like alice.example".to_owned()))?;
    let found = find::by_name(store, &name).await?.document.body;
    if is_of(contexts, context, &found.context) {
        return Ok(found);
    }
    Err(wrong(format!(
        "is an instance of another context, {:?}",
        if found.context.is_empty() {
            DEFAULT
        } else {
            &found.context
        }
    )))
}

async fn backend(
    context: &Context,
    instance: Option<&InstanceDocument>,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    if context.backend.is_empty() {
        findings.push(Finding::new(
            "backend",
            Verdict::Notice,
            "there is none: Hamlet serves the instances itself",
        ));
        return Ok(());
    }
    let client = Client::builder()
        .timeout(ANSWER_WITHIN)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let told = format!("it cannot be asked: {error}");
            findings.push(Finding::new("backend", Verdict::Problem, told));
            return Ok(());
        }
    };
    for address in &context.backend {
        let subject = format!("backend {address}");
        findings.push(match answer(&client, address, None, "/status").await {
            Ok((response, took)) => {
                let told = format!(
                    "answers {} after {} ms",
                    response.status(),
                    took.as_millis()
                );
                if response.status().is_server_error() {
                    let told = format!("{told}; it says that it is not well");
                    Finding::new(subject, Verdict::Problem, told)
                } else {
                    Finding::new(subject, Verdict::Fine, told)
                }
            }
            Err(why) => {
                let told = format!("does not answer: {why}; start it, or correct its address");
                findings.push(Finding::new(subject, Verdict::Problem, told));
                continue;
            }
        });
        let Some(instance) = instance else { continue };
        let subject = format!("{} at {address}", instance.domain);
        let host = instance.domain.as_str();
        findings.push(match answer(&client, address, Some(host), "/").await {
            Ok((response, _)) if response.status() == reqwest::StatusCode::NOT_FOUND => {
                let told = "it knows no such instance; it has to use the same database, and tell instances apart by Host";
                Finding::new(subject, Verdict::Problem, told)
            }
            Ok((response, took)) => {
                let told = format!("answers {} after {} ms", response.status(), took.as_millis());
                let verdict = if response.status().is_server_error() {
                    Verdict::Problem
                } else {
                    Verdict::Fine
                };
                Finding::new(subject, verdict, told)
            }
            Err(why) => Finding::new(subject, Verdict::Problem, format!("no answer: {why}")),
        });
    }
    if instance.is_none() {
        let told = "the context has no instance about which the backend could be asked";
        findings.push(Finding::new("instances", Verdict::Notice, told));
    }
    Ok(())
}

async fn answer(
    client: &Client,
    address: &BackendAddress,
    host: Option<&str>,
    path: &str,
) -> Result<(Response, Duration), String> {
    let begun = Instant::now();
    let mut request = client.get(format!("{address}{path}"));
    if let Some(host) = host {
        request = request.header(HOST, ascii(host));
    }
    match request.send().await {
        Ok(response) => Ok((response, begun.elapsed())),
        Err(error) => Err(chain(&error.without_url())),
    }
}

/// A domain as it stands in `Host`.
fn ascii(domain: &str) -> String {
    match domain.parse::<Name>() {
        Ok(name) => match name.port() {
            Some(port) => format!("{}:{port}", name.host()),
            None => name.host().to_owned(),
        },
        Err(_) => domain.to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

async fn admin_backend(
    backends: &Backends,
    name: &str,
    context: &Context,
    instance: Option<&InstanceDocument>,
    findings: &mut Vec<Finding>,
) {
    let Some(backend) = backends.of(name) else {
        let verdict = if context.backend.is_empty() {
            return;
        } else {
            Verdict::Notice
        };
        let told = "there is none: accounts at other services are left when an instance is destroyed, and routes that \
                    Hamlet does not have are answered with 501";
        findings.push(Finding::new("admin_backend", verdict, told));
        return;
    };
    let subject = format!("admin_backend {}", backend.address());
    let domain = instance.map(|instance| instance.domain.as_str());
    let (verdict, told) = match backend.say_of(domain).await {
        Said::Knows(told) => (Verdict::Fine, told),
        Said::Wrong(why) => (Verdict::Problem, why),
    };
    findings.push(Finding::new(subject, verdict, told));
}

async fn storage(
    context: &Context,
    instance: Option<&InstanceDocument>,
    findings: &mut Vec<Finding>,
) {
    let Some(folder) = &context.storage else {
        if !context.backend.is_empty() {
            let told = "there is none; set it if the backend keeps files in a folder of a disk, or instances that Hamlet \
                        makes have no folder there";
            findings.push(Finding::new("storage", Verdict::Notice, told));
        }
        return;
    };
    let subject = format!("storage {}", folder.display());
    let is_there = async |path: &std::path::Path| {
        tokio::fs::metadata(path)
            .await
            .is_ok_and(|found| found.is_dir())
    };
    let (verdict, told) = if !is_there(folder).await {
        (
            Verdict::Notice,
            "is no folder of the machine of the instance service; it has to be one where the files service runs"
                .to_owned(),
        )
    } else {
        match instance {
            Some(instance) if !is_there(&folder.join(&instance.domain)).await => (
                Verdict::Problem,
                format!("has no folder for {}", instance.domain),
            ),
            Some(instance) => (
                Verdict::Fine,
                format!("has a folder for {}", instance.domain),
            ),
            None => (Verdict::Fine, "is there".to_owned()),
        }
    };
    findings.push(Finding::new(subject, verdict, told));
}

async fn designs(
    store: &Store,
    instance: &InstanceDocument,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let missing = store.missing_designs(instance.location()).await?;
    let subject = format!("design documents of {}", instance.domain);
    findings.push(if missing.is_empty() {
        Finding::new(subject, Verdict::Fine, "all are there")
    } else {
        let told = format!("missing: {}", missing.join("; "));
        Finding::new(subject, Verdict::Notice, told)
    });
    Ok(())
}
