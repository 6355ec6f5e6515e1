//! `/auth/authorize`: the page on which an owner lets a program in, and its form.
//!
//! What is wrong with a request is told to the person, here: nobody is sent to an address that is not checked.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{AuthorizeForm, Wish};
use hamlet_proto::hamlet::apps::v1::app;
use http::StatusCode;
use identity::{
    client::{Client, parse_redirect_uri},
    grant,
};
use serde_json::json;
use service_kit::status::ServiceError as _;
use tonic::Code;
use url::Url;

use super::{
    Asked, is_onboarding,
    login::{check_csrf, refuse_body, with_csrf},
    onboarding,
    reply::{Shown, found, json_answer},
    settings::to_login_for,
    submission::Form,
};
use crate::{
    actions::oauth::Wanted,
    api::Shared,
    domain::{claim::NameKind, own_hosts, spec::InvalidField},
    error::Error,
    store::Found,
};

const PATH: &str = "/auth/authorize";

/// Whether an address is that of this page. `origin` is that of the instance.
pub(super) fn is_at(address: &str, origin: &str) -> bool {
    let rest = address
        .strip_prefix(origin)
        .and_then(|it| it.strip_prefix(PATH));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '#']))
}

/// Shows the page. A stranger has to log in first.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    let wants = wants(|name| asked.parameter(name).unwrap_or_default());
    match page(&shared, &asked, &wants).await {
        Ok(response) => response,
        Err(error) => refuse(&shared, &asked, error),
    }
}

/// The request, with the parameters from the query or the form.
fn wants(parameter: impl Fn(&str) -> String) -> grant::Asked {
    grant::Asked {
        client_id: parameter("client_id"),
        redirect_uri: parameter("redirect_uri"),
        state: parameter("state"),
        response_type: parameter("response_type"),
        scope: parameter("scope"),
        code_challenge: parameter("code_challenge"),
        code_challenge_method: parameter("code_challenge_method"),
    }
}

/// The path of the page for a request.
fn path(wants: &grant::Asked) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let given = wants.parameters();
    query.extend_pairs(given.iter().filter(|(_, value)| !value.is_empty()));
    format!("{PATH}?{}", query.finish())
}

async fn found_instance(shared: &Shared, asked: &Asked) -> Result<Found, Error> {
    let found = shared
        .store
        .found_without_settings(&asked.tenant.id, NameKind::Domain)
        .await?;
    found.ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))
}

async fn page(shared: &Shared, asked: &Asked, wants: &grant::Asked) -> Result<Response, Error> {
    let instance = found_instance(shared, asked).await?;
    let document = &instance.document.body;
    if is_onboarding(document) {
        return Ok(onboarding::waiting(shared, asked));
    }
    let oauth = shared.oauth(&asked.tenant.id, document);
    let wanted = oauth.wanted(wants).await?;
    if asked.session().is_none() {
        return Ok(to_login_for(shared, asked, &path(wants)));
    }
    if let Some(missing) = missing_app(shared, asked, &wanted).await? {
        return Ok(missing);
    }
    let csrf = asked.csrf()?;
    let wishes = wishes(shared, &instance, &wanted.scope).await?;
    let client = Client::of(&wanted.client.body);
    let (next, leads_to) = destination(&wants.redirect_uri);
    let form = AuthorizeForm {
        csrf: &csrf,
        parameters: &wants.parameters(),
        home: client.home(),
        next: &next,
        wishes: &wishes,
    };
    let more = form.html(&shared.texts, &asked.language(shared));
    let shown = Shown {
        slots: vec![("{app}", client.name().to_owned())],
        leads_to,
        ..Shown::form("authorize", StatusCode::OK, more)
    };
    with_csrf(shared, asked, document, asked.page(shared, &shown), &csrf)
}

/// The page that says which app is missing, where the program stands for one.
async fn missing_app(
    shared: &Shared,
    asked: &Asked,
    wanted: &Wanted,
) -> Result<Option<Response>, Error> {
    let Some(slug) = Client::of(&wanted.client.body).linked_app() else {
        return Ok(None);
    };
    let found = shared
        .peers
        .app(&asked.tenant, slug, app::Kind::Webapp)
        .await;
    match found {
        Ok(_) => Ok(None),
        Err(status) if status.code() == Code::NotFound => {
            let shown = Shown {
                slots: vec![("{app}", slug.to_owned())],
                ..Shown::error("authorize_app", StatusCode::CONFLICT, "APP_NOT_INSTALLED")
            };
            Ok(Some(asked.page(shared, &shown)))
        }
        Err(status) => Err(status.into()),
    }
}

/// What the program wants to do, for people.
async fn wishes(shared: &Shared, instance: &Found, scope: &str) -> Result<Vec<Wish>, Error> {
    let authentication = shared.authentication();
    let rules = authentication.rules_of_scope(&instance.document.body, scope);
    let rules = rules.await?;
    Ok(rules
        .into_iter()
        .map(|(_, rule)| Wish {
            doctype: rule.doctype,
            verbs: rule.verbs,
            only: rule.values,
            selector: rule.selector,
            reason: String::new(),
        })
        .collect())
}

/// Where the browser goes on to: in words, and as the source of a policy. A scheme alone names a program of the device.
fn destination(redirect_uri: &str) -> (String, Option<String>) {
    let Some(url) = parse_redirect_uri(redirect_uri) else {
        return (String::new(), None);
    };
    let scheme = url.scheme();
    if !matches!(scheme, "https" | "http") {
        return (format!("{scheme}:"), Some(format!("{scheme}:")));
    }
    let host = own_hosts::authority(&url).to_owned();
    // In a policy, other characters would end the source.
    let is_plain = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    let source = is_plain.then(|| format!("{scheme}://{host}"));
    (host, source)
}

/// Answers the program: it gets a code, or hears that the owner has refused.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => return refuse_body(unreadable),
    };
    if let Err((status, told)) = check_csrf(&asked, &form) {
        if asked.wants_json() {
            return json_answer(status, &json!({"error": told}));
        }
        return asked.page(&shared, &Shown::error("stale_form", status, "CSRF"));
    }
    match answer(&shared, &asked, &form).await {
        Ok(response) => response,
        Err(error) => refuse(&shared, &asked, error),
    }
}

async fn answer(shared: &Shared, asked: &Asked, form: &Form) -> Result<Response, Error> {
    let wants = wants(|name| form.get(name).to_owned());
    let instance = found_instance(shared, asked).await?;
    let document = &instance.document.body;
    let oauth = shared.oauth(&asked.tenant.id, document);
    let wanted = oauth.wanted(&wants).await?;
    if asked.session().is_none() {
        return Ok(to_login_for(shared, asked, &path(&wants)));
    }
    if let Some(missing) = missing_app(shared, asked, &wanted).await? {
        return Ok(missing);
    }
    let state = ("state", wants.state.as_str());
    if form.get("answer") == "refuse" {
        let pairs = [("error", "access_denied"), state];
        return leave(asked, &wants.redirect_uri, &pairs);
    }
    // Programs that stand for an app are told where it is, for browsers that cannot open the program.
    let app = Client::of(&wanted.client.body)
        .linked_app()
        .and_then(|slug| {
            let subdomains = shared.contexts.get(&document.context).subdomains;
            let scheme = shared.config.instance_scheme.name();
            own_hosts::of_app(slug, scheme, &asked.host, subdomains)
        });
    let code = oauth.allow(&wants, wanted).await?;
    // Old clients read the first of the two names.
    let mut pairs = vec![("access_code", code.expose()), ("code", code.expose())];
    pairs.extend(app.as_deref().map(|app| ("fallback", app)));
    pairs.push(state);
    leave(asked, &wants.redirect_uri, &pairs)
}

/// Sends the browser to the program.
fn leave(asked: &Asked, redirect_uri: &str, pairs: &[(&str, &str)]) -> Result<Response, Error> {
    let wrong = || {
        Error::Field(InvalidField {
            field: "redirect_uri".to_owned(),
            wrong: "is no address to which a browser can be sent".to_owned(),
        })
    };
    let mut url: Url = parse_redirect_uri(redirect_uri).ok_or_else(wrong)?;
    url.query_pairs_mut().extend_pairs(pairs);
    // The fragment that the browser kept from the page before must not reach the program.
    url.set_fragment(Some(""));
    Ok(if asked.wants_json() {
        json_answer(StatusCode::OK, &json!({"deeplink": url.as_str()}))
    } else {
        found(url.as_str())
    })
}

/// Tells the person what is wrong with the request.
fn refuse(shared: &Shared, asked: &Asked, error: Error) -> Response {
    let Error::Field(InvalidField { field, wrong }) = &error else {
        return asked.failed(shared, error);
    };
    let reason = format!("{field} {wrong}");
    let status = StatusCode::BAD_REQUEST;
    if asked.wants_json() {
        return json_answer(status, &json!({"error": reason}));
    }
    let reason_code = error.status().reason().to_owned();
    let shown = Shown {
        slots: vec![("{reason}", reason)],
        ..Shown::error("authorize_wrong", status, &reason_code)
    };
    asked.page(shared, &shown)
}

#[cfg(test)]
mod tests {
    use super::{destination, is_at};

    #[test]
    fn the_page_is_told_from_others() {
        let origin = "http://a.example";
        for (address, is_it) in [
            ("http://a.example/auth/authorize", true),
            ("http://a.example/auth/authorize?x=1#=", true),
            ("http://a.example/auth/authorize/sharing", false),
            ("http://a.example.evil/auth/authorize", false),
            ("http://home.a.example/auth/authorize", false),
        ] {
            assert_eq!(is_at(address, origin), is_it, "{address}");
        }
    }

    #[test]
    fn a_policy_names_where_the_form_leads() {
        for (uri, shown, source) in [
            (
                "https://app.example:8443/cb?x",
                "app.example:8443",
                Some("https://app.example:8443"),
            ),
            ("http://localhost/cb", "localhost", Some("http://localhost")),
            ("http://[::1]:80/", "[::1]", Some("http://[::1]")),
            (
                "com.example.app:/cb",
                "com.example.app:",
                Some("com.example.app:"),
            ),
            ("https://a;b/", "a;b", None),
            ("javascript:x", "", None),
        ] {
            let (host, policy) = destination(uri);
            assert_eq!((host.as_str(), policy.as_deref()), (shown, source), "{uri}");
        }
    }
}
