//! Chance that can be had again: a test that failed runs the same way with its seed.

pub use fastrand::Rng;

/// The environment variable that holds a seed.
const SEED: &str = "HAMLET_TEST_SEED";

/// A generator whose seed is printed. `HAMLET_TEST_SEED` gives the seed to use; without it, each process has its own.
#[must_use]
#[expect(clippy::print_stdout, reason = "whoever sees a failure needs the seed")]
pub fn seeded() -> Rng {
    let seed = given_seed().unwrap_or_else(|| u64::from(std::process::id()));
    println!("{SEED}={seed}");
    Rng::with_seed(seed)
}

/// The seed that the environment gives.
///
/// # Panics
/// When it gives one that is no number: another schedule than the one that was asked for proves nothing.
#[must_use]
pub fn given_seed() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    Some(seed.parse().expect("HAMLET_TEST_SEED is a number"))
}

#[cfg(test)]
mod tests {
    use super::Rng;

    /// A seed in a bug report is worth something only while it gives the same numbers.
    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let draw = |mut dice: Rng| -> Vec<u64> { (0..5).map(|_| dice.u64(..100)).collect() };
        assert_eq!(draw(Rng::with_seed(7)), draw(Rng::with_seed(7)));
        assert_ne!(draw(Rng::with_seed(7)), draw(Rng::with_seed(8)));
    }
}
