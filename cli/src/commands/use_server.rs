//! `hamlet use`.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    address, authority,
    client_file::{ClientFile, Installation},
    error::CommandError,
    flags::global::GlobalFlags,
    output::{ListPrinter, say, text::clean},
    values,
};

/// Choose the installation that commands use.
///
/// With --url and --credential, store them under NAME first, and the authority of --ca for an https server. Without a
/// name, list the installations. They are kept in hamlet/client.json in the folder of configurations (XDG_CONFIG_HOME, or
/// ~/.config), which holds the paths of files and not their contents. --at NAME uses one for a single command. HAMLET_AT,
/// HAMLET_SERVER and HAMLET_DATA come before what is chosen here; HAMLET_CA_FILE is not for installations with a name.
#[derive(Args, Debug)]
#[command(
    name = "use",
    after_help = "Examples:\n  hamlet use\n  hamlet use production --url http://127.0.0.1:6060 \\\n      --credential /etc/hamlet/credential\n  hamlet use far --url https://admin.example.org:6060 \\\n      --credential /etc/hamlet/far --ca /etc/hamlet/ca.pem\n  hamlet use production\n  hamlet use --none"
)]
pub(crate) struct Use {
    /// The name of the installation.
    #[arg(value_parser = values::names::not_empty)]
    name: Option<String>,
    /// The address of its admin door.
    #[arg(long, value_name = "URL", requires_all = ["name", "credential"])]
    url: Option<String>,
    /// The file with its admin credential.
    #[arg(long, value_name = "FILE", requires_all = ["name", "url"])]
    credential: Option<PathBuf>,
    /// Choose none: a local hamletd is looked for again.
    #[arg(long, conflicts_with_all = ["name", "forget"])]
    none: bool,
    /// Forget the name.
    #[arg(long, requires = "name")]
    forget: bool,
}

impl Use {
    /// Needs no server.
    pub(super) fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let mut file = ClientFile::read()?;
        // Of a variable, nothing is stored.
        let ca = global.ca.as_deref().filter(|_| global.typed.ca);
        if ca.is_some() && self.url.is_none() {
            return Err(CommandError::Usage(
                "--ca: is stored with a server; give NAME, --url and --credential, too".to_owned(),
            ));
        }
        let Some(name) = self.name else {
            if self.none {
                file.chosen = None;
                return file.write();
            }
            return list(&file, global);
        };
        if self.forget {
            file.forget(&name)?;
            return file.write();
        }
        if let (Some(url), Some(credential)) = (self.url, self.credential) {
            let server = address::checked("--url", &url)?;
            if let Some(ca) = ca {
                authority::check_has_use("--ca", &server)?;
                authority::check(ca, "--ca")?;
            }
            let installation = Installation {
                server,
                credential_file: absolute("--credential", &credential)?,
                ca_file: ca.map(|ca| absolute("--ca", ca)).transpose()?,
            };
            file.installations.insert(name.clone(), installation);
        }
        file.get(&name)?;
        file.chosen = Some(name.clone());
        file.write()?;
        say(&format!("commands use {} now", clean(&name)));
        let wins = ["HAMLET_AT", "HAMLET_SERVER", "HAMLET_DATA"]
            .into_iter()
            .find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
        if let Some(variable) = wins {
            say(&format!(
                "warning: {variable} is set here, and comes before what is chosen"
            ));
        }
        Ok(())
    }
}

/// The absolute path of a file that exists.
fn absolute(flag: &str, file: &Path) -> Result<PathBuf, CommandError> {
    let wrong = |why: &dyn std::fmt::Display| {
        CommandError::Usage(format!("{flag}: {}: {why}", file.display()))
    };
    let path = std::path::absolute(file).map_err(|error| wrong(&error))?;
    match path.metadata() {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err(wrong(&"is no file; give one")),
        Err(error) => Err(wrong(&error)),
    }
}

fn list(file: &ClientFile, global: &GlobalFlags) -> Result<(), CommandError> {
    let columns = ["name", "server", "credential", "chosen", "ca"];
    let mut list = ListPrinter::new(global.output, &columns);
    for (name, installation) in &file.installations {
        let chosen = file.chosen.as_ref() == Some(name);
        list.push_values(&[
            ("name", name.clone().into()),
            ("server", installation.server.clone().into()),
            (
                "credential",
                installation.credential_file.display().to_string().into(),
            ),
            ("chosen", if chosen { "yes" } else { "" }.into()),
            (
                "ca",
                installation
                    .ca_file
                    .as_ref()
                    .map(|file| file.display().to_string())
                    .unwrap_or_default()
                    .into(),
            ),
        ])?;
    }
    list.end("no installation has a name; `hamlet use NAME --url URL --credential FILE` stores one")
}
