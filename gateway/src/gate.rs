//! The gate: which requests the state of an instance lets pass.
//!
//! Where Hamlet serves an instance, and for states that Hamlet has set itself, nothing passes but what an active instance
//! has. Other software that shares the database sets `blocked` and `deleting` for a part of its routes only: while it
//! deletes an instance, its konnectors clean up through the rest. Where that software is the backend, exactly those routes
//! are refused.

use std::borrow::Cow;

use http::{HeaderMap, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;

use crate::directory::{HostEntry, InstanceState};

/// Blocks during which the owner's data moves: the pages of the move stay open.
const OF_MOVES: [&str; 2] = ["IMPORTING", "MOVING"];

/// The groups of the compatible API that a block closes, and a deletion does not.
const API: [&str; 16] = [
    "registry",
    "data",
    "files",
    "contacts",
    "intents",
    "jobs",
    "notifications",
    "permissions",
    "realtime",
    "notes",
    "office",
    "remote",
    "sharings",
    "bitwarden",
    "shortcuts",
    "ai",
];

/// The pages of an instance.
const PAGES: [&str; 3] = ["auth", "public", ".well-known"];

/// What a request wants, as far as the state of an instance decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Something that needs no instance, or that administrators may have of any.
    Free,
    /// Something that only an active instance has.
    Active,
    /// Something that the backend serves.
    Backend(Group, Caller),
}

/// A group of the backend's routes that is gated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// The pages of the instance: `/`, `/auth`, `/public`, `/.well-known`.
    Pages,
    /// The API of its data.
    Api,
    /// `/move`: as the API, but open while data moves.
    Move,
    /// What other software never closes: settings, apps, logins, and what needs no instance.
    Open,
    /// The host of an app.
    AppHost,
    /// `robots.txt` of such a host.
    AppRobots,
}

/// What a request says of its caller that matters at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anybody.
    Anybody,
    /// One with what looks like the token of a konnector. Nobody has checked it: the backend does, and refuses its routes by
    /// itself unless it has opened a window for its konnectors to clean up.
    Konnector,
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The state of the instance has a page.
    State,
    /// Data moves, and a page tells how far it is.
    Moving,
}

impl Passage {
    /// What a request to a backend wants of an instance in this state.
    pub(crate) fn to_backend(
        path: &str,
        is_app_host: bool,
        state: &InstanceState,
        headers: &HeaderMap,
    ) -> Self {
        let is_konnector = matches!(state, InstanceState::Blocked { .. }) && is_konnector(headers);
        let caller = if is_konnector {
            Caller::Konnector
        } else {
            Caller::Anybody
        };
        Self::Backend(Group::of(path, is_app_host), caller)
    }

    /// Whether a request without `Accept` is answered with a page.
    pub(crate) const fn is_for_people(self) -> bool {
        matches!(
            self,
            Self::Backend(Group::Pages | Group::AppHost | Group::AppRobots, _)
        )
    }

    /// Why the state of the instance does not let it pass; `None` when it does.
    pub(crate) fn closed(self, entry: &HostEntry) -> Option<Closed> {
        let (group, caller) = match self {
            Self::Free => return None,
            Self::Backend(group, caller) if entry.set_by_other_software => (group, caller),
            Self::Active | Self::Backend(..) => {
                return (entry.state != InstanceState::Active).then_some(Closed::State);
            }
        };
        match &entry.state {
            InstanceState::Active => None,
            InstanceState::Blocked { reason } => group.closed_by_block(reason, caller),
            InstanceState::Deleting => {
                let is_closed = matches!(group, Group::Pages | Group::AppHost | Group::AppRobots);
                is_closed.then_some(Closed::State)
            }
            // Nobody but Hamlet deletes softly.
            InstanceState::Deleted { .. } => Some(Closed::State),
        }
    }
}

impl Group {
    fn of(path: &str, is_app_host: bool) -> Self {
        let path = normal(path);
        if is_app_host {
            return if path.trim_start_matches('/') == "robots.txt" {
                Self::AppRobots
            } else {
                Self::AppHost
            };
        }
        let first = path.trim_start_matches('/').split('/').next();
        match first.unwrap_or_default() {
            "" => Self::Pages,
            first if PAGES.contains(&first) => Self::Pages,
            first if API.contains(&first) => Self::Api,
            "move" => Self::Move,
            _ => Self::Open,
        }
    }

    fn closed_by_block(self, reason: &str, caller: Caller) -> Option<Closed> {
        if matches!(self, Self::Open | Self::AppRobots) {
            return None;
        }
        if reason == "LOGIN_FAILED" {
            return Some(Closed::State);
        }
        let is_move = OF_MOVES.contains(&reason);
        if caller == Caller::Konnector || (is_move && self == Self::Move) {
            return None;
        }
        Some(if is_move {
            Closed::Moving
        } else {
            Closed::State
        })
    }
}

/// A path as a lenient server may read it: decoded, without empty segments, and without dots. A gate that reads less than
/// the server behind it is open.
fn normal(path: &str) -> Cow<'_, str> {
    let is_plain = !path.contains(['%', '\\']) && !path.contains("//") && !path.contains("/.");
    if is_plain {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    Cow::Owned(segments.join("/"))
}

/// Whether a request has what looks like the token of a konnector: a JSON Web Token with that audience.
fn is_konnector(headers: &HeaderMap) -> bool {
    use base64::Engine as _;
    let Some(token) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
    else {
        return false;
    };
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(part)
                .ok()
        })
        .and_then(|part| serde_json::from_slice::<serde_json::Value>(&part).ok());
    let audience = claims.as_ref().and_then(|claims| claims.get("aud"));
    audience.is_some_and(|audience| {
        let is_konn = |it: &serde_json::Value| it.as_str() == Some("konn");
        is_konn(audience)
            || audience
                .as_array()
                .is_some_and(|all| all.iter().any(is_konn))
    })
}

#[cfg(test)]
mod tests;
