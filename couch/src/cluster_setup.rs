//! Setting a server up, alone or as one node of a cluster: `/_cluster_setup` and `/_membership`, as CouchDB's
//! manual has them under "Cluster Set Up" and "API Reference: Server".

use reqwest::{Method, StatusCode};
use secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Call, Result};
use crate::names::encode_segment;
use crate::server::Couch;
use crate::transport::Outgoing;

/// The nodes of a cluster as one of them sees it. A node is called `couchdb@HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// The nodes that it is connected to, itself among them.
    pub all_nodes: Vec<String>,
    /// The nodes that are meant to be in the cluster.
    pub cluster_nodes: Vec<String>,
}

impl Membership {
    /// Whether `node` belongs to the cluster and is connected.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        self.belongs(node) && self.all_nodes.iter().any(|it| it == node)
    }

    /// Whether `node` belongs to the cluster, connected or not.
    #[must_use]
    pub fn belongs(&self, node: &str) -> bool {
        self.cluster_nodes.iter().any(|it| it == node)
    }
}

/// A node that is to join a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// The host in its name, at which the others reach it.
    pub host: &'a str,
    /// The port of its HTTP API.
    pub port: u16,
    /// Its administrator.
    pub user: &'a str,
    /// The administrator's password.
    pub password: &'a Secret,
}

impl Couch {
    /// Whether the server has been set up: its system databases are there.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn is_set_up(&self) -> Result<bool> {
        #[derive(Deserialize)]
        struct State {
            state: String,
        }
        let call = Call::server("ask how far it is set up");
        let answer = Outgoing::new(&call, Method::GET, "_cluster_setup");
        let State { state } = self
            .transport
            .repeatable(&answer)
            .await?
            .success(&call)?
            .json(&call)?;
        Ok(matches!(
            state.as_str(),
            "single_node_enabled" | "cluster_finished"
        ))
    }

    /// Sets the server up as a single node. Done already is done.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn set_up_single_node(&self) -> Result<()> {
        let call = Call::server("set up a single node");
        // Where it listens is for its own configuration to say; the call demands the member.
        let body = json!({ "action": "enable_single_node", "bind_address": "0.0.0.0" });
        self.set_up(&call, &body).await
    }

    /// Makes `newcomer` a node of the cluster of this server. Both have to share Erlang's cookie.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn add_node(&self, newcomer: Newcomer<'_>) -> Result<()> {
        let call = Call::server("add a node");
        let body = json!({
            "action": "add_node",
            "host": newcomer.host,
            "port": newcomer.port,
            "username": newcomer.user,
            "password": newcomer.password.expose(),
        });
        self.set_up(&call, &body).await
    }

    /// Makes the system databases of the cluster, when all its nodes have been added. Done already is done.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn finish_cluster(&self) -> Result<()> {
        let call = Call::server("finish the cluster");
        self.set_up(&call, &json!({ "action": "finish_cluster" }))
            .await
    }

    async fn set_up(&self, call: &Call, body: &Value) -> Result<()> {
        let outgoing = Outgoing::new(call, Method::POST, "_cluster_setup").json(body);
        let answer = self.transport.repeatable(&outgoing).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            // A repeat, or somebody else who does the same, was faster.
            StatusCode::BAD_REQUEST if answer.complaint().1.contains("already finished") => Ok(()),
            StatusCode::CONFLICT => Ok(()),
            _ => Err(answer.refusal(call)),
        }
    }

    /// Gives the administrator `user` of this node another password. Every node has its own list.
    ///
    /// The node keeps a hash, which it makes a moment later: until then it knows neither password.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn set_admin_password(&self, user: &str, password: &Secret) -> Result<()> {
        let call = Call::server("change a password");
        let path = format!("_node/_local/_config/admins/{}", encode_segment(user));
        let outgoing = Outgoing::new(&call, Method::PUT, path).json(&json!(password.expose()));
        self.transport.write(&outgoing).await?.success(&call)?;
        Ok(())
    }

    /// The cluster as this server sees it.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn membership(&self) -> Result<Membership> {
        let call = Call::server("list the nodes");
        self.transport
            .repeatable(&Outgoing::new(&call, Method::GET, "_membership"))
            .await?
            .success(&call)?
            .json(&call)
    }
}
