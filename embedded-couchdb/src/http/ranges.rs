//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

/// CouchDB sends everything instead of more ranges than these.
const MOST: usize = 9;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no `Range`, or one that is not understood.
    Everything,
    /// These bytes. Each range lies inside, and none is empty.
    Ranges(Vec<Range<usize>>),
    /// At least one of the ranges lies outside.
    Unsatisfiable,
}

/// Parses the value of a `Range` header for a resource of `length` bytes.
pub(crate) fn parse(header: Option<&str>, length: usize) -> Wanted {
    let Some(list) = header.and_then(|header| header.strip_prefix("bytes=")) else {
        return Wanted::Everything;
    };
    let mut ranges = Vec::new();
    for text in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let Some(one) = parse_one(text, length) else {
            return Wanted::Everything;
        };
        let Some(range) = one else {
            return Wanted::Unsatisfiable;
        };
        ranges.push(range);
    }
    match ranges.as_slice() {
        [] => Wanted::Everything,
        // CouchDB answers an open range of everything with 200.
        [_] if list.trim() == "0-" => Wanted::Everything,
        many if many.len() > MOST => Wanted::Everything,
        _ => Wanted::Ranges(ranges),
    }
}

/// One range. `None` if it is not understood, `Some(None)` if it lies outside.
fn parse_one(text: &str, length: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = text.split_once('-')?;
    if first.is_empty() {
        let Ok(count) = last.parse::<usize>() else {
            // `--5` is a negative number of bytes.
            return last.starts_with('-').then_some(None);
        };
        let start = length.saturating_sub(count);
        return Some((count > 0 && length > 0).then_some(start..length));
    }
    let first: usize = first.parse().ok()?;
    let last: usize = if last.is_empty() {
        usize::MAX
    } else {
        last.parse().ok()?
    };
    let end = last.saturating_add(1).min(length);
    Some((first <= last && first < length).then_some(first..end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "these are lists of ranges")]

    use proptest::prelude::*;

    use super::{Wanted, parse};

    #[test]
    fn ranges_are_clipped_to_the_resource() {
        let of_23 = |header| parse(Some(header), 23);
        assert_eq!(of_23("bytes=0-4"), Wanted::Ranges(vec![0..5]));
        assert_eq!(of_23("bytes=5-"), Wanted::Ranges(vec![5..23]));
        assert_eq!(of_23("bytes=-5"), Wanted::Ranges(vec![18..23]));
        assert_eq!(of_23("bytes=0-999"), Wanted::Ranges(vec![0..23]));
        assert_eq!(of_23("bytes=-999"), Wanted::Ranges(vec![0..23]));
        assert_eq!(of_23("bytes=6-8, 0-2"), Wanted::Ranges(vec![6..9, 0..3]));
    }

    #[test]
    fn what_lies_outside_is_refused() {
        for header in [
            "bytes=23-",
            "bytes=-0",
            "bytes=0-4,50-60",
            "bytes=--5",
            "bytes=5-2",
        ] {
            assert_eq!(parse(Some(header), 23), Wanted::Unsatisfiable, "{header}");
        }
        assert_eq!(parse(Some("bytes=0-4"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in [
            "lines=0-4",
            "bytes=x-y",
            "bytes",
            "bytes=",
            "bytes=0-",
            "bytes=0-1,2-3,4-5,6-7,8-9,10-11,12-13,14-15,16-17,18-19",
        ] {
            assert_eq!(parse(Some(header), 23), Wanted::Everything, "{header}");
        }
        assert_eq!(parse(None, 23), Wanted::Everything);
    }

    proptest! {
        #[test]
        fn ranges_lie_inside(header in "(bytes=)?[-0-9, ]{0,20}", length in 0_usize..40) {
            if let Wanted::Ranges(ranges) = parse(Some(&header), length) {
                for range in ranges {
                    prop_assert!(range.start < range.end && range.end <= length);
                }
            }
        }
    }
}
