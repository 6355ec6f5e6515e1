//! Claims: who owns a name.

use serde::{Deserialize, Serialize};

use super::name::Name;

/// The document of a name in `global/hamlet-claims`. Its `_id` is the canonical host, so that the
/// database itself refuses a second owner.
///
/// A claim names the operation that made it: one whose operation has failed, or never was, can be
/// removed by whoever meets it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The name as the instance's documents keep it.
    pub name: String,
    /// What the name is to the instance.
    pub kind: Kind,
    /// The id of the instance's document.
    pub instance: String,
    /// The id of the operation that made the claim.
    pub operation: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
}

/// What a name is to its instance.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its main domain.
    Domain,
    /// Another domain that leads to it.
    Alias,
}

/// A name that an instance wants.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The id of its claim.
    pub id: String,
    /// The name as documents keep it.
    pub name: String,
    /// What it is to the instance.
    pub kind: Kind,
}

/// The names of an instance, in the order in which they are claimed: byte order of the claims' ids, each
/// once. Texts that are no names (other software checks less) are left out.
#[must_use]
pub fn wanted(domain: &str, aliases: &[String]) -> Vec<Wanted> {
    let domain = [(domain, Kind::Domain)].into_iter();
    let aliases = aliases.iter().map(|alias| (alias.as_str(), Kind::Alias));
    let mut wanted: Vec<Wanted> = Vec::new();
    for (text, kind) in domain.chain(aliases) {
        let Ok(name) = text.parse::<Name>() else {
            continue;
        };
        // What comes first in this list wins: a domain is never an alias of itself.
        if !wanted.iter().any(|other| other.id == name.host()) {
            wanted.push(Wanted {
                id: name.host().to_owned(),
                name: name.domain().to_owned(),
                kind,
            });
        }
    }
    wanted.sort_by(|a, b| a.id.cmp(&b.id));
    wanted
}
