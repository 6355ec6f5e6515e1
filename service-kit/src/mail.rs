//! How the mail of a context is sent, in `hamlet.toml`.
//!
//! ```toml
//! [contexts.default.mail]
//! server = "smtp.example.org"
//! user = "clouds"
//! password_file = "/run/secrets/smtp"
//! from = "Our clouds <noreply@example.org>"
//! ```

use std::{net::IpAddr, path::PathBuf};

use serde::Deserialize;

/// How the way to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// The connection changes to TLS before anything else is said.
    #[default]
    StartTls,
    /// TLS from the first byte on.
    Tls,
    /// No TLS: for a server on this machine.
    None,
}

impl MailSecurity {
    /// The usual port.
    const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// The mail server of a context, and whose mail it sends.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Table")]
pub struct MailSettings {
    /// The name or address of the server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: MailSecurity,
    /// The name under which mail is handed over; `None` where the server asks for none.
    pub user: Option<String>,
    /// The file with the password of that name. Only the service that sends mail needs it.
    pub password_file: Option<PathBuf>,
    /// Who sends the mail: an address, or a name with an address in angle brackets.
    pub from: String,
    /// To whom an answer goes, if not to the sender.
    pub reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    server: String,
    port: Option<u16>,
    #[serde(default)]
    security: MailSecurity,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
    reply_to: Option<String>,
}

impl TryFrom<Table> for MailSettings {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let server = table.server;
        let is_name = !server.is_empty()
            && server
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || ".-:".contains(it));
        if !is_name {
            return Err(
                "mail.server: is no name of a server; it looks like smtp.example.org".to_owned(),
            );
        }
        if table.port == Some(0) {
            return Err(
                "mail.port: is 0; leave it out for the usual one, or give that of the server"
                    .to_owned(),
            );
        }
        if table.security == MailSecurity::None && !is_this_machine(&server) {
            return Err(format!(
                "mail.security: is \"none\", and {server} is another machine: everybody on the way could read the links; \
                 use \"starttls\" or \"tls\""
            ));
        }
        for (key, address) in [
            ("from", Some(&table.from)),
            ("reply_to", table.reply_to.as_ref()),
        ] {
            if address.is_some_and(|address| !is_sender(address)) {
                return Err(format!(
                    "mail.{key}: is no mail address; it looks like \"Our clouds <noreply@example.org>\""
                ));
            }
        }
        match (&table.user, &table.password_file) {
            (Some(_), None) => {
                return Err("mail.user: has no password beside it; add password_file".to_owned());
            }
            (None, Some(_)) => {
                return Err("mail.password_file: has no name beside it; add user".to_owned());
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        Ok(Self {
            port: table.port.unwrap_or_else(|| table.security.port()),
            server,
            security: table.security,
            user: table.user,
            password_file: table.password_file,
            from: table.from,
            reply_to: table.reply_to,
        })
    }
}

fn is_this_machine(server: &str) -> bool {
    server.eq_ignore_ascii_case("localhost")
        || server.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// Whether a text may name a sender. Whoever sends the mail reads it in full.
fn is_sender(text: &str) -> bool {
    const LONGEST: usize = 320;
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>'),
        None => Some(text),
    };
    text.len() <= LONGEST
        && !text.contains(char::is_control)
        && address.is_some_and(|address| {
            address
                .rsplit_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
                && !address.contains(char::is_whitespace)
        })
}

#[cfg(test)]
mod tests {
    use super::{MailSecurity, MailSettings};

    fn read(lines: &str) -> Result<MailSettings, String> {
        toml::from_str(lines).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn the_usual_port_is_that_of_the_protection() {
        for (security, port) in [("starttls", 587), ("tls", 465), ("none", 25)] {
            let read = read(&format!(
                "server = 'localhost'\nfrom = 'a@b.example'\nsecurity = '{security}'"
            ));
            assert_eq!(read.map(|it| it.port), Ok(port));
        }
        let usual = read("server = 'smtp.example.org'\nfrom = 'Us <a@b.example>'");
        assert_eq!(usual.map(|it| it.security), Ok(MailSecurity::StartTls));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (lines, told) in [
            ("from = 'a@b'", "server"),
            ("server = ''\nfrom = 'a@b'", "mail.server"),
            ("server = 'smtp://a'\nfrom = 'a@b'", "mail.server"),
            ("server = 'a'\nfrom = 'nobody'", "mail.from"),
            ("server = 'a'\nfrom = 'Us <a@b'", "mail.from"),
            (
                "server = 'a'\nfrom = 'a@b'\nreply_to = 'x'",
                "mail.reply_to",
            ),
            ("server = 'a'\nfrom = 'a@b'\nport = 0", "mail.port"),
            (
                "server = 'a.example'\nfrom = 'a@b'\nsecurity = 'none'",
                "another machine",
            ),
            ("server = 'a'\nfrom = 'a@b'\nsecurity = 'ssl'", "ssl"),
            (
                "server = 'a'\nfrom = 'a@b'\nuser = 'x'",
                "add password_file",
            ),
            (
                "server = 'a'\nfrom = 'a@b'\npassword_file = '/x'",
                "add user",
            ),
            ("server = 'a'\nfrom = 'a@b'\npassword = 'x'", "password"),
        ] {
            let refused = read(lines).err().unwrap_or_default();
            assert!(refused.contains(told), "{lines}: {refused}");
        }
    }
}
