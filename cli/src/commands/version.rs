//! `hamlet version`.

use clap::Args;
use serde_json::json;

use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, say, table::all_facts, text::clean},
    session::Session,
};

/// Tell the versions of this program and of the server.
///
/// The server's is a dash when no server is found or none answers; standard error says why.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet version\n  hamlet version -o json")]
pub(crate) struct Version;

impl Version {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let client = env!("CARGO_PKG_VERSION");
        let asked = match Session::find(global) {
            Ok(session) => session.server_version().await,
            Err(error) => Err(error),
        };
        let (server, why) = match asked {
            Ok(version) => (Some(version), None),
            Err(error) => (None, Some(error)),
        };
        let document = json!({"client": client, "server": server});
        output::document(global.output, &document, client, || {
            all_facts(&[
                ("client", client.to_owned()),
                ("server", server.clone().unwrap_or_default()),
            ])
        })?;
        if let Some(why) = why {
            say(&format!(
                "the server's version is not known: {}",
                clean(&why.to_string())
            ));
        }
        Ok(())
    }
}
