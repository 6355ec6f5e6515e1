//! `POST /instances/{domain}/magic_link`.

use std::collections::HashMap;

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Serialize;
use service_kit::json_api::{Administrator, Error, Json, Segments};
use utoipa::ToSchema;

use super::{parameters::refused, relayed::pass_on, show::find};
use crate::{actions::second_factor::MagicLink, api::Shared};

/// The code of a link with which the owner logs in.
#[derive(Serialize, ToSchema)]
pub(super) struct MagicLinkCode {
    /// It stands in `/auth/magic_link?code=`.
    code: String,
}

/// Makes the code of a link with which the owner of an instance logs in. It works once, for 15 minutes.
#[utoipa::path(
    post,
    path = "/instances/{domain}/magic_link",
    operation_id = "create_magic_link",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses((status = 201, description = "The code", body = MagicLinkCode, content_type = "application/json")),
)]
pub(super) async fn create(
    State(shared): State<Shared>,
    _: Administrator,
    Segments(domain): Segments<String>,
    request: Request,
) -> Result<Response, Error> {
    let found = find(&shared, &domain).await?;
    let document = &found.document.body;
    if shared.backends.of(&document.context).is_some() {
        // The link is opened there.
        let parameters = HashMap::from([("domain".to_owned(), domain)]);
        let route = "POST /instances/{domain}/magic_link";
        return pass_on(&shared, route, "magic links", &parameters, request).await;
    }
    if !document.magic_link {
        let told = "the owner does not log in with links; set magic_link first";
        return Err(Error::new(StatusCode::BAD_REQUEST, "NO_MAGIC_LINK", told));
    }
    let link = MagicLink {
        clock: &shared.clock,
        writer: shared.writer(),
    };
    let code = link.make(document).map_err(refused)?;
    Ok((StatusCode::CREATED, Json(MagicLinkCode { code })).into_response())
}
