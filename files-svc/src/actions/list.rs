//! Lists a directory, page by page.

use crate::{
    domain::{cursor::Cursor, node::Node},
    error::Error,
    store::Store,
};

const DEFAULT_PAGE: i32 = 100;
const GREATEST_PAGE: i32 = 1000;

/// A page of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its files and directories, sorted by name.
    pub(crate) nodes: Vec<Node>,
    /// The token of the next page; empty at the end.
    pub(crate) next: String,
}

/// Lists the children of a directory, sorted by name, from the page that `token` names.
///
/// # Errors
/// [`Error::Field`] for a negative page size, or for a token that does not belong to this directory;
/// [`Error::NotADirectory`].
pub(crate) async fn list(
    store: &Store,
    directory: Node,
    page_size: i32,
    token: &str,
) -> Result<Page, Error> {
    let size = match page_size {
        0 => DEFAULT_PAGE,
        wanted => wanted.min(GREATEST_PAGE),
    };
    let size = usize::try_from(size)
        .map_err(|_| Error::field("page_size", "is negative; give 1 to 1000, or 0 for 100"))?;
    let cursor = match token {
        "" => None,
        token => Some(Cursor::from_token(token).ok_or_else(|| {
            Error::field(
                "page_token",
                "is no token of a page; give the next_page_token of the page before, or nothing",
            )
        })?),
    };
    if !directory.fields.is_directory() {
        return Err(Error::NotADirectory(directory.path));
    }
    if let Some(cursor) = &cursor
        && cursor.directory != directory.id
    {
        return Err(Error::field(
            "page_token",
            "belongs to another directory; give the next_page_token of the page before, or nothing",
        ));
    }
    let places = store.children(&directory.id).await?;
    let begin = cursor.map_or(0, |cursor| {
        places.partition_point(|place| *place <= cursor.last)
    });
    let rest = places.get(begin..).unwrap_or_default();
    let page = rest.get(..size).unwrap_or(rest);
    let next = match page.last() {
        Some(last) if page.len() < rest.len() => Cursor {
            directory: directory.id.clone(),
            last: last.clone(),
        }
        .to_token(),
        _ => String::new(),
    };
    let nodes = store.nodes(page, &directory).await?;
    Ok(Page { nodes, next })
}
