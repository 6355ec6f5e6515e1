//! `GET /instances`.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream};
use http::{StatusCode, header};
use serde::Deserialize;
use service_kit::json_api::{Administrator, CONTENT_TYPE, Error, JsonApi, Query, query::text};
use utoipa::IntoParams;

use super::{
    parameters::refused,
    resource::{InstanceResource, InstancesAnswer, ListMeta, NextLink},
};
use crate::{
    actions::list::{Page, Row, list as read},
    api::Shared,
    error,
};

/// How many instances are read at once.
const AT_ONCE: usize = 1000;

/// The parameters of a list. A number that is none, or not positive, is ignored, as existing tools expect.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// How many instances a page has; all without it.
    #[serde(rename = "page[limit]", deserialize_with = "text")]
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
    /// Where the page begins, from `links.next` of the page before.
    #[serde(rename = "page[cursor]", deserialize_with = "text")]
    cursor: Option<String>,
    /// How many instances are left out first.
    #[serde(rename = "page[skip]", deserialize_with = "text")]
    #[param(value_type = Option<u64>)]
    skip: Option<String>,
}

fn positive(given: Option<&String>) -> Option<usize> {
    given?.parse().ok().filter(|number| *number > 0)
}

/// Lists the instances, in the order of their creation.
#[utoipa::path(
    get,
    path = "/instances",
    operation_id = "list_instances",
    tag = "instances",
    params(ListParameters),
    responses(
        (status = 200, description = "The instances", body = InstancesAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Error> {
    let Some(limit) = positive(parameters.limit.as_ref()) else {
        return all(shared).await;
    };
    let skip = positive(parameters.skip.as_ref()).unwrap_or_default();
    let (rows, next) = rows(&shared, parameters.cursor, skip, limit).await?;
    let data = rows
        .iter()
        .map(|row| resource(&shared, row))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let links = next.map(|next| NextLink {
        next: format!("/instances?page[limit]={limit}&page[cursor]={next}"),
    });
    let meta = ListMeta { count: data.len() };
    let answer = InstancesAnswer { data, meta, links };
    Ok(JsonApi(StatusCode::OK, answer).into_response())
}

fn resource(shared: &Shared, row: &Row) -> Result<InstanceResource, error::Error> {
    InstanceResource::new(
        &row.id,
        &row.rev,
        &row.document,
        Some(&row.record),
        &shared.clock,
    )
}

/// How far a list of all instances has been written.
enum Written {
    /// This page comes next, after so many instances.
    Before(Page, usize),
    /// All of it.
    All,
}

/// All instances, as an [`InstancesAnswer`] that is written a page at a time: there may be many thousands.
async fn all(shared: Shared) -> Result<Response, Error> {
    let first = read(&shared.store, None, AT_ONCE, true).await;
    let first = first.map_err(refused)?;
    let pages = stream::try_unfold(Written::Before(first, 0), move |written| {
        write_page(shared.clone(), written)
    });
    let body = stream::iter([Ok(r#"{"data":["#.to_owned())]).chain(pages);
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The text of the next page. An error breaks the response off, so that nobody takes a part for the whole.
async fn write_page(
    shared: Shared,
    written: Written,
) -> Result<Option<(String, Written)>, error::Error> {
    let Written::Before(page, mut count) = written else {
        return Ok(None);
    };
    let mut text = String::new();
    for row in &page.rows {
        if count > 0 {
            text.push(',');
        }
        let resource = resource(&shared, row)?;
        text.push_str(&serde_json::to_string(&resource)?);
        count += 1;
    }
    if let Some(after) = page.next {
        let next = read(&shared.store, Some(&after), AT_ONCE, true).await?;
        return Ok(Some((text, Written::Before(next, count))));
    }
    let meta = serde_json::to_string(&ListMeta { count })?;
    text.push_str(&format!(r#"],"meta":{meta}}}"#));
    Ok(Some((text, Written::All)))
}

/// Up to `limit` rows after `cursor`, without the first `skip`, and the cursor of the page after them.
async fn rows(
    shared: &Shared,
    cursor: Option<String>,
    mut skip: usize,
    limit: usize,
) -> Result<(Vec<Row>, Option<String>), Error> {
    let (mut found, mut next) = (Vec::new(), cursor);
    loop {
        let wanted = limit.saturating_sub(found.len()).saturating_add(skip);
        let page = read(&shared.store, next.as_deref(), wanted.min(AT_ONCE), true)
            .await
            .map_err(refused)?;
        let mut rows = page.rows;
        let left_out = skip.min(rows.len());
        rows.drain(..left_out);
        skip -= left_out;
        found.append(&mut rows);
        next = page.next;
        if next.is_none() || found.len() >= limit {
            break;
        }
    }
    // A page that ends with the last instance has no next one.
    if let Some(after) = &next
        && shared
            .store
            .records_after(Some(after), 1)
            .await
            .map_err(|error| refused(error.into()))?
            .is_empty()
    {
        next = None;
    }
    Ok((found, next))
}
