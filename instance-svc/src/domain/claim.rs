//! Claims: the ownership of names.

use serde::{Deserialize, Serialize};

use super::{name::Name, time::Time};

/// The document of a name in `global/hamlet-claims`. Its `_id` is the canonical host, so the database itself
/// refuses a second owner.
///
/// A claim names the operation that made it. When that operation is not at work, and the instance does not exist or does
/// not have the name, the claim is abandoned: whoever wants the name may remove it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The name in the form that the instance's documents use.
    pub name: String,
    /// How the name belongs to the instance.
    pub kind: NameKind,
    /// The id of the instance's document.
    pub instance: String,
    /// The id of the operation that made the claim.
    pub operation: String,
    /// When it was made.
    pub created_at: Time,
}

/// How a name belongs to its instance.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// The main domain.
    Domain,
    /// An alias.
    Alias,
    /// A former domain, from which browsers are redirected. Its claim has a separate form of id, so that a new
    /// instance may take the name itself; the redirect has no effect then.
    Redirect,
}

/// A name that an instance wants.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The id of its claim.
    pub id: String,
    /// The name in the form that documents use.
    pub name: String,
    /// How it belongs to the instance.
    pub kind: NameKind,
}

/// The prefix of the id of a redirect's claim. No host contains a colon.
const REDIRECT: &str = "redirect:";

/// The id of the claim of a redirect from this host.
#[must_use]
pub fn redirect_id(host: &str) -> String {
    format!("{REDIRECT}{host}")
}

/// The host of a claim: its own, or the one that it redirects from.
#[must_use]
pub fn host_of(id: &str) -> &str {
    id.strip_prefix(REDIRECT).unwrap_or(id)
}

/// The names of an instance, each once, in the order in which they are claimed: byte order of the claims' ids.
/// Invalid names are left out (other software checks less).
#[must_use]
pub fn wanted(domain: &str, aliases: &[String], old_domain: &str) -> Vec<Wanted> {
    let domain = [(domain, NameKind::Domain)].into_iter();
    let aliases = aliases
        .iter()
        .map(|alias| (alias.as_str(), NameKind::Alias));
    let mut wanted: Vec<Wanted> = Vec::new();
    for (text, kind) in domain
        .chain(aliases)
        .chain([(old_domain, NameKind::Redirect)])
    {
        let Ok(name) = text.parse::<Name>() else {
            continue;
        };
        let id = match kind {
            NameKind::Domain | NameKind::Alias => name.host().to_owned(),
            NameKind::Redirect => redirect_id(name.host()),
        };
        // The first occurrence wins: a domain is never an alias of itself.
        if !wanted.iter().any(|other| other.id == id) {
            wanted.push(Wanted {
                id,
                name: name.domain().to_owned(),
                kind,
            });
        }
    }
    wanted.sort_by(|a, b| a.id.cmp(&b.id));
    wanted
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn names_are_claimed_in_byte_order_and_former_ones_under_separate_ids() {
        let aliases = ["Zoe.example", "a.example:8080", "no name", "b.example"].map(str::to_owned);
        let ids: Vec<String> = wanted("b.example:1", &aliases, "a.example")
            .into_iter()
            .map(|wanted| wanted.id)
            .collect();
        let expected = [
            "a.example",
            "b.example",
            "redirect:a.example",
            "zoe.example",
        ];
        assert_eq!(ids, expected);
    }
}
