//! Nodes of the database that die, hang and come back.

use std::time::Duration;

use test_kit::{
    cluster::{Cluster, Death, Moment},
    dice::Rng,
    real_nodes::RealNodes,
};

use crate::support::NodesOf;

const NODES: usize = 3;

/// How long a real node may need to get what it missed: it can only be waited for.
const SYNC: Duration = Duration::from_secs(6);

/// The nodes of a modelled cluster. At most one is away at any time, so that a majority is there.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// After how many further acts the node that is away comes back.
    back: Option<u32>,
}

impl Nodes {
    /// Lets a node die or hang, or brings back the one that is away when its time has come.
    pub(crate) async fn stir(&mut self, nodes: NodesOf<'_>, dice: &mut Rng) {
        match nodes {
            NodesOf::Model(cluster) => self.stir_model(cluster, dice).await,
            NodesOf::Real(nodes) => self.stir_real(nodes, dice).await,
        }
    }

    async fn stir_real(&mut self, nodes: &RealNodes, dice: &mut Rng) {
        if nodes.away().is_none() {
            let delay = Duration::from_millis(dice.u64(..800));
            nodes.kill_after(delay, dice.usize(..NODES));
            self.back = Some(dice.u32(3..14));
        } else if self.is_time() {
            nodes.bring_back().await;
        }
    }

    /// Whether the node that is away comes back now.
    fn is_time(&mut self) -> bool {
        let Some(left) = self.back.as_mut() else {
            return false;
        };
        *left -= 1;
        let is_time = *left == 0;
        if is_time {
            self.back = None;
        }
        is_time
    }

    async fn stir_model(&mut self, cluster: &Cluster, dice: &mut Rng) {
        if let Some(away) = (0..NODES).find(|node| !cluster.is_live(*node)) {
            self.back.get_or_insert_with(|| dice.u32(3..14));
            if self.is_time() {
                cluster.clear_deaths();
                cluster.start_node(away).await;
                cluster.resume(away).await;
                if dice.bool() {
                    cluster.release_sync(away);
                }
            }
            return;
        }
        let node = dice.usize(..NODES);
        for other in 0..NODES {
            cluster.release_sync(other);
        }
        if dice.bool() {
            cluster.hold_sync(node);
        }
        cluster.clear_deaths();
        match dice.u64(..8) {
            0 => cluster.kill(node),
            1 => cluster.pause(node),
            // The write that publishes an instance is the one whose return hurts most.
            2..=4 => {
                let death = Death::of_coordinator(node, Moment::AfterCommit);
                cluster.schedule(death.on("global%2Finstances/"));
            }
            drawn => {
                let moment = if dice.u64(..4) > 0 {
                    Moment::AfterCommit
                } else {
                    Moment::BeforeCommit
                };
                let death = if drawn == 5 {
                    Death::of_replica(node, moment)
                } else {
                    Death::of_coordinator(node, moment)
                };
                let documents = *dice
                    .choice(&[
                        "global%2Finstances/",
                        "global%2Finstances/",
                        "global%2Fhamlet-instances/",
                        "global%2Fhamlet-claims/",
                        "global%2Fhamlet-operations/",
                        "cozy",
                        "",
                    ])
                    .unwrap();
                cluster.schedule(death.on(documents).after(dice.u32(..3)));
            }
        }
    }

    /// Brings every node back. No other one goes away.
    pub(crate) async fn calm(nodes: NodesOf<'_>) {
        match nodes {
            NodesOf::Model(cluster) => {
                cluster.clear_deaths();
                for node in 0..NODES {
                    cluster.start_node(node).await;
                    cluster.resume(node).await;
                    cluster.release_sync(node);
                }
            }
            NodesOf::Real(nodes) => nodes.bring_back().await,
        }
    }

    /// Waits until all nodes hold the same. Operations that still run would write meanwhile, on a busy machine without end.
    pub(crate) async fn sync(nodes: NodesOf<'_>) {
        match nodes {
            NodesOf::Model(cluster) => cluster.sync_all().await,
            NodesOf::Real(_) => tokio::time::sleep(SYNC).await,
        }
    }
}
