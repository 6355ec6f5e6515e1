//! `/_session`

use http::{StatusCode, header};

use super::{
    app::App,
    auth::{COOKIE_SECONDS, Caller, wrong_credentials},
    clock::now,
    request::{ApiRequest, decode},
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
};

fn set_cookie(value: &str, seconds: i64) -> String {
    format!("AuthSession={value}; Version=1; Max-Age={seconds}; Path=/; HttpOnly")
}

/// `/_session`
pub(crate) fn session(
    app: &App,
    request: &ApiRequest,
    caller: Caller,
) -> Result<ApiResponse, ApiError> {
    match request.method.as_str() {
        "GET" | "HEAD" => {
            let known = caller != Caller::Nobody;
            let name = if known {
                Json::from(app.auth.user.as_str())
            } else {
                Json::Null
            };
            let roles = if known {
                vec!["_admin".into()]
            } else {
                Vec::new()
            };
            let mut info = vec![(
                "authentication_handlers".to_owned(),
                Json::Arr(vec!["cookie".into(), "default".into()]),
            )];
            match caller {
                Caller::ByPassword => info.push(("authenticated".to_owned(), "default".into())),
                Caller::ByCookie => info.push(("authenticated".to_owned(), "cookie".into())),
                Caller::Nobody => {}
            }
            Ok(ApiResponse::ok(&obj([
                ("ok", true.into()),
                ("userCtx", obj([("name", name), ("roles", roles.into())])),
                ("info", Json::Obj(info)),
            ])))
        }
        "POST" => log_in(app, request),
        "DELETE" => Ok(ApiResponse::ok(&obj([("ok", true.into())]))
            .with(header::SET_COOKIE, set_cookie("", COOKIE_SECONDS))),
        _ => Err(ApiError::method_not_allowed("GET,HEAD,POST,DELETE")),
    }
}

fn log_in(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let (user, password) = if kind.starts_with("application/json") {
        let body = request.json_object()?;
        let text = |key| {
            body.get(key)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let user = if body.get("name").is_some() {
            text("name")
        } else {
            text("username")
        };
        (user, text("password"))
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let body = request.body()?;
        let form = String::from_utf8_lossy(&body);
        let text = |key: &str| {
            form.split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .and_then(|(_, value)| decode(value))
        };
        (
            text("name")
                .or_else(|| text("username"))
                .unwrap_or_default(),
            text("password").unwrap_or_default(),
        )
    } else {
        return Err(ApiError::bad_content_type(
            "Content-Type must be application/x-www-form-urlencoded or application/json",
        ));
    };
    if !app.auth.accepts(&user, &password) {
        return Ok(ApiResponse::from_error(&wrong_credentials())
            .with(header::SET_COOKIE, set_cookie("", COOKIE_SECONDS)));
    }
    let response = obj([
        ("ok", true.into()),
        ("name", user.into()),
        ("roles", Json::Arr(vec!["_admin".into()])),
    ]);
    let response = ApiResponse::json(StatusCode::OK, &response).with(
        header::SET_COOKIE,
        set_cookie(&app.auth.cookie(now()), COOKIE_SECONDS),
    );
    match request.query.get("next") {
        Some(next) => {
            let mut response = response.with(header::LOCATION, format!("{}{next}", request.base()));
            response.status = StatusCode::FOUND;
            Ok(response)
        }
        None => Ok(response),
    }
}
