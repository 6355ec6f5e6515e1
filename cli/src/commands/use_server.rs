//! `hamlet use`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    client_file::{ClientFile, Installation},
    error::CommandError,
    flags::global::GlobalFlags,
    output::{ListPrinter, say, text::clean},
    values,
};

/// Choose the installation that commands speak to, of those that have a name.
///
/// With --server and --credential-file, gives these the name first. Without a name, lists the installations. They are
/// kept in hamlet/client.json in the folder of configurations (XDG_CONFIG_HOME, or ~/.config), which holds the paths of
/// credentials and not their contents. --at NAME speaks to one without choosing it.
#[derive(Args, Debug)]
#[command(
    name = "use",
    after_help = "Examples:\n  hamlet use\n  hamlet use production --server http://127.0.0.1:6060 --credential-file /etc/hamlet/credential\n  hamlet use production\n  hamlet use --none"
)]
pub(crate) struct Use {
    /// The name of the installation.
    #[arg(value_parser = values::names::not_empty)]
    name: Option<String>,
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
        if let Some(installation) = given(global)? {
            file.installations.insert(name.clone(), installation);
        }
        file.get(&name)?;
        file.chosen = Some(name.clone());
        file.write()?;
        say(&format!("commands speak to {} now", clean(&name)));
        Ok(())
    }
}

/// The installation that the flags name; `None` without flags.
fn given(global: &GlobalFlags) -> Result<Option<Installation>, CommandError> {
    match (&global.server, &global.credential_file) {
        (Some(server), Some(file)) => Ok(Some(Installation {
            server: server.clone(),
            credential_file: absolute(file)?,
        })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(CommandError::Usage(
            "--server and --credential-file: give both, or none for a name that is known"
                .to_owned(),
        )),
    }
}

fn absolute(file: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(file).map_err(|error| {
        CommandError::Usage(format!("--credential-file: {}: {error}", file.display()))
    })
}

fn list(file: &ClientFile, global: &GlobalFlags) -> Result<(), CommandError> {
    let columns = ["name", "server", "credential", "chosen"];
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
        ])?;
    }
    list.end(
        "no installation has a name; `hamlet use NAME --server URL --credential-file FILE` gives one",
    )
}
