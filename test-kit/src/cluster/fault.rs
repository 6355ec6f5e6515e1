//! The schedule of deaths: at which write a node dies.

/// When a node dies, relative to its own commit of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The node does not store the write. If it is the coordinator, no other node does either.
    BeforeCommit,
    /// The node stores the write and does not answer. If it is the coordinator, it is the only node that stores it.
    AfterCommit,
}

/// The part of a node in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It received the write from the client.
    Coordinator,
    /// It received the write from another node.
    Replica,
}

/// The death of a node at a write of a document.
///
/// Writes are `PUT` and `DELETE` of a document and `POST` to `_bulk_docs`.
#[derive(Clone, Debug)]
pub struct Death {
    node: usize,
    role: Role,
    moment: Moment,
    path: String,
    skip: u32,
}

impl Death {
    /// The node dies at the next write that it receives from a client. The client gets no response.
    #[must_use]
    pub const fn of_coordinator(node: usize, moment: Moment) -> Self {
        Self {
            node,
            role: Role::Coordinator,
            moment,
            path: String::new(),
            skip: 0,
        }
    }

    /// The node dies at the next write that it receives from another node. The coordinator gets no vote from it.
    #[must_use]
    pub const fn of_replica(node: usize, moment: Moment) -> Self {
        Self {
            node,
            role: Role::Replica,
            moment,
            path: String::new(),
            skip: 0,
        }
    }

    /// Counts only writes whose path contains this text. The path is percent-encoded as sent, for example
    /// `/global%2Fhamlet-claims/some-id`.
    #[must_use]
    pub fn on(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Lets this many writes pass first.
    #[must_use]
    pub const fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

/// The deaths that have not happened yet.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    scheduled: Vec<Death>,
    /// How many have happened.
    pub(super) happened: u64,
}

impl Deaths {
    pub(super) fn add(&mut self, death: Death) {
        self.scheduled.push(death);
    }

    pub(super) fn clear(&mut self) {
        self.scheduled.clear();
    }

    /// Counts a write. Returns when the node dies, if it dies at this write.
    pub(super) fn strike(&mut self, node: usize, role: Role, path: &str) -> Option<Moment> {
        let mut due = None;
        for (at, death) in self.scheduled.iter_mut().enumerate() {
            if death.node != node || death.role != role || !path.contains(&death.path) {
                continue;
            }
            if death.skip > 0 {
                death.skip -= 1;
            } else if due.is_none() {
                due = Some(at);
            }
        }
        self.happened += u64::from(due.is_some());
        due.map(|at| self.scheduled.remove(at).moment)
    }
}
