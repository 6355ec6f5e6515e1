//! Listing operations, the newest first, a page at a time.

use couch::Document;
use futures::TryStreamExt as _;

use crate::{
    domain::{operation_filter::OperationFilter, spec::InvalidField, time::Time},
    error::Error,
    operations::{Engine, Operation},
};

/// How many operations a page looks at, at most.
const LOOKED_AT_MOST: usize = 5000;
/// How many to read at once when the filter shows few of them.
const READ_AT_ONCE: usize = 500;

/// A page of the list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The operations.
    pub operations: Vec<Document<Operation>>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// Lists the operations that `filter` shows, beginning after `token`, the position of the last one of the previous
/// page.
///
/// Reads one page and the operations accepted at the very time at which the page begins. With a filter, it reads up to
/// [`LOOKED_AT_MOST`] operations, so a page may have fewer than `size`, or none, and yet have a next one.
///
/// # Errors
/// When `token` is not valid.
pub(crate) async fn list(
    engine: &Engine,
    token: &str,
    size: usize,
    filter: &OperationFilter,
) -> Result<Page, Error> {
    let after = parse(token)?;
    // Unfinished operations are few and have an index of their own.
    let open = filter.done == Some(false);
    let until = after.map(|(created_at, _)| created_at);
    let is_sparse = filter.name.is_some() || filter.kind.is_some();
    let read_at_once = match is_sparse {
        true => READ_AT_ONCE,
        false => size.saturating_add(1),
    };
    let mut found = std::pin::pin!(engine.log().newest(until, open, read_at_once));
    let mut operations = Vec::new();
    let mut looked_at = 0;
    let mut last = None;
    let mut more = false;
    while let Some(mut operation) = found.try_next().await? {
        if looked_at == LOOKED_AT_MOST {
            more = true;
            break;
        }
        if !operation.body.phase.is_end() {
            // A list may lag. An operation whose end was reported must appear as ended here.
            match engine.follow(&operation.id) {
                Some(driven) => operation.body = (**driven.borrow()).clone(),
                None => match engine.log().read(&operation.id).await? {
                    Some(now) => operation = now,
                    None => continue,
                },
            }
        }
        let seen = after.is_some_and(|(created_at, id)| {
            operation.body.created_at == created_at && operation.id.as_str() >= id
        });
        if seen {
            continue;
        }
        let wanted = filter.shows(&operation.body, operation.body.kind());
        if wanted && operations.len() == size {
            more = true;
            break;
        }
        looked_at += 1;
        last = Some(format!("{}!{}", operation.body.created_at, operation.id));
        if wanted {
            operations.push(operation);
        }
    }
    let next = last.filter(|_| more);
    Ok(Page { operations, next })
}

/// Parses an operation's position in the list: the time of acceptance, and the id.
fn parse(token: &str) -> Result<Option<(Time, &str)>, InvalidField> {
    if token.is_empty() {
        return Ok(None);
    }
    token
        .split_once('!')
        .filter(|(_, id)| id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .and_then(|(created_at, id)| Some((created_at.parse().ok()?, id)))
        .map(Some)
        .ok_or_else(|| InvalidField {
            field: "page_token".to_owned(),
            wrong: "is not one that this server gave; use the next_page_token of the page before"
                .to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::{Time, parse};

    #[test]
    fn a_page_token_holds_the_position_of_an_operation() {
        let accepted = Time::from_unix(1_767_225_600, 123_456_000).unwrap_or(Time::MIN);
        assert_eq!(
            parse(&format!("{accepted}!abc")).ok().flatten(),
            Some((accepted, "abc"))
        );
        assert_eq!(parse("").ok(), Some(None));
        for wrong in [
            "x",
            "!abc",
            "yesterday!abc",
            "2026-01-01T00:00:00.000000Z!a/b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
