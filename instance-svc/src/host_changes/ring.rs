//! The latest changes, in the order in which this replica read them.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use crate::domain::outdated::Outdated;

/// A place in the changes that a run of the feeds has read: the resume token of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The run. Its number is random, so no other replica has the same.
    pub(crate) run: u64,
    /// How many changes precede the place.
    pub(crate) at: u64,
}

impl Position {
    /// Reads a token; `None` if no replica made it.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let (run, at) = token.split_once('-')?;
        Some(Self {
            run: u64::from_str_radix(run, 16).ok()?,
            at: at.parse().ok()?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.at)
    }
}

/// A bounded number of changes, the latest ones.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// How many changes there have been.
    end: u64,
    kept: VecDeque<Outdated>,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            end: 0,
            kept: VecDeque::new(),
        }
    }

    /// How many changes there have been.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn push(&mut self, change: Outdated) {
        if self.kept.len() >= self.capacity {
            self.kept.pop_front();
        }
        self.kept.push_back(change);
        self.end += 1;
    }

    /// The changes after `at`, each once; `None` if some of them are gone.
    pub(super) fn after(&self, at: u64) -> Option<Vec<Outdated>> {
        let missing = usize::try_from(self.end.checked_sub(at)?).ok()?;
        let skip = self.kept.len().checked_sub(missing)?;
        let mut known = HashSet::new();
        let changes = self.kept.iter().skip(skip);
        Some(changes.filter(|it| known.insert(*it)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, Ring};
    use crate::domain::outdated::Outdated;

    #[test]
    fn a_token_is_read_back_and_anything_else_is_none() {
        let position = Position {
            run: 0xfedc,
            at: 42,
        };
        assert_eq!(Position::parse(&position.to_string()), Some(position));
        for other in ["", "-", "1", "xyz-1", "1-", "1--1"] {
            assert_eq!(Position::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_follows_a_place_is_told_once_and_what_is_gone_is_not_guessed() {
        let mut ring = Ring::new(3);
        let [a, b] = ["a", "b"].map(Outdated::host);
        for change in [&a, &b, &a] {
            ring.push(change.clone());
        }
        assert_eq!(ring.after(3), Some(vec![]));
        assert_eq!(ring.after(2), Some(vec![a.clone()]));
        assert_eq!(ring.after(0), Some(vec![a.clone(), b.clone()]));
        ring.push(b.clone());
        assert_eq!(ring.after(0), None);
        assert_eq!(ring.after(1), Some(vec![b, a]));
        assert_eq!(ring.after(5), None, "it has not happened yet");
    }
}
