//! Nodes of the database that die, hang and come back.

use test_kit::{
    cluster::{Cluster, Death, Moment},
    dice::Rng,
};

const NODES: usize = 3;

/// The nodes of a modelled cluster. At most one is away at any time, so that a majority is there.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// After how many further acts the node that is away comes back.
    back: Option<u32>,
}

impl Nodes {
    /// Lets a node die or hang, or brings back the one that is away when its time has come.
    pub(crate) async fn stir(&mut self, cluster: &Cluster, dice: &mut Rng) {
        if let Some(away) = (0..NODES).find(|node| !cluster.is_live(*node)) {
            let back = self.back.get_or_insert_with(|| dice.u32(2..10));
            *back -= 1;
            if *back == 0 {
                self.back = None;
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
            drawn => {
                let moment = if dice.u64(..4) > 0 {
                    Moment::AfterCommit
                } else {
                    Moment::BeforeCommit
                };
                let death = if drawn == 2 {
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

    /// Brings every node back, and waits until all hold the same.
    pub(crate) async fn calm(cluster: &Cluster) {
        cluster.clear_deaths();
        for node in 0..NODES {
            cluster.start_node(node).await;
            cluster.resume(node).await;
            cluster.release_sync(node);
        }
        cluster.sync_all().await;
    }
}
