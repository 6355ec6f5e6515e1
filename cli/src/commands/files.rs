//! `hamlet files`.

use hamlet_proto::hamlet::files::v1::{
    File, ListChildrenRequest, TreeEntry, WalkTreeRequest, file,
    files_service_client::FilesServiceClient, list_children_request,
};
use tokio_stream::StreamExt as _;

use crate::{
    args::{Files, Format},
    failure::Failure,
    output::{self, List},
    session::Session,
    text::clean,
    values::quota,
};

const PAGE: i32 = 200;

pub(super) async fn run(session: &Session, format: Format, command: Files) -> Result<(), Failure> {
    match command {
        Files::Ls { domain, path } => ls(session, format, &domain, path).await,
        Files::Tree {
            domain,
            path,
            max_depth,
        } => {
            tree(
                session,
                format,
                &domain,
                path,
                max_depth.unwrap_or_default(),
            )
            .await
        }
    }
}

async fn ls(session: &Session, format: Format, domain: &str, path: String) -> Result<(), Failure> {
    let door = session.door_of(domain).await?;
    let mut list = List::new(format, &["name", "kind", "size", "id"]);
    let mut page_token = String::new();
    loop {
        let request = ListChildrenRequest {
            directory: Some(list_children_request::Directory::Path(path.clone())),
            page_size: PAGE,
            page_token,
        };
        let page = session
            .ask(async || {
                FilesServiceClient::new(door.clone())
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
            return Ok(());
        }
    }
}

async fn tree(
    session: &Session,
    format: Format,
    domain: &str,
    path: String,
    max_depth: i32,
) -> Result<(), Failure> {
    let door = session.door_of(domain).await?;
    let request = WalkTreeRequest { path, max_depth };
    let mut entries = session
        .ask(async || {
            FilesServiceClient::new(door.clone())
                .walk_tree(request.clone())
                .await
        })
        .await?;
    let mut list = List::new(format, &[]);
    while let Some(entry) = entries.next().await {
        let entry = entry.map_err(|status| session.broken_off(status, "tree"))?;
        let file = entry.file.clone().unwrap_or_default();
        if format == Format::Table {
            output::print(&line(&entry, &file))?;
        } else {
            list.push(&entry, &file.path, Vec::new)?;
        }
    }
    Ok(())
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
