//! `hamlet files ls`.

use clap::Args;
use hamlet_proto::hamlet::files::v1::{
    File, ListChildrenRequest, file, files_service_client::FilesServiceClient,
    list_children_request,
};

use crate::{
    calls,
    error::CommandError,
    flags::global::GlobalFlags,
    output::ListPrinter,
    session::Session,
    values::{self, quota},
};

/// How many children to ask for at once.
const PAGE_SIZE: i32 = 200;

/// List a directory, sorted by name.
///
/// Columns: name, kind, size, id.
#[derive(Args, Debug)]
#[command(
    visible_alias = "list",
    after_help = "Examples:\n  hamlet files ls bob.localhost:8080\n  hamlet files ls bob.localhost:8080 /Fotos"
)]
pub(crate) struct Ls {
    /// The instance's domain.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The directory.
    #[arg(default_value = "/", value_parser = values::names::path)]
    path: String,
}

impl Ls {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        let channel = calls::channel_for(&session, &self.domain).await?;
        let mut list = ListPrinter::new(format, &["name", "kind", "size", "id"]);
        let mut page_token = String::new();
        loop {
            let request = ListChildrenRequest {
                directory: Some(list_children_request::Directory::Path(self.path.clone())),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = session
                .call(async || {
                    FilesServiceClient::new(channel.clone())
                        .list_children(request.clone())
                        .await
                })
                .await?;
            for child in &page.children {
                list.push(child, &child.path, || {
                    vec![
                        child.display_name.clone(),
                        kind(child).to_owned(),
                        size(child),
                        child.id.clone(),
                    ]
                })?;
            }
            list.flush()?;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return list.end("the directory is empty");
            }
        }
    }
}

fn kind(file: &File) -> &'static str {
    match file.r#type() {
        file::Type::Directory => "directory",
        file::Type::File => "file",
        file::Type::Unspecified => "unknown",
    }
}

fn size(file: &File) -> String {
    match file.r#type() {
        file::Type::File => quota::size(file.size_bytes),
        file::Type::Directory | file::Type::Unspecified => String::new(),
    }
}
