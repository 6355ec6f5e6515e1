//! The revision tree of a document, and the choice of its winner.

use std::{collections::HashMap, fmt};

use crate::api_error::ApiError;

/// The name of a revision: its position (generation) and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rev {
    pub(crate) pos: u64,
    pub(crate) id: String,
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pos, self.id)
    }
}

impl Rev {
    /// Parses `N-id`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("Invalid rev format");
        let (pos, id) = text.split_once('-').ok_or_else(invalid)?;
        let pos: u64 = pos.parse().map_err(|_| invalid())?;
        Self::new(pos, id).ok_or_else(invalid)
    }

    /// `None` for an id of 32 characters that is not hexadecimal, which CouchDB refuses.
    pub(crate) fn new(pos: u64, id: &str) -> Option<Self> {
        if id.len() == 32 && !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let id = if id.len() == 32 {
            id.to_ascii_lowercase()
        } else {
            id.to_owned()
        };
        Some(Self { pos, id })
    }
}

/// The stored part of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) deleted: bool,
    /// The row of the body; `None` after a compaction.
    pub(crate) body: Option<i64>,
}

/// A revision in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) rev: Rev,
    pub(crate) parent: Option<usize>,
    /// `None` for an ancestor of which only the name is known.
    pub(crate) stored: Option<Stored>,
}

/// All revisions of a document.
///
/// A revision is identified by position and id. CouchDB could store the same pair below two parents, but an id
/// is computed from the parent, so this does not occur in real histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RevTree {
    nodes: Vec<Node>,
}

/// The outcome of adding a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// The revision is new, or only its name was known.
    Stored,
    /// The revision was stored already. Nothing changed.
    Known,
}

/// So many revisions of a history are searched for in the tree one by one. An edit needs two. For longer histories that
/// would take quadratic time.
const SEARCHED_FOR: usize = 32;

impl RevTree {
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn find(&self, rev: &Rev) -> Option<usize> {
        self.nodes.iter().position(|node| node.rev == *rev)
    }

    pub(crate) fn get(&self, rev: &Rev) -> Option<&Node> {
        self.nodes.iter().find(|node| node.rev == *rev)
    }

    /// The leaves, the winner first: live leaves before deleted ones, then by descending position, then by
    /// descending id.
    pub(crate) fn leaves(&self) -> Vec<&Node> {
        let inner = self.inner();
        let mut leaves: Vec<&Node> = self
            .nodes
            .iter()
            .zip(inner)
            .filter(|(_, inner)| !inner)
            .map(|(node, _)| node)
            .collect();
        leaves.sort_by(|a, b| rank(b).cmp(&rank(a)));
        leaves
    }

    /// Of each node, whether it is the parent of another.
    fn inner(&self) -> Vec<bool> {
        let mut inner = vec![false; self.nodes.len()];
        for node in &self.nodes {
            if let Some(slot) = node.parent.and_then(|parent| inner.get_mut(parent)) {
                *slot = true;
            }
        }
        inner
    }

    fn leaf_places(&self) -> Vec<usize> {
        let places = self.inner().into_iter().enumerate();
        places
            .filter(|(_, inner)| !inner)
            .map(|(at, _)| at)
            .collect()
    }

    /// The leaves in the order in which CouchDB lists them: the reverse order of its tree.
    pub(crate) fn leaves_in_tree_order(&self) -> Vec<&Node> {
        let mut leaves = self.leaves();
        leaves.sort_by_cached_key(|leaf| {
            let mut path: Vec<&Rev> = self.path(&leaf.rev).iter().map(|node| &node.rev).collect();
            path.reverse();
            std::cmp::Reverse(path)
        });
        leaves
    }

    /// The leaves as CouchDB lists them when no revision is named: root by root, the last root first, and the leaves of
    /// each in order.
    pub(crate) fn leaves_root_by_root(&self) -> Vec<&Node> {
        let mut leaves = self.leaves();
        leaves.sort_by_cached_key(|leaf| {
            let mut path: Vec<&Rev> = self.path(&leaf.rev).iter().map(|node| &node.rev).collect();
            path.reverse();
            (std::cmp::Reverse(path.first().copied()), path)
        });
        leaves
    }

    pub(crate) fn winner(&self) -> Option<&Node> {
        self.leaves().first().copied()
    }

    pub(crate) fn is_leaf(&self, rev: &Rev) -> bool {
        self.leaves().iter().any(|leaf| leaf.rev == *rev)
    }

    /// A revision and its known ancestors, newest first.
    pub(crate) fn path(&self, rev: &Rev) -> Vec<&Node> {
        let mut path = Vec::new();
        let mut next = self.find(rev);
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            path.push(node);
            next = node.parent;
        }
        path
    }

    /// Adds the revision `history[0]`, followed by its ancestors, newest first.
    pub(crate) fn add(&mut self, history: &[Rev], stored: Stored) -> Added {
        let mut places: Option<HashMap<Rev, usize>> = None;
        let mut child: Option<usize> = None;
        let mut added = Added::Known;
        let mut ages = 0..history.len();
        while let Some((age, rev)) = ages.next().and_then(|age| Some((age, history.get(age)?))) {
            if age == SEARCHED_FOR {
                let nodes = self.nodes.iter().enumerate();
                places = Some(nodes.map(|(at, node)| (node.rev.clone(), at)).collect());
            }
            let found = match &places {
                Some(places) => places.get(rev).copied(),
                None => self.find(rev),
            };
            let at = found.unwrap_or_else(|| {
                self.nodes.push(Node {
                    rev: rev.clone(),
                    parent: None,
                    stored: None,
                });
                self.nodes.len() - 1
            });
            if age == 0
                && let Some(node) = self.nodes.get_mut(at)
                && node.stored.is_none()
            {
                node.stored = Some(stored);
                added = Added::Stored;
            }
            if let Some(node) = child.and_then(|child| self.nodes.get_mut(child))
                && node.parent.is_none()
            {
                node.parent = Some(at);
            }
            // The known ancestors need not be compared; older ones that the tree lacks are added above its oldest.
            let (oldest, known) = self.oldest(at);
            if known > 0 {
                let is_same =
                    history.get(age + known) == self.nodes.get(oldest).map(|node| &node.rev);
                if !is_same {
                    break;
                }
                ages.nth(known - 1);
            }
            child = Some(oldest);
        }
        added
    }

    /// The oldest known ancestor of a node, and how many generations it is away.
    fn oldest(&self, at: usize) -> (usize, usize) {
        let (mut oldest, mut steps) = (at, 0);
        while let Some(parent) = self.nodes.get(oldest).and_then(|node| node.parent) {
            oldest = parent;
            steps += 1;
        }
        (oldest, steps)
    }

    /// Removes all but the newest `limit` revisions of each branch, and returns their body rows.
    pub(crate) fn stem(&mut self, limit: usize) -> Vec<i64> {
        if self.nodes.len() <= limit {
            return Vec::new();
        }
        let mut keep = vec![false; self.nodes.len()];
        for leaf in self.leaf_places() {
            let mut next = Some(leaf);
            for _ in 0..limit.max(1) {
                let Some(at) = next else { break };
                if let Some(slot) = keep.get_mut(at) {
                    *slot = true;
                }
                next = self.nodes.get(at).and_then(|node| node.parent);
            }
        }
        self.retain(&keep)
    }

    /// Removes a leaf and the ancestors that it shares with no other leaf. Returns whether `rev` was a leaf.
    pub(crate) fn purge(&mut self, rev: &Rev, bodies: &mut Vec<i64>) -> bool {
        let leaves = self.leaf_places();
        let Some(purged) = self.find(rev).filter(|at| leaves.contains(at)) else {
            return false;
        };
        let mut keep = vec![false; self.nodes.len()];
        for leaf in leaves.into_iter().filter(|leaf| *leaf != purged) {
            let mut next = Some(leaf);
            // What is above a kept node is kept already.
            while let Some(at) = next.filter(|at| keep.get(*at) == Some(&false)) {
                if let Some(slot) = keep.get_mut(at) {
                    *slot = true;
                }
                next = self.nodes.get(at).and_then(|node| node.parent);
            }
        }
        bodies.extend(self.retain(&keep));
        true
    }

    /// Removes the bodies of all revisions except the leaves, and returns their rows.
    pub(crate) fn compact(&mut self) -> Vec<i64> {
        let inner = self.inner();
        let mut bodies = Vec::new();
        for (node, _) in self.nodes.iter_mut().zip(inner).filter(|(_, inner)| *inner) {
            if let Some(stored) = &mut node.stored {
                bodies.extend(stored.body.take());
            }
        }
        bodies
    }

    fn retain(&mut self, keep: &[bool]) -> Vec<i64> {
        let mut new_place = vec![None; self.nodes.len()];
        let mut count = 0;
        for (place, kept) in new_place.iter_mut().zip(keep) {
            if *kept {
                *place = Some(count);
                count += 1;
            }
        }
        let mut dropped = Vec::new();
        let nodes = std::mem::take(&mut self.nodes);
        for (node, kept) in nodes.into_iter().zip(keep) {
            if *kept {
                let parent = node
                    .parent
                    .and_then(|at| new_place.get(at).copied().flatten());
                self.nodes.push(Node { parent, ..node });
            } else {
                dropped.extend(node.stored.and_then(|stored| stored.body));
            }
        }
        dropped
    }

    /// The binary form that is stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.nodes.len() * 24);
        for node in &self.nodes {
            number(node.rev.pos, &mut out);
            number(node.parent.map_or(0, |at| at as u64 + 1), &mut out);
            let raw = hex::decode(&node.rev.id).ok().filter(|raw| raw.len() == 16);
            let flags = match node.stored {
                None => 0,
                Some(stored) => {
                    1 | u8::from(stored.deleted) << 1 | u8::from(stored.body.is_some()) << 2
                }
            } | u8::from(raw.is_some()) << 3;
            out.push(flags);
            match raw {
                Some(raw) => out.extend_from_slice(&raw),
                None => {
                    number(node.rev.id.len() as u64, &mut out);
                    out.extend_from_slice(node.rev.id.as_bytes());
                }
            }
            if let Some(body) = node.stored.and_then(|stored| stored.body) {
                number(body.unsigned_abs(), &mut out);
            }
        }
        out
    }

    /// Parses the binary form; `None` if it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut nodes = Vec::new();
        while !rest.is_empty() {
            let pos = take_number(&mut rest)?;
            let parent = usize::try_from(take_number(&mut rest)?)
                .ok()?
                .checked_sub(1);
            let flags = *take(&mut rest, 1)?.first()?;
            let id = if flags & 8 != 0 {
                hex::encode(take(&mut rest, 16)?)
            } else {
                let length = usize::try_from(take_number(&mut rest)?).ok()?;
                String::from_utf8(take(&mut rest, length)?.to_vec()).ok()?
            };
            let body = if flags & 4 != 0 {
                Some(i64::try_from(take_number(&mut rest)?).ok()?)
            } else {
                None
            };
            let stored = (flags & 1 != 0).then_some(Stored {
                deleted: flags & 2 != 0,
                body,
            });
            nodes.push(Node {
                rev: Rev { pos, id },
                parent,
                stored,
            });
        }
        // A parent is there, and of an earlier generation: no path goes round in a circle.
        let is_sound = nodes.iter().all(|node: &Node| {
            node.parent.is_none_or(|at| {
                nodes
                    .get(at)
                    .is_some_and(|parent| parent.rev.pos < node.rev.pos)
            })
        });
        is_sound.then_some(Self { nodes })
    }
}

fn rank(node: &Node) -> (bool, u64, &[u8]) {
    (
        !node.stored.is_some_and(|stored| stored.deleted),
        node.rev.pos,
        node.rev.id.as_bytes(),
    )
}

fn number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    let mut shift = 0;
    loop {
        let byte = *take(rest, 1)?.first()?;
        n |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(n);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Added, Rev, RevTree, Stored};

    fn rev(text: &str) -> Rev {
        Rev::parse(text).unwrap()
    }

    fn history(text: &str) -> Vec<Rev> {
        text.split(' ').map(rev).collect()
    }

    fn live(body: i64) -> Stored {
        Stored {
            deleted: false,
            body: Some(body),
        }
    }

    fn gone(body: i64) -> Stored {
        Stored {
            deleted: true,
            body: Some(body),
        }
    }

    #[test]
    fn the_winner_is_live_then_longest_then_greatest() {
        let mut tree = RevTree::default();
        tree.add(&history("1-a"), live(1));
        tree.add(&history("2-b 1-a"), live(2));
        tree.add(&history("2-c 1-a"), live(3));
        assert_eq!(tree.winner().unwrap().rev, rev("2-c"));
        tree.add(&history("3-x 2-c 1-a"), gone(4));
        assert_eq!(tree.winner().unwrap().rev, rev("2-b"));
        tree.add(&history("1-z"), live(5));
        assert_eq!(
            tree.leaves()
                .iter()
                .map(|n| n.rev.to_string())
                .collect::<Vec<_>>(),
            ["2-b", "1-z", "3-x"]
        );
    }

    #[test]
    fn a_known_revision_is_not_added_twice() {
        let mut tree = RevTree::default();
        assert_eq!(tree.add(&history("3-c 2-b 1-a"), live(1)), Added::Stored);
        assert_eq!(tree.add(&history("3-c 2-b 1-a"), live(2)), Added::Known);
        assert_eq!(
            tree.add(&history("2-b 1-a"), live(2)),
            Added::Stored,
            "known by name only until now"
        );
        assert_eq!(tree.leaves().len(), 1);
    }

    #[test]
    fn branches_with_a_common_ancestor_are_joined() {
        let mut tree = RevTree::default();
        tree.add(&history("4-d 3-c"), live(1));
        tree.add(&history("4-e 3-c 2-b 1-a"), live(2));
        assert_eq!(tree.path(&rev("4-d")).len(), 4);
        assert_eq!(tree.leaves().len(), 2);
    }

    #[test]
    fn a_longer_history_adds_ancestors_above_a_stemmed_root() {
        for length in [4, 60] {
            let past: Vec<Rev> = (1..=length)
                .rev()
                .map(|pos| Rev {
                    pos,
                    id: "x".into(),
                })
                .collect();
            let mut tree = RevTree::default();
            tree.add(&past[1..3], live(1));
            tree.add(&past, live(2));
            assert_eq!(tree.path(&past[0]).len(), past.len());
            assert_eq!(tree.leaves().len(), 1);
        }
    }

    #[test]
    fn a_long_history_takes_linear_time() {
        let past: Vec<Rev> = (1..=200_000_u64)
            .rev()
            .map(|pos| Rev {
                pos,
                id: "x".into(),
            })
            .collect();
        let mut tree = RevTree::default();
        // Comparing each with each would take minutes.
        assert_eq!(tree.add(&past, live(1)), Added::Stored);
        assert_eq!(tree.add(&past, live(1)), Added::Known);
        assert_eq!(tree.stem(1000).len(), 0);
        assert_eq!(tree.nodes().len(), 1000);
    }

    #[test]
    fn a_tree_whose_path_goes_round_is_damaged() {
        let loops = [
            &[1, 1, 1, 1, b'a'][..],
            &[1, 2, 1, 1, b'a', 1, 1, 1, 1, b'b'],
        ];
        for damaged in loops.into_iter().chain([&[2, 9, 1, 1, b'a'][..]]) {
            assert_eq!(RevTree::decode(damaged), None);
        }
    }

    #[test]
    fn stemming_keeps_the_newest_revisions_of_each_branch() {
        let mut tree = RevTree::default();
        for n in 1..=5_u64 {
            let past: Vec<Rev> = (1..=n)
                .rev()
                .map(|pos| Rev {
                    pos,
                    id: "x".into(),
                })
                .collect();
            tree.add(&past, live(i64::try_from(n).unwrap()));
        }
        tree.add(&history("4-y 3-x 2-x 1-x"), live(9));
        assert_eq!(tree.stem(2), [1, 2]);
        assert_eq!(tree.path(&rev("5-x")).len(), 3, "3-x stays for 4-y");
        assert_eq!(RevTree::decode(&tree.encode()).unwrap(), tree);
    }

    #[test]
    fn purging_a_leaf_keeps_shared_ancestors() {
        let mut tree = RevTree::default();
        tree.add(&history("1-a"), live(1));
        tree.add(&history("2-b 1-a"), live(2));
        tree.add(&history("2-c 1-a"), live(3));
        let mut bodies = Vec::new();
        assert!(!tree.purge(&rev("1-a"), &mut bodies));
        assert!(tree.purge(&rev("2-c"), &mut bodies));
        assert_eq!(bodies, [3]);
        assert_eq!(tree.nodes().len(), 2);
    }
}
