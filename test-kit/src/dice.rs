//! Reproducible random numbers: a failed test can be repeated with its seed.

pub use fastrand::Rng;

/// The environment variable with the seed.
const SEED: &str = "HAMLET_TEST_SEED";

/// A random number generator. Its seed is printed. `HAMLET_TEST_SEED` sets the seed; by default, each process uses a
/// new one.
#[must_use]
#[expect(
    clippy::print_stdout,
    reason = "the seed is needed to reproduce a failure"
)]
pub fn seeded() -> Rng {
    let seed = given_seed().unwrap_or_else(|| u64::from(std::process::id()));
    println!("{SEED}={seed}");
    Rng::with_seed(seed)
}

/// The seed in the environment, if any.
///
/// # Panics
/// When the variable is not a number. Falling back to another seed would test a different schedule than the requested
/// one.
#[must_use]
pub fn given_seed() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    Some(seed.parse().expect("HAMLET_TEST_SEED is a number"))
}

#[cfg(test)]
mod tests {
    use super::Rng;

    /// A seed in a bug report is useful only as long as it gives the same numbers.
    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let draw = |mut dice: Rng| -> Vec<u64> { (0..5).map(|_| dice.u64(..100)).collect() };
        assert_eq!(draw(Rng::with_seed(7)), draw(Rng::with_seed(7)));
        assert_ne!(draw(Rng::with_seed(7)), draw(Rng::with_seed(8)));
    }
}
