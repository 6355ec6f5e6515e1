//! The routes of the original that this version does not have yet. Where the context has an admin backend, that one answers
//! them; otherwise they are answered with 501.

use std::collections::HashMap;

use axum::{
    extract::{Path, Request, State},
    routing::{MethodFilter, on},
};
use service_kit::json_api::Administrator;
use utoipa::openapi::{
    HttpMethod, OpenApi, PathItem, Required, Response,
    path::{OperationBuilder, ParameterBuilder, ParameterIn},
};
use utoipa_axum::router::OpenApiRouter;

use super::relayed::pass_on;
use crate::api::Shared;

/// Paths, their methods, and what they are for.
const UNBUILT: &[(&str, &[HttpMethod], &str)] = {
    use HttpMethod::{Delete, Get, Post};
    &[
        ("/instances/{domain}/session_code", &[Post], "session codes"),
        (
            "/instances/{domain}/session_code/check",
            &[Post],
            "checks of session codes",
        ),
        (
            "/instances/{domain}/email_verified_code",
            &[Post],
            "codes for verified mail addresses",
        ),
        ("/instances/{domain}/export", &[Post], "exports"),
        (
            "/instances/{domain}/exports/{export}/data",
            &[Get],
            "the data of exports",
        ),
        ("/instances/{domain}/import", &[Post], "imports"),
        (
            "/instances/{domain}/sharings/{sharing}/unxor/{document}",
            &[Get],
            "ids in sharings",
        ),
        (
            "/instances/{domain}/notifications",
            &[Post],
            "notifications",
        ),
        ("/instances/{domain}/checks/{check}", &[Post], "checks"),
        ("/instances/{domain}/fixers/{fixer}", &[Post], "repairs"),
        (
            "/instances/redis",
            &[Post],
            "putting triggers back into Redis",
        ),
        ("/instances/assets", &[Get, Post], "assets of contexts"),
        (
            "/instances/assets/{context}/{*name}",
            &[Delete],
            "removing assets of contexts",
        ),
    ]
};

/// These routes, with their part of the document.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    let mut document = OpenApi::default();
    let mut router = OpenApiRouter::new();
    for (path, methods, what) in UNBUILT {
        let filters = methods.iter().filter_map(filter);
        if let Some(filter) = filters.reduce(MethodFilter::or) {
            let answer = async move |State(shared): State<Shared>,
                                     _: Administrator,
                                     Path(parameters): Path<HashMap<String, String>>,
                                     request: Request| {
                let route = format!("{} {path}", request.method());
                pass_on(&shared, &route, what, &parameters, request).await
            };
            router = router.route(path, on(filter, answer));
        }
        describe(&mut document, path, methods, what);
    }
    router.get_openapi_mut().merge(document);
    router
}

fn describe(document: &mut OpenApi, path: &str, methods: &[HttpMethod], what: &str) {
    let path = path.replace("{*", "{");
    let names = path.split('/').filter_map(|segment| {
        segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
    });
    for method in methods {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(id_of(method, &path)))
            .tag("not built")
            .summary(Some(format!("Passed on to the admin backend: {what}")))
            .response(
                "2XX",
                Response::new("The answer of the admin backend of the context"),
            )
            .response(
                "501",
                Response::new("The context has none, and Hamlet does not have it"),
            );
        for name in names.clone() {
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(utoipa::schema!(String)));
            operation = operation.parameter(parameter);
        }
        let item = PathItem::new(method.clone(), operation);
        match document.paths.paths.get_mut(&path) {
            Some(known) => known.merge_operations(item),
            None => {
                document.paths.paths.insert(path.clone(), item);
            }
        }
    }
}

fn id_of(method: &HttpMethod, path: &str) -> String {
    let words: Vec<&str> = path
        .split(|it: char| !it.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    format!("{}_{}", verb(method), words.join("_"))
}

const fn verb(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Delete => "delete",
        HttpMethod::Patch => "patch",
        _ => "get",
    }
}

const fn filter(method: &HttpMethod) -> Option<MethodFilter> {
    match method {
        HttpMethod::Get => Some(MethodFilter::GET),
        HttpMethod::Post => Some(MethodFilter::POST),
        HttpMethod::Put => Some(MethodFilter::PUT),
        HttpMethod::Delete => Some(MethodFilter::DELETE),
        HttpMethod::Patch => Some(MethodFilter::PATCH),
        _ => None,
    }
}
