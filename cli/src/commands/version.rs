//! `hamlet version`.

use clap::Args;
use serde_json::json;

use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, table::all_facts},
    session::Session,
};

/// Tell the versions of this program and of the server.
///
/// The server's is a dash when no server is found or none answers.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet version\n  hamlet version -o json")]
pub(crate) struct Version;

impl Version {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let client = env!("CARGO_PKG_VERSION");
        let server = match Session::find(global) {
            Ok(session) => session.server_version().await.ok(),
            Err(_) => None,
        };
        let document = json!({"client": client, "server": server});
        output::document(global.output, &document, client, || {
            all_facts(&[
                ("client", client.to_owned()),
                ("server", server.clone().unwrap_or_default()),
            ])
        })
    }
}
