//! Chance that can be had again: a test that failed runs the same way with its seed.

/// `SplitMix64` (Steele, Lea, Flood, 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice whose seed is printed; `HAMLET_TEST_SEED` gives the one to use.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "whoever sees a failure needs the seed")]
    pub fn announced() -> Self {
        let seed = std::env::var("HAMLET_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| u64::from(std::process::id()));
        println!("HAMLET_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `sides`.
    ///
    /// # Panics
    /// When there are no sides.
    pub const fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}
