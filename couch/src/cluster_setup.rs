//! Setting up a server as a single node or as a node of a cluster, with `/_cluster_setup` and `/_membership`.
//! CouchDB's manual documents them under "Cluster Set Up" and "API Reference: Server".

use std::time::Duration;

use futures::future;
use reqwest::{Method, StatusCode};
use secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Call, Error, Result};
use crate::names::encode_segment;
use crate::server::Couch;
use crate::transport::Request;

/// How soon a node that works answers another one. One that has not answered by then is taken for one that hangs.
const NODE_ANSWERS: Duration = Duration::from_secs(3);

/// The nodes of a cluster, as one of them sees it. The name of a node is `couchdb@HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// The nodes that this node is connected to, including itself.
    pub all_nodes: Vec<String>,
    /// The nodes that belong to the cluster.
    pub cluster_nodes: Vec<String>,
}

impl Membership {
    /// Whether `node` belongs to the cluster and is connected.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.belongs(node) && self.all_nodes.iter().any(|it| it == node)
    }

    /// Whether every node that belongs to the cluster is connected. One that hangs is for about a minute.
    fn is_connected(&self) -> bool {
        self.cluster_nodes.iter().all(|node| self.has(node))
    }

    /// Whether `node` belongs to the cluster, connected or not.
    #[must_use]
    pub fn belongs(&self, node: &str) -> bool {
        self.cluster_nodes.iter().any(|it| it == node)
    }
}

/// A node that is to join a cluster.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    /// The host part of its name, under which the other nodes reach it.
    pub host: &'a str,
    /// The port of its HTTP API.
    pub port: u16,
    /// The name of its administrator.
    pub user: &'a str,
    /// The administrator's password.
    pub password: &'a Secret,
}

impl Couch {
    /// Whether the server has been set up, so that its system databases exist.
    pub async fn is_set_up(&self) -> Result<bool> {
        #[derive(Deserialize)]
        struct State {
            state: String,
        }
        let call = Call::server("ask how far it is set up");
        let request = Request::new(&call, Method::GET, "_cluster_setup");
        let State { state } = self
            .transport
            .send_idempotent(&request)
            .await?
            .success(&call)?
            .json(&call)?;
        Ok(matches!(
            state.as_str(),
            "single_node_enabled" | "cluster_finished"
        ))
    }

    /// Sets the server up as a single node. Idempotent.
    pub async fn set_up_single_node(&self) -> Result<()> {
        let call = Call::server("set up a single node");
        // The call requires `bind_address`, but the server listens where its configuration says.
        let body = json!({ "action": "enable_single_node", "bind_address": "0.0.0.0" });
        self.set_up(&call, &body).await
    }

    /// Adds `node` to the cluster of this server. Both need the same Erlang cookie.
    pub async fn add_node(&self, node: NewNode<'_>) -> Result<()> {
        let call = Call::server("add a node");
        let body = json!({
            "action": "add_node",
            "host": node.host,
            "port": node.port,
            "username": node.user,
            "password": node.password.expose(),
        });
        self.set_up(&call, &body).await
    }

    /// Creates the system databases of the cluster after all nodes have been added. Idempotent.
    pub async fn finish_cluster(&self) -> Result<()> {
        let call = Call::server("finish the cluster");
        self.set_up(&call, &json!({ "action": "finish_cluster" }))
            .await
    }

    async fn set_up(&self, call: &Call, body: &Value) -> Result<()> {
        let request = Request::new(call, Method::POST, "_cluster_setup").json(body);
        let response = self.transport.send_idempotent(&request).await?;
        match response.status {
            status if status.is_success() => Ok(()),
            // The cluster is already finished, by an earlier attempt or by another client.
            StatusCode::BAD_REQUEST
                if response.error_and_reason().1.contains("already finished") =>
            {
                Ok(())
            }
            StatusCode::CONFLICT => Ok(()),
            _ => Err(response.to_error(call)),
        }
    }

    /// Changes the password of the administrator `user` on this node. Each node has its own administrators.
    ///
    /// The node computes the hash of the password a moment later and accepts neither password until then.
    pub async fn set_admin_password(&self, user: &str, password: &Secret) -> Result<()> {
        let call = Call::server("change a password");
        let path = format!("_node/_local/_config/admins/{}", encode_segment(user));
        let request = Request::new(&call, Method::PUT, path).json(&json!(password.expose()));
        self.transport.send_once(&request).await?.success(&call)?;
        Ok(())
    }

    /// The nodes of the cluster, as this server sees it.
    pub async fn membership(&self) -> Result<Membership> {
        let call = Call::server("list the nodes");
        self.transport
            .send_idempotent(&Request::new(&call, Method::GET, "_membership"))
            .await?
            .success(&call)?
            .json(&call)
    }

    /// Whether every node of the cluster is connected and works.
    ///
    /// A node that hangs stays connected until Erlang has missed it for `net_ticktime`, a minute by default. When it goes on,
    /// it carries out what it was asked before. So each node is asked for something, through the others.
    pub async fn is_whole(&self) -> Result<bool> {
        let membership = self.membership().await?;
        if !membership.is_connected() {
            return Ok(false);
        }
        if membership.cluster_nodes.len() < 2 {
            return Ok(true);
        }
        let nodes = membership.cluster_nodes.iter();
        let answers = future::try_join_all(nodes.map(|node| self.node_works(node))).await?;
        Ok(answers.into_iter().all(|works| works))
    }

    /// Whether a node answers another one.
    async fn node_works(&self, node: &str) -> Result<bool> {
        let call = Call::server("ask a node");
        let path = format!(
            "_node/{}/_stats/couchdb/open_databases",
            encode_segment(node)
        );
        let request = Request::new(&call, Method::GET, path);
        let within = NODE_ANSWERS.min(self.transport.call_timeout);
        match self.transport.send_within(&request, within).await {
            Ok(response) => Ok(response.status.is_success()),
            Err(Error::Timeout { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
