//! Addresses of admin doors.

use std::net::{IpAddr, SocketAddr};

use http::{Uri, uri::Authority};

use crate::error::CommandError;

/// The default address of the admin door.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:6060";

/// Whether the server at `url` is spoken to over TLS.
pub(crate) fn has_tls(url: &str) -> bool {
    url.starts_with("https://")
}

/// The address of an admin door, with its scheme. An error names `what` holds it.
///
/// # Errors
/// When it is no such address.
pub(crate) fn checked(what: &str, url: &str) -> Result<String, CommandError> {
    let url = with_scheme(url);
    check(what, &url)?;
    Ok(url)
}

/// Refuses a text that is not the address of an admin door.
///
/// # Errors
/// Begins with `what`, and says what an address looks like.
pub(crate) fn check(what: &str, url: &str) -> Result<(), CommandError> {
    let wrong = || {
        CommandError::Usage(format!(
            "{what}: {url} is no address; it looks like {DEFAULT_SERVER} or https://HOST:6060"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    if let Some(port) = uri.authority().and_then(wrong_port) {
        return Err(CommandError::Usage(format!(
            "{what}: {port:?} in {url} is no port from 1 to 65535; an address looks like {DEFAULT_SERVER} or \
             https://HOST:6060"
        )));
    }
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let named = uri
        .authority()
        .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    if matches!(uri.scheme_str(), Some("http" | "https")) && bare && named {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// What stands in the place of the port and is none.
fn wrong_port(authority: &Authority) -> Option<&str> {
    let text = authority.as_str();
    let after_host = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let port = after_host
        .strip_prefix(authority.host())?
        .strip_prefix(':')?;
    let is_one = port.parse::<u16>().is_ok_and(|port| port > 0);
    (!is_one).then_some(port)
}

/// Whether `url` leads to the address `own`; `localhost` is any loopback address.
pub(crate) fn is_same(url: &str, own: SocketAddr) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    let default_port = if has_tls(url) { 443 } else { 80 };
    authority.port_u16().unwrap_or(default_port) == own.port()
        && match host.parse::<IpAddr>() {
            Ok(ip) => ip == own.ip(),
            Err(_) => host == "localhost" && own.ip().is_loopback(),
        }
}

/// An address with its scheme: without one, it is spoken to without TLS.
pub(crate) fn with_scheme(url: &str) -> String {
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{check, is_same, with_scheme};

    #[test]
    fn a_server_may_be_named_without_its_scheme() {
        assert_eq!(with_scheme("h:1"), "http://h:1");
        assert_eq!(with_scheme("https://h"), "https://h");
    }

    #[test]
    fn a_found_credential_is_for_its_own_server_only() {
        let own = "127.0.0.1:6060".parse().unwrap();
        for same in ["http://127.0.0.1:6060", "http://localhost:6060/"] {
            assert!(is_same(same, own), "{same}");
        }
        for other in [
            "http://127.0.0.1:6061",
            "http://127.0.0.2:6060",
            "http://example.org:6060",
            "http://127.0.0.1",
        ] {
            assert!(!is_same(other, own), "{other}");
        }
        assert!(is_same("http://[::1]:7", "[::1]:7".parse().unwrap()));
        assert!(is_same("https://localhost:6060", own));
        let usual = "127.0.0.1:443".parse().unwrap();
        assert!(is_same("https://localhost", usual) && !is_same("http://localhost", usual));
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for wrong in [
            "http://",
            "https://",
            "https://h:1/x",
            "ftp://h",
            "http://u:p@h:1",
            "http://h:1/x",
            "http://h?x",
        ] {
            assert!(check("--server", wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "http://h:yy",
            "http://h:0",
            "http://h:",
            "http://[::1]:65536",
        ] {
            let told = check("HAMLET_SERVER", wrong).unwrap_err().to_string();
            assert!(
                told.starts_with("HAMLET_SERVER: ") && told.contains("is no port"),
                "{told}"
            );
        }
        for right in ["http://h:1", "https://h", "https://[::1]:6060/"] {
            assert!(check("--server", right).is_ok(), "{right}");
        }
    }
}
