//! What the model knows of a document: its revisions, and the attachments of each.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

pub(crate) type Rev = (u64, String);

pub(crate) fn text(rev: &Rev) -> String {
    format!("{}-{}", rev.0, rev.1)
}

pub(crate) fn parse(text: &str) -> Rev {
    let (pos, id) = text.split_once('-').unwrap();
    (pos.parse().unwrap(), id.to_owned())
}

/// Data as a client sends it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) is_text: bool,
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Sent {
    /// The length stands for the data, so that the steps of a failure can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.bytes.len(), self.content_type())
    }
}

impl Sent {
    pub(crate) fn content_type(&self) -> &'static str {
        if self.is_text {
            "text/plain"
        } else {
            "image/png"
        }
    }

    pub(crate) fn inline(&self) -> Value {
        json!({"content_type": self.content_type(), "data": STANDARD.encode(&self.bytes)})
    }

    /// The digest; `None` for a text, which is stored compressed.
    pub(crate) fn digest(&self) -> Option<String> {
        (!self.is_text).then(|| format!("md5-{}", STANDARD.encode(Md5::digest(&self.bytes))))
    }
}

/// An attachment of a revision.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) revpos: u64,
    pub(crate) sent: Sent,
}

pub(crate) type Files = BTreeMap<String, File>;

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) deleted: bool,
    /// `None` for a document that was made by its attachment.
    pub(crate) value: Option<i64>,
    pub(crate) files: Files,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) parent: Option<Rev>,
    /// `None` if only the name of the revision is known.
    pub(crate) stored: Option<Stored>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Doc {
    pub(crate) nodes: BTreeMap<Rev, Node>,
    pub(crate) changed: u64,
}

impl Doc {
    /// The leaves, the winner first.
    pub(crate) fn leaves(&self) -> Vec<(Rev, Stored)> {
        let is_parent = |rev: &Rev| {
            let mut nodes = self.nodes.values();
            nodes.any(|node| node.parent.as_ref() == Some(rev))
        };
        let mut leaves: Vec<_> = self
            .nodes
            .iter()
            .filter(|(rev, _)| !is_parent(rev))
            .map(|(rev, node)| (rev.clone(), node.stored.clone().unwrap()))
            .collect();
        leaves.sort_by_key(|(rev, stored)| (!stored.deleted, rev.clone()));
        leaves.reverse();
        leaves
    }

    pub(crate) fn winner(&self) -> (Rev, Stored) {
        self.leaves().swap_remove(0)
    }

    pub(crate) fn history(&self, rev: &Rev) -> Vec<Rev> {
        let mut history = vec![rev.clone()];
        while let Some(parent) = self
            .nodes
            .get(history.last().unwrap())
            .and_then(|node| node.parent.clone())
        {
            history.push(parent);
        }
        history
    }

    /// The revision that an edit continues when it names `named`: none for a new document, and `Err` for a conflict.
    pub(crate) fn continued(&self, named: Option<&Rev>, deletes: bool) -> Result<Option<Rev>, ()> {
        let leaves = self.leaves();
        let is_gone = leaves.first().is_some_and(|leaf| leaf.1.deleted);
        match named {
            None if leaves.is_empty() => Ok(None),
            None if is_gone && !deletes => Ok(Some(leaves[0].0.clone())),
            // The successor of a tombstone does not name it.
            Some(rev) if !is_gone && leaves.iter().any(|leaf| leaf.0 == *rev) => {
                Ok(Some(rev.clone()))
            }
            _ => Err(()),
        }
    }

    /// What is stored of a leaf.
    pub(crate) fn leaf(&self, rev: &Rev) -> Option<Stored> {
        let mut leaves = self.leaves().into_iter();
        leaves.find(|leaf| leaf.0 == *rev).map(|leaf| leaf.1)
    }
}
