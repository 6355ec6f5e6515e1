//! Finding names that occur twice in one directory, in bounded memory.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

/// How many names are remembered at once; each takes 16 bytes.
pub(crate) const REMEMBERED: usize = 100_000;

/// The names seen in one directory. Names are compared byte by byte: the composed and the decomposed form of a letter
/// are different names.
#[derive(Debug)]
pub(crate) struct Siblings {
    seen: HashSet<[u8; 16]>,
    /// The ids of entries whose name was seen before.
    twice: Vec<String>,
    /// Number of names added.
    count: usize,
    remembered: usize,
    /// The part of the names that this pass looks at, and the number of parts.
    part: (usize, usize),
}

impl Siblings {
    /// An empty set that remembers at most `remembered` names.
    pub(crate) fn new(remembered: usize) -> Self {
        Self::part(remembered, 0, 1)
    }

    fn part(remembered: usize, part: usize, parts: usize) -> Self {
        Self {
            seen: HashSet::new(),
            twice: Vec::new(),
            count: 0,
            remembered,
            part: (part, parts),
        }
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, id: &str, name: &str) {
        self.count += 1;
        let hash: [u8; 32] = Sha256::digest(name).into();
        // The first half of the hash is remembered; the other half assigns the name to a part.
        let (mut short, mut rest) = ([0; 16], [0; 16]);
        let (first, second) = hash.split_at(16);
        short.copy_from_slice(first);
        rest.copy_from_slice(second);
        let (part, parts) = self.part;
        let is_ours = u128::from_be_bytes(rest) % parts as u128 == part as u128;
        if is_ours && !self.is_too_wide() && !self.seen.insert(short) {
            // This limits memory. Further duplicates of the directory are reported by the next check.
            if self.twice.len() < self.remembered {
                self.twice.push(id.to_owned());
            }
        }
    }

    fn is_too_wide(&self) -> bool {
        self.seen.len() >= self.remembered
    }

    /// The ids of duplicates when all names fitted in memory. Otherwise the passes that are needed: the directory has
    /// to be read once more for each of them.
    pub(crate) fn finish(self) -> Result<Vec<String>, Vec<Self>> {
        if !self.is_too_wide() {
            return Ok(self.twice);
        }
        // Twice as many parts as an even distribution needs. A part that is still too large is divided again.
        let more = self.count.div_ceil(self.remembered) * 2;
        let (part, parts) = self.part;
        let divided = (0..more)
            .map(|k| Self::part(self.remembered, part + k * parts, parts * more))
            .collect();
        Err(divided)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Siblings;

    fn twice(names: &[String], siblings: Siblings) -> Vec<String> {
        let mut siblings = siblings;
        for (number, name) in names.iter().enumerate() {
            siblings.add(&format!("{number:06}"), name);
        }
        match siblings.finish() {
            Ok(twice) => twice,
            Err(parts) => parts
                .into_iter()
                .flat_map(|part| twice(names, part))
                .collect(),
        }
    }

    proptest! {
        /// A small memory limit finds the same duplicates as a large one.
        #[test]
        fn memory_bounds_the_passes_and_not_what_is_found(
            numbers in prop::collection::vec(0..200_u32, 0..300),
        ) {
            let names: Vec<String> = numbers.iter().map(u32::to_string).collect();
            let mut narrow = twice(&names, Siblings::new(40));
            narrow.sort();
            prop_assert_eq!(narrow, twice(&names, Siblings::new(1000)));
        }
    }

    #[test]
    fn different_spellings_are_different_names() {
        let names = ["\u{e9}", "e\u{301}", "E\u{301}"].map(str::to_owned);
        assert!(twice(&names, Siblings::new(1000)).is_empty());
    }
}
