//! Sources of apps: slugs and addresses.

/// The longest source, in bytes.
const LONGEST: usize = 1024;

/// Reads the source of an app.
///
/// # Errors
/// When the text is neither a slug nor an address of a known scheme.
pub(crate) fn source(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("an app is empty; write slugs or addresses, separated by commas".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!(
            "is longer than {LONGEST} bytes; write a slug or a shorter address"
        ));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "{text:?} holds white space; in an address write %20"
        ));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        if !matches!(scheme, "file" | "http" | "https" | "registry") {
            return Err(format!(
                "{text} has an unknown scheme; known are file://, http://, https:// and registry://SLUG/CHANNEL"
            ));
        }
        if rest.is_empty() {
            return Err(format!(
                "{text} leads nowhere; write the rest of the address"
            ));
        }
        if scheme == "file" && !rest.starts_with('/') {
            return Err(format!("{text} is not absolute; write file:///PATH"));
        }
        return Ok(text.to_owned());
    }
    if text.contains(['/', '\\', '.', ':']) {
        return Err(format!(
            "{text} is neither a slug nor an address; for a folder write file:///ABSOLUTE/PATH"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn slugs_and_addresses_are_sources() {
        for right in [
            "home",
            "my-app",
            "file:///srv/home",
            "registry://drive/stable",
            "https://example.org/a%2Cb.tgz",
        ] {
            assert_eq!(source(right).as_deref(), Ok(right));
        }
        let long = "a".repeat(1025);
        for wrong in [
            long.as_str(),
            "",
            "./home",
            "/srv/home",
            "file://srv/home",
            "ftp://x",
            "http://",
            "a b",
            "example.org",
        ] {
            assert!(source(wrong).is_err(), "{wrong:?}");
        }
    }
}
