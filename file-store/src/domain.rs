//! Domains as names of folders.

/// The longest name of a folder, in bytes: the limit of common file systems.
const LONGEST: usize = 255;

/// The name of the folder of a domain: the domain itself, with its port. `None` when the domain cannot be the name of a
/// folder: it would lead out of the store, or to a hidden folder, or is too long.
#[must_use]
pub fn folder_name(domain: &str) -> Option<&str> {
    let is_plain = !domain.is_empty()
        && domain.len() <= LONGEST
        && !domain.starts_with('.')
        && !domain.contains(|it: char| it == '/' || it.is_control());
    is_plain.then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn a_domain_that_leads_elsewhere_is_no_name_of_a_folder() {
        for domain in [
            "alice.example:8080",
            "élodie.example.org",
            "a\\b.c",
            "*.foo",
        ] {
            assert_eq!(folder_name(domain), Some(domain));
        }
        let long = "a".repeat(256);
        for bad in [
            "", ".", "..", ".hidden", "a/b", "/", "../a", "a\0b", "a\nb", &long,
        ] {
            assert_eq!(folder_name(bad), None, "{bad:?}");
        }
    }
}
