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
