//! What of the compatible API is not built yet, so that the gateway, the service that answers there, and the tests of who may
//! call what have one list.

/// The first segments of paths of an instance whose routes are not built. Programs with a token hear that (501).
pub const PATHS: [&str; 19] = [
    "accounts",
    "ai",
    "bitwarden",
    "compat",
    "contacts",
    "data",
    "files",
    "intents",
    "jobs",
    "move",
    "notes",
    "notifications",
    "office",
    "oidc",
    "realtime",
    "registry",
    "remote",
    "sharings",
    "shortcuts",
];
