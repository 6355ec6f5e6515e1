//! Addresses to listen on.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// Reads `HOST:PORT`. The host is an IP address (an IPv6 one in brackets) or a name, which is looked up; the first
/// IPv4 address of a name comes before its IPv6 addresses.
///
/// # Errors
/// When the text has another form, or the name is unknown.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let form = "write HOST:PORT, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("has no port; {form}"));
    };
    if host.is_empty() || host.contains(':') {
        return Err(format!("is no address; {form}"));
    }
    let port: u16 = port
        .parse()
        .map_err(|_| format!("{port:?} is no port from 0 to 65535; {form}"))?;
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host:?} is unknown: {error}; {form}"))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.first().copied();
    first.ok_or_else(|| format!("{host:?} has no address; {form}"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses_and_names_are_read() {
        for (text, read) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(parse(text).map(|it| it.to_string()), Ok(read.to_owned()));
        }
    }

    #[test]
    fn another_form_is_refused_with_the_right_one() {
        for wrong in [
            "",
            "8080",
            ":8080",
            "localhost",
            "localhost:",
            "localhost:http",
            "localhost:65536",
            "::1:80",
            "no.such.host.invalid:80",
        ] {
            let told = parse(wrong).err().unwrap_or_default();
            assert!(told.contains("write HOST:PORT"), "{wrong:?}: {told}");
        }
    }
}
