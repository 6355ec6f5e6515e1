//! The `grpc-timeout` header: how long a caller waits for the answer.

use std::time::Duration;

/// The header.
pub const TIMEOUT_HEADER: &str = "grpc-timeout";

/// A header that is not a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "grpc-timeout: is no time; it looks like 500m: up to eight digits that are not all 0, then H, M, S, m, u or n"
)]
pub struct NoTimeout;

/// Reads a `TimeoutValue` and its unit, as the gRPC over HTTP/2 protocol defines them.
pub fn parse(text: &str) -> Result<Duration, NoTimeout> {
    let (digits, unit) = text
        .len()
        .checked_sub(1)
        .and_then(|last| text.split_at_checked(last))
        .ok_or(NoTimeout)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| NoTimeout)?;
    match unit {
        _ if !plain => Err(NoTimeout),
        "H" => Ok(Duration::from_secs(number * 3600)),
        "M" => Ok(Duration::from_secs(number * 60)),
        "S" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_millis(number)),
        "u" => Ok(Duration::from_micros(number)),
        "n" => Ok(Duration::from_nanos(number)),
        _ => Err(NoTimeout),
    }
}
