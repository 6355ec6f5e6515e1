//! `GET /instances`.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use service_kit::json_api::{Administrator, Error, JsonApi, Query, query::text};
use utoipa::IntoParams;

use super::{
    parameters::refused,
    resource::{InstanceResource, InstancesAnswer, ListMeta, NextLink},
};
use crate::{
    actions::list::{Row, list as read},
    api::Shared,
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
) -> Result<JsonApi<InstancesAnswer>, Error> {
    let limit = positive(parameters.limit.as_ref());
    let (rows, next) = match limit {
        None => rows(&shared, None, 0, usize::MAX).await?,
        Some(limit) => {
            let skip = positive(parameters.skip.as_ref()).unwrap_or_default();
            rows(&shared, parameters.cursor, skip, limit).await?
        }
    };
    let data = rows
        .iter()
        .map(|row| {
            InstanceResource::new(
                &row.id,
                &row.rev,
                &row.document,
                Some(&row.record),
                &shared.clock,
            )
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let links = limit.zip(next).map(|(limit, next)| NextLink {
        next: format!("/instances?page[limit]={limit}&page[cursor]={next}"),
    });
    let meta = ListMeta { count: data.len() };
    Ok(JsonApi(
        StatusCode::OK,
        InstancesAnswer { data, meta, links },
    ))
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
