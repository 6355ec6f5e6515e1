//! All routes, and the document that describes them. Both come from the same functions.

use axum::{Router, routing::get};
use service_kit::json_api::{ErrorDocument, Json};
use utoipa::{
    Modify, OpenApi, ToSchema as _,
    openapi::{
        self, Content, HttpMethod, PathItem, Ref, RefOr, Response, SecurityRequirement,
        path::OperationBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    app_versions, auth_mode, change, contexts, count, create, debug, destroy, disk_usage, features,
    fsck, last_activity, list, magic_link, oauth_client, operation, prefix, public, sessions, show,
    token, unbuilt,
};
use crate::api::{Shared, pages};

/// What stands above the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hamlet: the JSON API of administrators",
        description = "Served at the admin door beside gRPC, over the same actions, and compatible with existing \
                       command lines. Parameters stand in the query, and an empty parameter is one that was not \
                       given."
    ),
    components(schemas(ErrorDocument)),
    modifiers(&Security, &GatewayRoutes),
    tags(
        (name = "instances", description = "The life of an instance"),
        (name = "features", description = "Values by which apps decide what they offer"),
        (name = "installation", description = "What is the same for all instances")
    )
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("The admin credential as password, with any user name"))
            .build();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The admin credential"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        document.security = Some(["basic", "bearer"].map(no_scopes).to_vec());
    }
}

fn no_scopes(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [String; 0], String>(scheme, [])
}

/// The routes of the same door that the gateway and this module answer without a handler of their own.
struct GatewayRoutes;

impl Modify for GatewayRoutes {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for (path, id, summary) in [
            ("/version", "version", "The version of the gateway"),
            ("/openapi.json", "openapi", "This document"),
        ] {
            let response = Response::builder()
                .description("An object")
                .content("application/json", Content::default());
            let operation = OperationBuilder::new()
                .operation_id(Some(id))
                .tag("installation")
                .summary(Some(summary))
                .response("200", response);
            let item = PathItem::new(HttpMethod::Get, operation);
            document.paths.paths.insert(path.to_owned(), item);
        }
    }
}

fn all() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list::list, create::create))
        .routes(routes!(count::count))
        .routes(routes!(contexts::list))
        .routes(routes!(contexts::show))
        .routes(routes!(token::create))
        .routes(routes!(show::show, change::change, destroy::destroy))
        .routes(routes!(debug::show, debug::begin, debug::end))
        .routes(routes!(auth_mode::choose))
        .routes(routes!(sessions::clean))
        .routes(routes!(magic_link::create))
        .routes(routes!(prefix::show))
        .routes(routes!(prefix::show_swift))
        .routes(routes!(operation::show))
        .routes(routes!(fsck::check))
        .routes(routes!(disk_usage::show))
        .routes(routes!(last_activity::show))
        .routes(routes!(oauth_client::register, oauth_client::search))
        .routes(routes!(app_versions::list))
        .routes(routes!(features::show_flags, features::change_flags))
        .routes(routes!(features::show_sets, features::change_sets))
        .routes(routes!(features::show_config))
        .routes(routes!(features::show_context, features::change_context))
        .routes(routes!(features::show_defaults, features::change_defaults))
        .merge(unbuilt::routes())
}

/// The routes and their document.
fn described() -> (Router<Shared>, openapi::OpenApi) {
    let (routes, mut document) = all().split_for_parts();
    add_refusals(&mut document);
    (routes, document)
}

/// Every route refuses and fails in the same form.
fn add_refusals(document: &mut openapi::OpenApi) {
    let schema = Ref::from_schema_name(ErrorDocument::name());
    let refusal = |description: &str| {
        Response::builder()
            .description(description)
            .content(
                "application/vnd.api+json",
                Content::new(Some(schema.clone())),
            )
            .build()
    };
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, description) in [("4XX", "Refused"), ("5XX", "Failed")] {
                let response = RefOr::T(refusal(description));
                responses.entry(status.to_owned()).or_insert(response);
            }
        }
    }
}

/// The routes, with the document at `/openapi.json`.
pub(crate) fn routes(shared: Shared) -> Router {
    let (routes, document) = described();
    routes
        .merge(public::routes())
        .merge(pages::routes())
        .route("/openapi.json", get(async move || Json(document)))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
