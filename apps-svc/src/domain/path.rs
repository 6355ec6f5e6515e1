//! Paths of the files of an app.

/// The largest number of folders above a file.
const DEEPEST: usize = 32;
/// The longest path, in bytes.
const LONGEST: usize = 1024;
/// The longest name of a path segment, in bytes: the limit of common file systems.
const LONGEST_NAME: usize = 255;

/// Validates a path: names joined by `/`, none of them empty, `.` or `..`.
///
/// # Errors
/// What is wrong with the path. An invalid path is never corrected, because it suggests an attack.
pub(crate) fn plain(raw: &[u8]) -> Result<String, String> {
    let Ok(text) = std::str::from_utf8(raw) else {
        return Err("a name is not UTF-8".to_owned());
    };
    let shown = || text.chars().take(100).collect::<String>();
    if text.len() > LONGEST {
        return Err(format!(
            "the name {:?}… is longer than {LONGEST} bytes",
            shown()
        ));
    }
    if text.starts_with('/') {
        return Err(format!("the name {:?} is absolute", shown()));
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(format!(
            "the name {:?} holds a backslash or a control character",
            shown()
        ));
    }
    let text = text.trim_start_matches("./");
    let text = text.strip_suffix('/').unwrap_or(text);
    let mut names = 0;
    for name in text.split('/') {
        names += 1;
        match name {
            ".." => {
                return Err(format!(
                    "the name {:?} leads out of the app with ..",
                    shown()
                ));
            }
            "" | "." if text != "." && !text.is_empty() => {
                return Err(format!("the name {:?} holds an empty step", shown()));
            }
            _ if name.len() > LONGEST_NAME => {
                return Err(format!(
                    "the name {:?}… has a part longer than {LONGEST_NAME} bytes",
                    shown()
                ));
            }
            _ => {}
        }
    }
    if names > DEEPEST {
        return Err(format!("{:?} lies deeper than {DEEPEST} folders", shown()));
    }
    Ok(if text == "." {
        String::new()
    } else {
        text.to_owned()
    })
}

/// The path relative to `folder` (normalized; empty for the top), compared by whole names. `None` when the path is not
/// below `folder`.
pub(crate) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::path::Path;

    use proptest::prelude::*;

    use super::{below, plain};

    #[test]
    fn only_paths_below_the_app_are_accepted() {
        assert_eq!(plain(b"./assets/icon.svg").unwrap(), "assets/icon.svg");
        assert_eq!(plain(b"assets/").unwrap(), "assets");
        assert_eq!(plain(b"./").unwrap(), "");
        for bad in [
            "../a", "a/../b", "/a", "a//b", "a/./b", "a\\b", "a\nb", "..", "a/..", ".//a", "./../a",
        ] {
            assert!(plain(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(plain(&[b'a', 0xff]).is_err());
        assert!(plain("x".repeat(256).as_bytes()).is_err());
        assert!(plain("a/".repeat(40).as_bytes()).is_err());
    }

    #[test]
    fn a_folder_is_cut_off_by_whole_names() {
        assert_eq!(below("package/app.js", "package"), Some("app.js"));
        assert_eq!(below("package-extra/x.js", "package"), None);
        assert_eq!(below("package", "package"), None);
        assert_eq!(below("app.js", ""), Some("app.js"));
    }

    proptest! {
        #[test]
        fn a_plain_path_never_leaves_the_folder_it_is_joined_to(raw in "[a./\\\\é\u{0}]{0,12}") {
            if let Ok(path) = plain(raw.as_bytes()) {
                let joined = Path::new("/root").join(&path);
                prop_assert!(joined.starts_with("/root"));
                prop_assert!(!path.split('/').any(|name| name == ".."));
                prop_assert_eq!(plain(path.as_bytes()), Ok(path.clone()));
            }
        }
    }
}
