//! Names and absolute paths.
//!
//! Names are case sensitive and kept as given: the composed and the decomposed form of a letter are two different
//! names, which may exist side by side.

use super::MAX_DEPTH;

/// Why a name or path is refused. The message is written to follow the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// Nothing was given.
    #[error("is empty; give an absolute path such as /Photos")]
    Empty,
    /// It does not begin with a slash.
    #[error("is relative; give an absolute path, beginning with /")]
    Relative,
    /// Two slashes follow each other.
    #[error("has an empty part; write a single / between names")]
    EmptyName,
    /// A part is `.` or `..`.
    #[error("has a part that is . or ..; write the path without them")]
    Dots,
    /// A part holds a character that no name may hold.
    #[error("holds a character that no name may hold (/, NUL, line feed or carriage return)")]
    Character,
    /// Too many parts.
    #[error("is too deep; a path has at most 511 parts")]
    TooDeep,
}

/// Checks one name.
pub(crate) fn check_name(name: &str) -> Result<(), BadPath> {
    match name {
        "" => Err(BadPath::EmptyName),
        "." | ".." => Err(BadPath::Dots),
        _ if name.contains(['/', '\0', '\n', '\r']) => Err(BadPath::Character),
        _ => Ok(()),
    }
}

/// An absolute path without `.`, `..`, empty parts or a final slash; `/` is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AbsolutePath(String);

impl AbsolutePath {
    /// The root.
    pub(crate) fn root() -> Self {
        Self("/".to_owned())
    }

    /// Parses a path. One final slash is allowed and dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPath> {
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        let rest = text.strip_prefix('/').ok_or(BadPath::Relative)?;
        if rest.is_empty() {
            return Ok(Self::root());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        for (depth, name) in rest.split('/').enumerate() {
            check_name(name)?;
            if depth + 1 >= MAX_DEPTH {
                return Err(BadPath::TooDeep);
            }
        }
        Ok(Self(format!("/{rest}")))
    }

    /// Whether it is the root.
    pub(crate) fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of its parent directory, and its name there. `None` for the root.
    pub(crate) fn split(&self) -> Option<(Self, &str)> {
        let (parent, name) = self.0.rsplit_once('/')?;
        if name.is_empty() {
            return None;
        }
        let parent = if parent.is_empty() { "/" } else { parent };
        Some((Self(parent.to_owned()), name))
    }
}

/// The path of the entry `name` in the directory at `parent`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    format!("{}/{name}", parent.strip_suffix('/').unwrap_or(parent))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{AbsolutePath, BadPath, join};

    #[test]
    fn invalid_paths_are_refused_with_the_reason() {
        for (path, wrong) in [
            ("", BadPath::Empty),
            ("Photos", BadPath::Relative),
            ("./Photos", BadPath::Relative),
            ("//", BadPath::EmptyName),
            ("/a//b", BadPath::EmptyName),
            ("/a/..", BadPath::Dots),
            ("/../a", BadPath::Dots),
            ("/./a", BadPath::Dots),
            ("/a\0b", BadPath::Character),
            ("/a\nb", BadPath::Character),
        ] {
            assert_eq!(AbsolutePath::parse(path), Err(wrong), "{path:?}");
        }
        assert!(AbsolutePath::parse(&"/a".repeat(511)).is_ok());
        assert_eq!(
            AbsolutePath::parse(&"/a".repeat(512)),
            Err(BadPath::TooDeep)
        );
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        let path = AbsolutePath::parse("/Photos/été ..jpg/").unwrap();
        assert_eq!(path.as_str(), "/Photos/été ..jpg");
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.as_str(), name), ("/Photos", "été ..jpg"));
        let (root, name) = parent.split().unwrap();
        assert_eq!((root.as_str(), name), ("/", "Photos"));
        assert!(root.is_root());
        assert_eq!(root.split(), None);
    }

    proptest! {
        #[test]
        fn joining_and_splitting_are_inverse(parts in prop::collection::vec("[^/\0\n\r]{1,8}", 1..6)) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let joined = parts.iter().fold("/".to_owned(), |path, part| join(&path, part));
            let mut path = AbsolutePath::parse(&joined).unwrap();
            for part in parts.iter().rev() {
                let (parent, name) = path.split().unwrap();
                prop_assert_eq!(name, part);
                path = parent.clone();
            }
            prop_assert!(path.is_root());
        }
    }
}
