//! Sets CouchDB up as a single node or a cluster, following the chapter "Setup" of its manual.

use std::{path::PathBuf, str::FromStr, time::Duration};

use couch::{Couch, CouchConfig, NewNode};
use secret::{Keyring, Rule, Secret};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::secrets;

/// The timeout of one request. Creating the system databases of a cluster is slow.
const CALL: Duration = Duration::from_secs(30);

/// The interval at which nodes are asked whether they see each other.
const EVERY: Duration = Duration::from_millis(500);

/// After this time, every service has read a changed file. They check every two seconds.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(5);

/// Which CouchDB, and how to reach it.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The root URL of each node, without credentials: http://HOST:5984.
    #[arg(required = true, value_name = "URL")]
    nodes: Vec<Node>,
    /// The name of CouchDB's administrator.
    #[arg(
        long,
        env = "HAMLET_COUCHDB_USER",
        default_value = "admin",
        value_name = "NAME"
    )]
    couchdb_user: String,
    /// A file with the password of CouchDB's administrator.
    #[arg(long, env = "HAMLET_COUCHDB_PASSWORD_FILE", value_name = "FILE")]
    couchdb_password_file: PathBuf,
    /// How long to wait for the nodes, as in 30s or 3m.
    #[arg(
        long,
        env = "HAMLET_SETUP_PATIENCE",
        default_value = "3m",
        value_name = "TIME",
        value_parser = process_kit::duration::or_seconds
    )]
    patience: Duration,
}

/// Why the setup failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The password cannot be read.
    #[error("couchdb-password-file: {} cannot be read", path.display())]
    Password {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The new password cannot be stored.
    #[error(transparent)]
    Secret(#[from] secrets::Error),
    /// A request to a node failed.
    #[error("{node}")]
    Node { node: String, source: couch::Error },
    /// The nodes do not see each other.
    #[error(
        "{node} does not see {missing} after {patience} s: they need the same Erlang cookie, and names that the other can resolve"
    )]
    Apart {
        node: String,
        missing: String,
        patience: u64,
    },
}

/// The address of a node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    url: Url,
    host: String,
    port: u16,
}

impl Node {
    /// The Erlang name of the node.
    fn name(&self) -> String {
        format!("couchdb@{}", self.host)
    }

    fn connect(&self, user: &str, password: &Keyring) -> Result<Couch, Error> {
        let mut config = CouchConfig::new(self.url.as_str());
        config.user = Some(user.to_owned());
        config.password = Some(password.clone());
        config.call_timeout = CALL;
        Couch::connect(&config).map_err(at(self))
    }
}

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| Err(format!("{why}; it should look like http://HOST:5984"));
        let Ok(url) = Url::parse(text) else {
            return wrong("it is no URL");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("it holds credentials, which others could see");
        }
        match (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        ) {
            (Some(host), Some(port)) if url.path() == "/" && url.query().is_none() => {
                Ok(Self { url, host, port })
            }
            _ => wrong("it has to name a host and nothing behind the port"),
        }
    }
}

/// Sets the nodes up and waits until they are ready. Returns one line for each thing done.
///
/// # Errors
/// When a request to a node fails, or the nodes do not see each other in time.
pub(crate) async fn set_up(settings: &Settings) -> Result<Vec<String>, Error> {
    let password = password(settings)?;
    let patience = settings.patience;
    let mut nodes = Vec::new();
    for node in &settings.nodes {
        let couch = node.connect(&settings.couchdb_user, &password)?;
        couch.wait_until_up(patience).await.map_err(at(node))?;
        nodes.push((node, couch));
    }
    match nodes.as_slice() {
        [] => Ok(Vec::new()),
        [(node, couch)] => alone(node, couch).await,
        [(first, couch), others @ ..] => {
            let mut done = Vec::new();
            for (node, _) in others {
                if couch
                    .membership()
                    .await
                    .map_err(at(first))?
                    .belongs(&node.name())
                {
                    continue;
                }
                let new_node = NewNode {
                    host: &node.host,
                    port: node.port,
                    user: &settings.couchdb_user,
                    password: &password.current(),
                };
                couch.add_node(new_node).await.map_err(at(node))?;
                done.push(format!("{}: added", node.url));
            }
            find_each_other(&nodes, patience).await?;
            if couch.is_set_up().await.map_err(at(first))? {
                done.push(format!("{} nodes: a cluster already", nodes.len()));
            } else {
                couch.finish_cluster().await.map_err(at(first))?;
                done.push(format!("{} nodes: a cluster now", nodes.len()));
            }
            Ok(done)
        }
    }
}

/// The passwords of the administrator: the current one, and others that CouchDB may still have.
fn password(settings: &Settings) -> Result<Keyring, Error> {
    let path = &settings.couchdb_password_file;
    Keyring::open(path, Duration::ZERO, Rule::Line).map_err(|source| Error::Password {
        path: path.clone(),
        source,
    })
}

/// Changes the administrator's password on all nodes while services keep running. Returns one line for each thing done.
///
/// The order is that of docs/running.md: services know both passwords before CouchDB accepts only the new one. After an
/// interruption the file contains both, and the next run continues with them.
///
/// # Errors
/// When the file cannot be written, or a node cannot be reached or refuses the password.
pub(crate) async fn renew_password(settings: &Settings) -> Result<Vec<String>, Error> {
    let path = &settings.couchdb_password_file;
    let both = password(settings)?.all();
    if let [only] = both.as_slice() {
        let new = Secret::random().map_err(secrets::Error::Randomness)?;
        secrets::replace(path, &[&new, only])?;
    }
    let both = password(settings)?;
    let new = both.current();
    sleep(KNOWN_EVERYWHERE).await;
    let mut done = Vec::new();
    for node in &settings.nodes {
        let changed = node.connect(&settings.couchdb_user, &Keyring::fixed(new.clone()))?;
        // Otherwise the node has the new password already: from an earlier run, or because it reads the file itself.
        if changed.up().await.is_err() {
            let couch = node.connect(&settings.couchdb_user, &both)?;
            couch
                .set_admin_password(&settings.couchdb_user, &new)
                .await
                .map_err(at(node))?;
            takes(node, &changed, settings.patience).await?;
        }
        done.push(format!("{}: takes the new password", node.url));
    }
    secrets::replace(path, &[&new])?;
    done.push(format!("{}: holds the new password alone", path.display()));
    Ok(done)
}

/// Waits until a node has hashed a new password and accepts it.
async fn takes(node: &Node, couch: &Couch, patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    while let Err(error) = couch.up().await {
        if Instant::now() + EVERY > deadline {
            return Err(at(node)(error));
        }
        sleep(EVERY).await;
    }
    Ok(())
}

async fn alone(node: &Node, couch: &Couch) -> Result<Vec<String>, Error> {
    if couch.is_set_up().await.map_err(at(node))? {
        return Ok(vec![format!("{}: set up already", node.url)]);
    }
    couch.set_up_single_node().await.map_err(at(node))?;
    Ok(vec![format!("{}: set up as a single node", node.url)])
}

/// Waits until every node sees all others.
async fn find_each_other(nodes: &[(&Node, Couch)], patience: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + patience;
    for (node, couch) in nodes {
        loop {
            let seen = couch.membership().await.map_err(at(node))?;
            let Some((missing, _)) = nodes.iter().find(|(other, _)| !seen.has(&other.name()))
            else {
                break;
            };
            if Instant::now() + EVERY > deadline {
                return Err(Error::Apart {
                    node: node.name(),
                    missing: missing.name(),
                    patience: patience.as_secs(),
                });
            }
            sleep(EVERY).await;
        }
    }
    Ok(())
}

fn at(node: &Node) -> impl FnOnce(couch::Error) -> Error {
    let node = node.url.to_string();
    |source| Error::Node { node, source }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Node;

    #[test]
    fn a_node_is_named_after_its_host() {
        let node: Node = "http://couchdb-2.example.org:5984".parse().unwrap();
        assert_eq!(node.name(), "couchdb@couchdb-2.example.org");
        assert_eq!(node.port, 5984);
    }

    #[test]
    fn invalid_node_urls_are_refused() {
        for wrong in [
            "couchdb:5984",
            "http://",
            "http://u:p@h:1",
            "http://h/x",
            "h",
        ] {
            assert!(wrong.parse::<Node>().is_err(), "{wrong}");
        }
    }
}
