//! `hamlet files tree`.

use clap::Args;
use hamlet_proto::hamlet::files::v1::{
    File, TreeEntry, WalkTreeRequest, file, files_service_client::FilesServiceClient,
};
use tokio_stream::StreamExt as _;

use crate::{
    calls,
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, ListPrinter, text::clean},
    session::Session,
    values, waiting,
};

/// Show a directory and all below it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet files tree bob.localhost:8080\n  hamlet files tree bob.localhost:8080 /Fotos --max-depth 1"
)]
pub(crate) struct Tree {
    /// The instance's domain.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Where to begin.
    #[arg(default_value = "/", value_parser = values::names::path)]
    path: String,
    /// How deep to go; all the way by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    max_depth: Option<i32>,
}

impl Tree {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        format.check_single()?;
        let channel = calls::channel_for(&session, &self.domain).await?;
        let request = WalkTreeRequest {
            path: self.path,
            max_depth: self.max_depth.unwrap_or_default(),
        };
        let mut entries = session
            .call(async || {
                FilesServiceClient::new(channel.clone())
                    .walk_tree(request.clone())
                    .await
            })
            .await?;
        let mut list = ListPrinter::new(format, &[]);
        while let Some(entry) = waiting::shown("reading the tree", entries.next()).await {
            let entry = entry.map_err(|status| session.stream_error(status, "tree"))?;
            let file = entry.file.clone().unwrap_or_default();
            if format.is_table() {
                output::print(&line(&entry, &file))?;
            } else {
                list.push(&entry, &file.path, Vec::new)?;
            }
        }
        Ok(())
    }
}

/// One line of a tree: indented by its depth, a directory with a final slash.
fn line(entry: &TreeEntry, file: &File) -> String {
    let depth = usize::try_from(entry.depth).unwrap_or_default();
    let name = if depth == 0 {
        &file.path
    } else {
        &file.display_name
    };
    let slash = if file.r#type() == file::Type::Directory && !name.ends_with('/') {
        "/"
    } else {
        ""
    };
    format!("{}{}{slash}\n", "  ".repeat(depth), clean(name))
}
