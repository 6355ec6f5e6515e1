//! Decides who may read what of a tree: the one place in this service.

use hamlet_proto::hamlet::instance::v1::identity::Rule;
use service_kit::{
    caller::Caller,
    rights::{Rights, Verb, too_small},
};
use tonic::Status;

use crate::{
    actions::get::{Target, get},
    domain::{MAX_DEPTH, node::Node},
    error::Error,
    store::Store,
};

const FILES: &str = "io.cozy.files";
const SETTINGS: &str = "io.cozy.settings";
/// The document of settings that tells how much room is used.
const DISK_USAGE: &str = "io.cozy.settings.disk-usage";

/// Requires that a caller may read something of the tree. What exactly, [`readable`] says.
///
/// # Errors
/// UNAUTHENTICATED, PERMISSION_DENIED.
pub(crate) fn require_some(caller: &Caller) -> Result<Rights<'_>, Status> {
    let rights = caller.rights()?;
    let may = rights.allow(FILES, Verb::Get) || rights.rules(FILES, Verb::Get).next().is_some();
    may.then_some(rights)
        .ok_or_else(|| too_small(FILES, Verb::Get))
}

/// Requires that a caller may read how much room the files take.
///
/// # Errors
/// UNAUTHENTICATED, PERMISSION_DENIED.
pub(crate) fn require_usage(caller: &Caller) -> Result<(), Status> {
    let rights = caller.rights()?;
    let is_meant = |rule: &Rule| rule.selector.is_empty() && has(rule, DISK_USAGE);
    let may = rights.allow_one(SETTINGS, Verb::Get, is_meant);
    may.then_some(())
        .ok_or_else(|| too_small(SETTINGS, Verb::Get))
}

/// What of a file or directory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Its own document.
    Itself,
    /// What is in it, too.
    AllBelow,
}

/// Finds a file or directory that a caller may read. A rule for some documents is for a directory with all that is in it,
/// and for what has one of the values in a field. Whoever may not read everything does not learn what there is.
///
/// # Errors
/// PERMISSION_DENIED; as [`get`].
pub(crate) async fn readable(
    store: &Store,
    rights: Rights<'_>,
    target: &Target,
    extent: Extent,
) -> Result<Node, Status> {
    let found = get(store, target).await;
    if rights.allow(FILES, Verb::Get) {
        return Ok(found?);
    }
    let node = match found {
        Err(Error::NotFound(_)) => return Err(too_small(FILES, Verb::Get)),
        found => found?,
    };
    let may = |node: &Node, extent| {
        rights.allow_one(FILES, Verb::Get, |rule| is_meant(rule, node, extent))
    };
    if may(&node, extent) {
        return Ok(node);
    }
    let mut above = node.fields.dir_id.clone();
    for _ in 0..MAX_DEPTH {
        let Some(directory) = store.by_id(&above).await? else {
            break;
        };
        if may(&directory, Extent::AllBelow) {
            return Ok(node);
        }
        above.clone_from(&directory.fields.dir_id);
    }
    Err(too_small(FILES, Verb::Get))
}

/// Whether a rule for some documents is for this one.
fn is_meant(rule: &Rule, node: &Node, extent: Extent) -> bool {
    let itself = extent == Extent::Itself;
    match rule.selector.as_str() {
        "" | "_id" | "id" => has(rule, &node.id),
        "name" => has(rule, &node.fields.name),
        "tags" => node.tags().iter().any(|tag| has(rule, tag)),
        "referenced_by" => node.references().iter().any(|reference| {
            has(rule, &reference.id) || has(rule, &format!("{}/{}", reference.kind, reference.id))
        }),
        // These say nothing of what is in a directory.
        "type" => {
            let kind = if node.fields.is_directory() {
                "directory"
            } else {
                "file"
            };
            itself && has(rule, kind)
        }
        "mime" => itself && has(rule, &node.fields.mime),
        "class" => itself && has(rule, &node.fields.class),
        _ => false,
    }
}

fn has(rule: &Rule, value: &str) -> bool {
    !value.is_empty() && rule.values.iter().any(|it| it == value)
}
