//! Reasons that one program of Hamlet gives and another one acts upon. A reason that only callers see
//! stands in the error enum that gives it.

/// The databases of an instance are not there: it is being created or destroyed. On a cluster, a node
/// may also not know yet of databases that were just created.
pub const INSTANCE_INCOMPLETE: &str = "INSTANCE_INCOMPLETE";

/// The instance has accounts that would be left at other services.
pub const ACCOUNTS_LEFT: &str = "ACCOUNTS_LEFT";
/// A passphrase in plain text is too easy to guess.
pub const PASSPHRASE_WEAK: &str = "PASSPHRASE_WEAK";

/// A register token is not the one of the instance.
pub const REGISTER_TOKEN_WRONG: &str = "REGISTER_TOKEN_WRONG";
/// A register token was used already.
pub const REGISTER_TOKEN_USED: &str = "REGISTER_TOKEN_USED";
/// A register token is too old.
pub const REGISTER_TOKEN_EXPIRED: &str = "REGISTER_TOKEN_EXPIRED";

/// A call needs a session or a token, and has neither.
pub const TOKEN_MISSING: &str = "TOKEN_MISSING";
/// A token is none of the instance.
pub const TOKEN_WRONG: &str = "TOKEN_WRONG";
/// The time of a token has passed.
pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";
/// A token does not allow what is asked for.
pub const TOKEN_SCOPE: &str = "TOKEN_SCOPE";
