//! Domains of instances.

use http::Uri;

/// Reads the domain of an instance: `bob.example`, `bob.localhost:8080`, or `instances/bob.example` as `-o name`
/// prints it. It is sent as it was typed; the server decides whether it is valid.
///
/// # Errors
/// When the text is obviously no domain, such as an address with `https://`.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let domain = text.strip_prefix("instances/").unwrap_or(text).trim();
    if domain.is_empty() {
        return Err("is empty; write a domain such as bob.example".to_owned());
    }
    if let Some((_, rest)) = domain.split_once("://") {
        return Err(format!(
            "is an address; write the domain alone: {}",
            rest.split('/').next().unwrap_or_default()
        ));
    }
    if domain.contains(|c: char| c == '/' || c == '@' || c.is_whitespace() || c.is_control()) {
        return Err("is no domain; write one such as bob.example or bob.localhost:8080".to_owned());
    }
    Ok(domain.to_owned())
}

/// The form in which domains are compared: ASCII, lower case, without a dot at the end, with the port.
///
/// # Errors
/// When IDNA does not allow the host.
pub(crate) fn canonical(domain: &str) -> Result<String, String> {
    let domain = domain.trim();
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let host = idna::domain_to_ascii(host)
        .map_err(|_| format!("{domain} is no domain; write one such as bob.example"))?;
    let host = host.trim_end_matches('.');
    Ok(match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The origin by which the gateway finds the instance of `domain`; `scheme` is that of the gateway.
///
/// # Errors
/// When `domain` is no domain.
pub(crate) fn origin(scheme: &str, domain: &str) -> Result<Uri, String> {
    format!("{scheme}://{}", canonical(domain)?)
        .parse()
        .map_err(|_| format!("{domain} is no domain; write one such as bob.example"))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{canonical, origin, parse};

    #[test]
    fn one_domain_has_one_canonical_form() {
        for same in [
            "bücher.example:8080",
            "BÜCHER.example:8080",
            "xn--bcher-kva.example:8080",
            "bücher.example.:8080",
        ] {
            assert_eq!(canonical(same).unwrap(), "xn--bcher-kva.example:8080");
        }
        assert_ne!(canonical("bob.example"), canonical("bob.example:8080"));
        let authority = origin("https", "Bücher.example:8080").unwrap();
        assert_eq!(authority.authority().unwrap(), "xn--bcher-kva.example:8080");
    }

    #[test]
    fn an_address_is_no_domain() {
        assert!(
            parse("https://bob.example/x")
                .unwrap_err()
                .ends_with("bob.example")
        );
        for wrong in ["", " ", "a b", "bob@example", "a/b", "a\nb"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(parse("instances/bob.example").unwrap(), "bob.example");
    }
}
