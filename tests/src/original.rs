//! A stand-in for the original's server: the requests that it sends to CouchDB, in their order and side by side as
//! it sends them, as they were recorded. It makes no claims, and looks before it writes.

use std::collections::HashSet;

use futures::{StreamExt as _, stream};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::database::{client, encode};

/// The requests of its start and of its commands.
const RECORDED: &str = include_str!("../data/recorded-couchdb-requests.json");

const INSTANCES: &str = "global/instances";
const NAMES: &str = "_design/domain-and-aliases";

/// What it answers to its own clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no instance of this name.
    Missing,
    /// The name is taken.
    Taken,
    /// A destruction was requested before.
    Deleting,
    /// What CouchDB answered.
    Database(StatusCode),
}

/// A stand-in. Clones are the same server.
#[derive(Clone, Debug)]
pub struct Original {
    client: Client,
    url: String,
}

/// A recorded request.
#[derive(Clone, Debug)]
struct Recorded {
    method: Method,
    /// The database below the prefix.
    database: String,
    /// The rest of the path and the query.
    rest: String,
    body: Option<Value>,
}

/// An instance, as it was found by a name.
struct Found {
    id: String,
    rev: String,
    document: Map<String, Value>,
}

impl Original {
    /// A server on this CouchDB; the URL has user and password. It sends nothing before its start.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            client: client(),
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// What it does at its start: its databases, indexes and view. May be repeated.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn start(&self) {
        for database in [
            INSTANCES,
            "secrets/io-cozy-account_types",
            "global/io-cozy-exports",
        ] {
            self.send(Method::PUT, &format!("{}/", encode(database)), None)
                .await;
        }
        for (database, name, fields) in [
            ("secrets/io-cozy-account_types", "by-slug", json!(["slug"])),
            (INSTANCES, "by-oidcid", json!(["oidc_id"])),
            (INSTANCES, "by-orgdomain", json!(["org_domain"])),
            (INSTANCES, "by-olddomain", json!(["old_domain"])),
            (
                "global/io-cozy-exports",
                "by-domain",
                json!(["domain", "created_at"]),
            ),
        ] {
            let body = json!({"ddoc": name, "index": {"fields": fields}});
            self.send(
                Method::POST,
                &format!("{}/_index", encode(database)),
                Some(body),
            )
            .await;
        }
        let map = "function (it) { [it.domain].concat(it.domain_aliases || []).forEach(function (name) { emit(name); }); }";
        let mut view = json!({
            "_id": NAMES, "language": "javascript", "views": {"domain-and-aliases": {"map": map}},
        });
        let path = format!("{}/{NAMES}", encode(INSTANCES));
        let (status, _) = self.send(Method::PUT, &path, Some(view.clone())).await;
        if status != StatusCode::CONFLICT {
            return;
        }
        let (_, found) = self.send(Method::GET, &path, None).await;
        if found["views"] != view["views"] {
            view["_rev"] = found["_rev"].clone();
            self.send(Method::PUT, &path, Some(view)).await;
        }
    }

    /// `instances add`.
    ///
    /// # Errors
    /// When a name is taken, or CouchDB refuses something. What was made until then stays, as it does there.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn add(&self, domain: &str, aliases: &[&str]) -> Result<(), Refusal> {
        for name in std::iter::once(&domain).chain(aliases) {
            if self.find(name).await?.is_some() {
                return Err(Refusal::Taken);
            }
        }
        let hash: String = Sha256::digest(domain)
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let prefix = format!("cozy{hash}");
        let (databases, definitions) = recorded_creation();
        let made = databases
            .iter()
            .map(|requests| self.make_database(&prefix, requests));
        all(made).await?;
        let defined = definitions
            .iter()
            .map(|request| self.define(&prefix, request));
        all(defined).await?;
        let document = json!({
            "domain": domain, "domain_aliases": aliases, "prefix": prefix, "locale": "fr",
            "password_defined": false, "indexes_version": 38, "register_token": "AAECAwQFBgcICQoLDA0ODw==",
            "session_secret": "c2Vzc2lvbg==", "oauth_secret": "b2F1dGg=", "cli_secret": "Y2xp",
        });
        let instances = format!("{}/", encode(INSTANCES));
        let published = accepted(self.send(Method::POST, &instances, Some(document)).await)?;
        for directory in [
            "io.cozy.files.root-dir",
            "io.cozy.files.trash-dir",
            "administrative",
            "photos",
        ] {
            let path = format!("{}/{directory}", encode(&format!("{prefix}/io-cozy-files")));
            let body = json!({"type": "directory", "name": directory});
            accepted(self.send(Method::PUT, &path, Some(body)).await)?;
        }
        // The document is written once more, whatever comes of it.
        let id = published["id"].as_str().unwrap_or_default();
        let path = format!("{}/{id}", encode(INSTANCES));
        let (status, document) = self.send(Method::GET, &path, None).await;
        if status.is_success() {
            self.send(Method::PUT, &path, Some(document)).await;
        }
        Ok(())
    }

    /// `instances modify`: changes members of the instance document.
    ///
    /// # Errors
    /// When there is no such instance, or CouchDB refuses something other than an outdated revision.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn modify(&self, name: &str, members: &Value) -> Result<(), Refusal> {
        let aliases = members["domain_aliases"].as_array();
        loop {
            let found = self.find(name).await?.ok_or(Refusal::Missing)?;
            for alias in aliases.into_iter().flatten().filter_map(Value::as_str) {
                let holder = self.find(alias).await?;
                if holder.is_some_and(|holder| holder.id != found.id) {
                    return Err(Refusal::Taken);
                }
            }
            let members = members.as_object().into_iter().flatten();
            let members = members.map(|(name, value)| (name.clone(), value.clone()));
            match self.write(found, members.collect()).await {
                Err(Refusal::Database(StatusCode::CONFLICT)) => {}
                written => return written,
            }
        }
    }

    /// `instances destroy`.
    ///
    /// # Errors
    /// When there is no such instance, or CouchDB refuses something. What was removed until then is gone.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn destroy(&self, name: &str) -> Result<(), Refusal> {
        let found = self.find(name).await?.ok_or(Refusal::Missing)?;
        if found.document.get("deleting") == Some(&json!(true)) {
            return Err(Refusal::Deleting);
        }
        let flag = |on: bool| Map::from_iter([("deleting".to_owned(), json!(on))]);
        self.write(found, flag(true)).await?;
        let found = self.find(name).await?.ok_or(Refusal::Missing)?;
        let prefix = found.document["prefix"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let id = found.id.clone();
        // Whether the flag is gone is not looked at.
        let _ = self.write(found, flag(false)).await;
        let range = format!("_all_dbs?start_key=\"{prefix}%2F\"&end_key=\"{prefix}0\"");
        let databases = accepted(self.send(Method::GET, &range, None).await)?;
        for database in databases.as_array().into_iter().flatten() {
            let path = format!("{}/", encode(database.as_str().unwrap_or_default()));
            accepted(self.send(Method::DELETE, &path, None).await)?;
        }
        let path = format!("{}/{id}", encode(INSTANCES));
        for last in [false, true] {
            let document = accepted(self.send(Method::GET, &path, None).await)?;
            let rev = document["_rev"].as_str().unwrap_or_default();
            let deleted = self
                .send(Method::DELETE, &format!("{path}?rev={rev}"), None)
                .await;
            if deleted.0 != StatusCode::CONFLICT || last {
                return accepted(deleted).map(|_| ());
            }
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        }
        Ok(())
    }

    /// Whether it finds an instance by a name.
    ///
    /// # Errors
    /// When CouchDB refuses the look-up.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn knows(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.find(name).await?.is_some())
    }

    /// The first instance that has a name.
    async fn find(&self, name: &str) -> Result<Option<Found>, Refusal> {
        let key = name.replace(':', "%3A");
        let path = format!(
            "{}/{NAMES}/_view/domain-and-aliases?group=false&include_docs=true&key=%22{key}%22&limit=1&reduce=false",
            encode(INSTANCES)
        );
        let answer = accepted(self.send(Method::GET, &path, None).await)?;
        let Some(Value::Object(mut document)) = answer.pointer("/rows/0/doc").cloned() else {
            return Ok(None);
        };
        let mut text = |member: &str| {
            let found = document.remove(member);
            found
                .and_then(|it| it.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        Ok(Some(Found {
            id: text("_id"),
            rev: text("_rev"),
            document,
        }))
    }

    /// Reads the document once more, and writes it with some members changed.
    async fn write(&self, found: Found, members: Map<String, Value>) -> Result<(), Refusal> {
        let path = format!("{}/{}", encode(INSTANCES), found.id);
        accepted(self.send(Method::GET, &path, None).await)?;
        let mut document = found.document;
        document.extend(members);
        document.insert("_rev".to_owned(), json!(found.rev));
        let written = self.send(Method::PUT, &path, Some(document.into())).await;
        accepted(written).map(|_| ())
    }

    /// One database with its indexes, one after the other.
    async fn make_database(&self, prefix: &str, requests: &[Recorded]) -> Result<(), Refusal> {
        for request in requests {
            accepted(self.recorded(prefix, request).await)?;
        }
        Ok(())
    }

    /// One index or view; its database is made when it is missing.
    async fn define(&self, prefix: &str, request: &Recorded) -> Result<(), Refusal> {
        let sent = self.recorded(prefix, request).await;
        if sent.0 == StatusCode::NOT_FOUND {
            let path = format!("{}/", encode(&format!("{prefix}/{}", request.database)));
            let (status, _) = self.send(Method::PUT, &path, None).await;
            if !status.is_success() && status != StatusCode::PRECONDITION_FAILED {
                return Err(Refusal::Database(status));
            }
            return accepted(self.recorded(prefix, request).await).map(|_| ());
        }
        accepted(sent).map(|_| ())
    }

    async fn recorded(&self, prefix: &str, request: &Recorded) -> (StatusCode, Value) {
        let database = encode(&format!("{prefix}/{}", request.database));
        let path = format!("{database}/{}", request.rest);
        self.send(request.method.clone(), &path, request.body.clone())
            .await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the database answers");
        let status = answer.status();
        (status, answer.json().await.expect("the answer is JSON"))
    }
}

fn accepted((status, answer): (StatusCode, Value)) -> Result<Value, Refusal> {
    if status.is_success() {
        Ok(answer)
    } else {
        Err(Refusal::Database(status))
    }
}

/// Sends all side by side, waits for all, and returns the first failure.
async fn all(
    requests: impl Iterator<Item = impl Future<Output = Result<(), Refusal>>>,
) -> Result<(), Refusal> {
    let ended: Vec<_> = stream::iter(requests).buffer_unordered(64).collect().await;
    ended.into_iter().collect()
}

/// The recorded requests of a creation: those of each database, which is made with its indexes; then each index once
/// more and each view.
fn recorded_creation() -> (Vec<Vec<Recorded>>, Vec<Recorded>) {
    let all: Value = serde_json::from_str(RECORDED).expect("the recording is JSON");
    let sessions = all["sessions"].as_array().expect("sessions");
    let creation = sessions
        .iter()
        .find(|session| {
            let command = session["command"].as_str().unwrap_or_default();
            command.starts_with("instances add")
        })
        .expect("a creation is recorded");
    let mut databases: Vec<Vec<Recorded>> = Vec::new();
    let mut definitions = Vec::new();
    let mut defined = HashSet::new();
    for request in creation["requests"].as_array().expect("requests") {
        let (Some(request), status) = (Recorded::of(request), &request["status"]) else {
            continue;
        };
        let makes_database = request.rest.starts_with('?');
        if makes_database {
            databases.push(vec![request]);
            continue;
        }
        let is_definition = request.rest == "_index" || request.rest.starts_with("_design");
        let is_first_document = matches!(
            request.database.as_str(),
            "io-cozy-settings" | "io-cozy-contacts"
        );
        let is_wanted = is_definition || is_first_document && request.body.is_some();
        if !is_wanted || *status == json!(404) {
            continue;
        }
        let key = format!("{} {:?}", request.database, request.body);
        let own = databases
            .iter_mut()
            .find(|requests| requests.iter().any(|it| it.database == request.database));
        match own {
            Some(requests) if !request.rest.starts_with("_design") && defined.insert(key) => {
                requests.push(request);
            }
            _ => definitions.push(request),
        }
    }
    (databases, definitions)
}

impl Recorded {
    /// The request to a database of the instance; `None` for another one.
    fn of(request: &Value) -> Option<Self> {
        let path = request["path"].as_str()?.strip_prefix("/<prefix>%2F")?;
        let (database, rest) = path.split_once('/')?;
        let body = request["body"].as_str();
        let body = body.map(|body| body.replace("<function>", "function (it) { emit(it._id); }"));
        Some(Self {
            method: request["method"].as_str()?.parse().ok()?,
            database: database.to_owned(),
            rest: rest.replace("%2F", "/"),
            body: body.and_then(|body| serde_json::from_str(&body).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::recorded_creation;

    #[test]
    fn the_requests_of_a_creation_are_those_that_were_recorded() {
        let (databases, definitions) = recorded_creation();
        assert_eq!(databases.len(), 16);
        let rest = databases.iter().flatten().filter(|it| it.rest == "_index");
        let indexes = rest.count();
        assert!((20..=22).contains(&indexes), "{indexes}");
        let views = definitions
            .iter()
            .filter(|it| it.rest.starts_with("_design"));
        assert!(views.count() >= 13);
    }
}
