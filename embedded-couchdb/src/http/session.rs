//! `/_session`

use http::{StatusCode, header};

use super::{
    app::App,
    auth::{COOKIE_SECONDS, Known, Proof},
    clock::{self, now},
    request::{ApiRequest, decode},
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
};

/// The value of the `Set-Cookie` header.
fn set_cookie(value: &str) -> String {
    let expires = clock::cookie_date(now() + COOKIE_SECONDS);
    format!(
        "AuthSession={value}; Version=1; Expires={expires}; Max-Age={COOKIE_SECONDS}; Path=/; HttpOnly"
    )
}

/// Adds a new cookie to a response if the one of the request has become old.
pub(crate) fn renew(request: &ApiRequest, response: ApiResponse) -> ApiResponse {
    match &request.caller.renewed {
        Some(cookie)
            if !response
                .headers
                .iter()
                .any(|(name, _)| *name == header::SET_COOKIE) =>
        {
            response.with(header::SET_COOKIE, set_cookie(cookie))
        }
        _ => response,
    }
}

/// `/_session`
pub(crate) async fn session(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    match request.method.as_str() {
        "GET" | "HEAD" => show(request),
        "POST" => log_in(app, request).await,
        "DELETE" => {
            let response = ApiResponse::ok(&obj([("ok", true.into())]))
                .with(header::SET_COOKIE, set_cookie(""));
            redirect(request, "next", response)
        }
        _ => Err(ApiError::method_not_allowed("GET,HEAD,POST,DELETE")),
    }
}

fn show(request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let caller = &request.caller;
    if caller.name.is_none() && request.query.get("basic") == Some("true") {
        return Err(ApiError::unauthorized("Please login."));
    }
    let handlers = Json::Arr(vec!["cookie".into(), "default".into()]);
    let mut info = vec![("authentication_handlers".to_owned(), handlers)];
    match caller.proof {
        Some(Proof::Password) => info.push(("authenticated".to_owned(), "default".into())),
        Some(Proof::Cookie) => info.push(("authenticated".to_owned(), "cookie".into())),
        None => {}
    }
    Ok(ApiResponse::ok(&obj([
        ("ok", true.into()),
        ("userCtx", obj(caller.context())),
        ("info", Json::Obj(info)),
    ])))
}

/// A name and a password, as a form or as JSON.
fn credentials(request: &ApiRequest) -> Result<(String, String), ApiError> {
    let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let (name, username, password) = if kind.starts_with("application/json") {
        let body = request.json_object()?;
        let text = |key: &str| match body.get(key) {
            None => Ok(None),
            Some(Json::Str(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::bad_request(format!("`{key}` must be a string"))),
        };
        (text("name")?, text("username")?, text("password")?)
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let body = request.body()?;
        let form = String::from_utf8_lossy(&body);
        let text = |key: &str| {
            form.split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .and_then(|(_, value)| decode(&value.replace('+', " ")))
        };
        (text("name"), text("username"), text("password"))
    } else {
        return Err(ApiError::bad_content_type(
            "Content-Type must be 'application/x-www-form-urlencoded' or 'application/json'",
        ));
    };
    let name = match (name, username) {
        (Some(name), Some(username)) if name != username => {
            return Err(ApiError::bad_request(
                "request body contains different usernames",
            ));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => {
            return Err(ApiError::bad_request(
                "request body must contain a username",
            ));
        }
    };
    Ok((name, password.unwrap_or_default()))
}

async fn log_in(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let (name, password) = credentials(request)?;
    let known = match app
        .auth
        .log_in(&app.store, request.peer, &name, &password)
        .await
    {
        Ok(known) => known,
        Err(failure) if failure.status == StatusCode::UNAUTHORIZED => {
            let refused =
                ApiResponse::from_error(&failure).with(header::SET_COOKIE, set_cookie(""));
            return redirect(request, "fail", refused);
        }
        Err(failure) => return Err(failure),
    };
    let cookie = set_cookie(&known.cookie(now()));
    let Known { caller, .. } = known;
    let [name, roles] = caller.context();
    let response =
        ApiResponse::ok(&obj([("ok", true.into()), name, roles])).with(header::SET_COOKIE, cookie);
    redirect(request, "next", response)
}

/// Sends the browser on to the path that a parameter of the query names, if it does.
fn redirect(
    request: &ApiRequest,
    parameter: &str,
    response: ApiResponse,
) -> Result<ApiResponse, ApiError> {
    let Some(path) = request.query.get(parameter) else {
        return Ok(response);
    };
    if !path.starts_with('/') {
        return Err(ApiError::bad_request("path must begin with a /."));
    }
    // With this server before it, a path of two slashes names no other one.
    let mut response = response.with(header::LOCATION, format!("{}{path}", request.base()));
    response.status = StatusCode::FOUND;
    Ok(response)
}
