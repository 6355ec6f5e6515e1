//! The order of the entries of a directory.

use std::cmp::Ordering;

/// The sort key of an entry in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortKey {
    /// Its name.
    pub(crate) name: String,
    /// The id of its document.
    pub(crate) id: String,
}

impl Ord for SortKey {
    /// By name without regard to case, then by the exact name, then by id. This is a total order: no two entries of a
    /// directory compare as equal.
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = self.name.chars().flat_map(char::to_lowercase);
        let theirs = other.name.chars().flat_map(char::to_lowercase);
        ours.cmp(theirs)
            .then_with(|| self.name.cmp(&other.name))
            .then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::SortKey;

    #[test]
    fn names_are_sorted_without_regard_to_case_first() {
        let key = |name: &str, id: &str| SortKey {
            name: name.to_owned(),
            id: id.to_owned(),
        };
        let sorted = [
            key(".cozy_trash", "t"),
            key("Apple", "2"),
            key("apple", "1"),
            key("apple", "3"),
            key("Banana", "0"),
            key("été", "0"),
        ];
        let mut shuffled = sorted.clone();
        shuffled.reverse();
        shuffled.sort();
        assert_eq!(shuffled, sorted);
    }
}
