//! Sources of apps: a slug, or an address of a kind that is known.

use super::text::shown;

/// Checks the form of a source. The apps service, which installs it, looks at the rest.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(source: &str) -> Result<(), String> {
    const FORMS: &str =
        "give a slug such as home, registry://SLUG/CHANNEL, file:///FOLDER, http:// or https://";
    if source.contains(char::is_whitespace) {
        return Err(format!(
            "{} holds white space; in an address write %20",
            shown(source)
        ));
    }
    match source.split_once("://") {
        // The apps service says of git that it comes later.
        Some((
            "registry" | "file" | "http" | "https" | "git" | "git+https" | "git+ssh" | "ssh+git",
            rest,
        )) => {
            if rest.is_empty() {
                return Err(format!("{} leads nowhere; {FORMS}", shown(source)));
            }
            Ok(())
        }
        Some(_) => Err(format!("{} has an unknown scheme; {FORMS}", shown(source))),
        None if source.contains(['/', '\\', '.', ':']) => Err(format!(
            "{} is neither a slug nor an address; {FORMS}",
            shown(source)
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn slugs_and_addresses_of_known_kinds_are_sources() {
        for right in [
            "home",
            "registry://home/stable",
            "file:///srv/home",
            "https://example.org/a.tgz#00",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in ["ftp://x", "http://", "./home", "example.org", "a b", "://"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
