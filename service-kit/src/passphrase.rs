//! What the instance service and the gateway's page for a passphrase agree on.

use std::ops::RangeInclusive;

/// How many iterations of PBKDF2 a client may make of a passphrase. With fewer, whoever steals the hash
/// tries passphrases too quickly; with more, a phone takes minutes.
pub const ITERATIONS: RangeInclusive<u32> = 50_000..=5_000_000;
