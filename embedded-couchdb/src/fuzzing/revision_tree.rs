//! Trees of revisions.

use std::collections::BTreeMap;

use crate::storage::revtree::{Added, Node, Rev, RevTree, Stored};

/// The most revisions that arrive.
const MOST: usize = 48;

/// A revision in the history that the bytes tell.
#[derive(Clone)]
struct Made {
    rev: Rev,
    parent: Option<usize>,
    deleted: bool,
}

/// A revision as it arrives: with some of its ancestors, newest first.
struct Arrival {
    history: Vec<Rev>,
    stored: Stored,
}

/// What is known of a tree: of each revision, its parent and whether it is deleted.
type Known = BTreeMap<Rev, (Option<Rev>, Option<bool>)>;

/// Decodes the bytes as a stored tree. Then takes them as revisions that arrive in some order.
///
/// # Panics
/// If a tree depends on the order in which its revisions came, has another winner than it should, loses what it should
/// keep, or is not the same after it was stored.
pub fn revision_tree(bytes: &[u8]) {
    if let Some(tree) = RevTree::decode(bytes) {
        check_stored(&tree);
        for leaf in tree.leaves() {
            assert!(tree.path(&leaf.rev).len() <= tree.nodes().len());
        }
    }
    let (&limit, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let arrivals = arrivals(rest);
    if arrivals.is_empty() {
        return;
    }
    let tree = merged(arrivals.iter());
    let known = union(&arrivals);
    assert_eq!(summary(&tree), known, "something was lost or added");
    let turned = arrivals.len() / 2;
    let (first, second) = arrivals.split_at(turned);
    assert_eq!(summary(&merged(arrivals.iter().rev())), known, "backwards");
    assert_eq!(
        summary(&merged(second.iter().chain(first))),
        known,
        "turned"
    );
    let mut again = tree.clone();
    for arrival in &arrivals {
        assert_eq!(again.add(&arrival.history, arrival.stored), Added::Known);
    }
    assert_eq!(again, tree, "what is known has changed the tree");

    check_stored(&tree);
    check_winner(&tree, &known);
    check_stem(&tree, usize::from(limit % 8) + 1);
    check_purges(&tree);
    check_compaction(&tree);
}

/// Reads four bytes for each revision: its parent, its id, how much of its history is known, and whether it is deleted.
fn arrivals(bytes: &[u8]) -> Vec<Arrival> {
    let mut made: Vec<Made> = Vec::new();
    let mut arrivals = Vec::new();
    for piece in bytes.chunks_exact(4).take(MOST) {
        let [parent, id, depth, deleted] = *piece else {
            continue;
        };
        let parent = usize::from(parent) % (made.len() + 1);
        let above = made.get(parent).map(|parent| parent.rev.pos);
        let rev = Rev {
            pos: above.unwrap_or(0) + 1,
            id: if id & 0x80 == 0 {
                char::from(b'a' + id % 8).to_string()
            } else {
                format!("{id:032x}")
            },
        };
        // An id has one parent: that of the first revision that has it.
        let at = made.iter().position(|other| other.rev == rev);
        let at = at.unwrap_or_else(|| {
            made.push(Made {
                rev,
                parent: above.map(|_| parent),
                deleted: deleted & 1 == 1,
            });
            made.len() - 1
        });
        let mut history = Vec::new();
        let mut next = Some(at);
        while let Some(one) = next.and_then(|at| made.get(at)) {
            history.push(one.rev.clone());
            next = one.parent.filter(|_| history.len() <= usize::from(depth));
        }
        let deleted = made.get(at).is_some_and(|made| made.deleted);
        arrivals.push(Arrival {
            history,
            stored: Stored {
                deleted,
                body: i64::try_from(at).ok(),
            },
        });
    }
    arrivals
}

fn merged<'a>(arrivals: impl Iterator<Item = &'a Arrival>) -> RevTree {
    let mut tree = RevTree::default();
    for arrival in arrivals {
        tree.add(&arrival.history, arrival.stored);
    }
    tree
}

/// Everything that the revisions tell, put together without a tree.
fn union(arrivals: &[Arrival]) -> Known {
    let mut known = Known::new();
    for Arrival { history, stored } in arrivals {
        for (age, rev) in history.iter().enumerate() {
            let entry = known.entry(rev.clone()).or_default();
            if let Some(parent) = history.get(age + 1) {
                entry.0 = Some(parent.clone());
            }
            if age == 0 {
                entry.1 = Some(stored.deleted);
            }
        }
    }
    known
}

fn summary(tree: &RevTree) -> Known {
    let nodes = tree.nodes();
    let known: Known = nodes
        .iter()
        .map(|node| {
            let parent = node.parent.and_then(|at| nodes.get(at));
            let parent = parent.map(|parent| parent.rev.clone());
            let deleted = node.stored.map(|stored| stored.deleted);
            (node.rev.clone(), (parent, deleted))
        })
        .collect();
    assert_eq!(known.len(), nodes.len(), "a revision is there twice");
    known
}

fn check_stored(tree: &RevTree) {
    assert_eq!(RevTree::decode(&tree.encode()).as_ref(), Some(tree));
    for node in tree.nodes() {
        let text = node.rev.to_string();
        let Some(normal) = Rev::new(node.rev.pos, &node.rev.id) else {
            continue;
        };
        let back = Rev::parse(&text).ok();
        assert_eq!(back, Some(normal), "the name of a revision is another");
    }
}

fn check_winner(tree: &RevTree, known: &Known) {
    let is_leaf = |rev: &Rev| {
        !known
            .values()
            .any(|(parent, _)| parent.as_ref() == Some(rev))
    };
    let mut expected: Vec<(bool, &Rev)> = known
        .iter()
        .filter(|(rev, _)| is_leaf(rev))
        .map(|(rev, (_, deleted))| (*deleted != Some(true), rev))
        .collect();
    expected.sort();
    expected.reverse();
    let expected: Vec<&Rev> = expected.into_iter().map(|(_, rev)| rev).collect();
    assert_eq!(revs(&tree.leaves()), expected);
    assert_eq!(
        tree.winner().map(|node| &node.rev),
        expected.first().copied()
    );
    let mut listed = tree.leaves_in_tree_order();
    listed.sort_by_key(|leaf| expected.iter().position(|rev| **rev == leaf.rev));
    assert_eq!(revs(&listed), expected, "leaves are listed twice or not");
    for (rev, (parent, _)) in known {
        let path = tree.path(rev);
        assert_eq!(path.get(1).map(|node| &node.rev), parent.as_ref());
        assert_eq!(tree.is_leaf(rev), is_leaf(rev));
    }
}

fn revs<'a>(nodes: &[&'a Node]) -> Vec<&'a Rev> {
    nodes.iter().map(|node| &node.rev).collect()
}

/// The rows of the bodies.
fn bodies(tree: &RevTree) -> Vec<i64> {
    let stored = tree.nodes().iter().filter_map(|node| node.stored);
    stored.filter_map(|stored| stored.body).collect()
}

fn check_stem(tree: &RevTree, limit: usize) {
    let mut short = tree.clone();
    let dropped = short.stem(limit);
    check_bodies(tree, &short, dropped);
    assert_eq!(revs(&short.leaves()), revs(&tree.leaves()));
    for leaf in tree.leaves() {
        let (before, after) = (revs(&tree.path(&leaf.rev)), revs(&short.path(&leaf.rev)));
        assert!(before.starts_with(&after), "another history");
        assert!(
            after.len() >= before.len().min(limit),
            "a history is too short"
        );
    }
    assert!(short.nodes().len() <= limit * short.leaves().len());
    let mut again = short.clone();
    assert!(again.stem(limit).is_empty());
    assert_eq!(again, short);
    check_stored(&short);
}

fn check_purges(tree: &RevTree) {
    let mut left = tree.clone();
    for node in tree.nodes() {
        let mut purged = Vec::new();
        let before = left.clone();
        let was_leaf = before.is_leaf(&node.rev);
        assert_eq!(left.purge(&node.rev, &mut purged), was_leaf);
        check_bodies(&before, &left, purged);
        let mut expected = revs(&before.leaves());
        expected.retain(|rev| **rev != node.rev || !was_leaf);
        assert_eq!(revs(&left.leaves()), expected);
        for rev in expected {
            assert_eq!(revs(&left.path(rev)), revs(&before.path(rev)));
        }
    }
}

fn check_compaction(tree: &RevTree) {
    let mut small = tree.clone();
    let dropped = small.compact();
    check_bodies(tree, &small, dropped);
    assert_eq!(summary(&small), summary(tree));
    for node in small.nodes() {
        let has_body = node.stored.is_some_and(|stored| stored.body.is_some());
        assert_eq!(has_body, small.is_leaf(&node.rev));
    }
}

/// Asserts that each body is still named or was given back, once.
fn check_bodies(before: &RevTree, after: &RevTree, dropped: Vec<i64>) {
    let mut left = [bodies(after), dropped].concat();
    let mut all = bodies(before);
    left.sort_unstable();
    all.sort_unstable();
    assert_eq!(left, all, "a body is lost, or named twice");
}
