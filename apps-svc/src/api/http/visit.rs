//! A request to the host of an app.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use hamlet_pages::{FAVICON, FAVICON_PATH};
use hamlet_proto::hamlet::instance::v1::{Operator, Tenant};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use service_kit::caller::Caller;
use tonic::Status;
use url::form_urlencoded;

use super::{
    file,
    page::Page,
    refusal::{Refusal, Why},
};
use crate::{
    actions::{
        Shared,
        open::{Opened, open},
        page::is_logged_in,
    },
    domain::{addresses::Addresses, app_type::AppType, policy::policy, routes, slug},
    error::Error,
};

/// What search engines are told by an app that says nothing itself.
const ROBOTS: &str = "User-agent: *\nDisallow: /\n";
/// Slugs of apps that existed once. Old links to them lead to the start page.
const FORMER: [&str; 2] = ["collect", "onboarding"];
/// The app in which others are found.
const STORE: &str = "store";

/// A request to the host of an app.
pub(super) struct Visit<'a> {
    pub(super) shared: &'a Shared,
    pub(super) caller: &'a Caller,
    pub(super) tenant: &'a Tenant,
    pub(super) head: &'a Parts,
    pub(super) slug: &'a str,
    /// Where the app and its instance were reached.
    pub(super) at: Addresses,
    /// Whether the owner makes it, in a browser.
    pub(super) is_logged_in: bool,
}

impl<'a> Visit<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// When the gateway did not send what it has to.
    pub(super) fn of(
        shared: &'a Shared,
        caller: &'a Caller,
        head: &'a Parts,
    ) -> Result<Self, Status> {
        let tenant = caller.tenant()?;
        let slug = caller.app().unwrap_or_default();
        // HTTP/2 has the host in the address.
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
        let subdomains = shared.sources.contexts.get(&tenant.context).subdomains;
        let at = Addresses::of(host.unwrap_or_default(), slug, subdomains, &tenant.url)
            .ok_or_else(|| Status::internal("the address of the instance cannot be read"))?;
        Ok(Self {
            shared,
            caller,
            tenant,
            head,
            slug,
            at,
            is_logged_in: is_logged_in(caller),
        })
    }

    /// Answers it.
    pub(super) async fn answer(&self) -> Response {
        let mut response = match self.find().await {
            Ok(response) => response,
            Err(why) => Refusal {
                why,
                slug: self.slug,
                start: self.at.instance_origin(),
                locale: &self.tenant.locale,
                operator: self.operator(),
                headers: &self.head.headers,
            }
            .response(),
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !headers.contains_key(CONTENT_SECURITY_POLICY)
            && let Ok(policy) = self.policy(&[]).try_into()
        {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        if self.head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// The policy of the app, which may also embed the pages of `apps`.
    pub(super) fn policy(&self, apps: &[String]) -> String {
        let frames = match self.at.siblings() {
            Some(all) => vec![all],
            None => apps
                .iter()
                .map(|slug| self.at.sibling_origin(slug))
                .collect(),
        };
        policy(&self.at, &frames)
    }

    /// An installed web app of the instance.
    async fn app(&self, slug: &str) -> Result<Option<Arc<Opened>>, Error> {
        open(self.shared, self.tenant, AppType::Webapp, slug).await
    }

    async fn find(&self) -> Result<Response, Why> {
        if ![Method::GET, Method::HEAD].contains(&self.head.method) {
            return Err(Why::Method);
        }
        if slug::wrong(self.slug).is_some() {
            return Err(Why::Slug);
        }
        let path = routes::path_of(self.head.uri.path()).ok_or(Why::NoFile)?;
        let Some(app) = self.app(self.slug).await? else {
            return match self.default_of(&path) {
                Ok(response) => Ok(response),
                Err(_) => self.elsewhere().await,
            };
        };
        let (true, Some(files)) = (app.is_ready(), app.files.clone()) else {
            return Err(Why::NotReady);
        };
        let Some(found) = app.routes.find(&path) else {
            return self.default_of(&path);
        };
        let file = found.file().and_then(|file| {
            let leaf = files.get(&file)?;
            Some((leaf, file))
        });
        if !found.route.is_public && !self.is_logged_in {
            return match self.default_of(&path) {
                Ok(response) => Ok(response),
                Err(_) if found.is_index() => Ok(self.to_login()),
                Err(_) => Err(Why::LogIn),
            };
        }
        let Some((leaf, name)) = file else {
            return self.default_of(&path);
        };
        if found.is_index() {
            let page = Page {
                visit: self,
                app: &app,
                is_public: found.route.is_public,
            };
            return page.answer(leaf).await;
        }
        let file = file::File {
            leaf,
            is_immutable: routes::is_immutable(&name),
            is_public: found.route.is_public,
        };
        file.answer(&self.shared.contents, self.head).await
    }

    /// Who runs the installation, for those whom a page cannot help.
    fn operator(&self) -> Option<Operator> {
        let contexts = &self.shared.sources.contexts;
        let operator = contexts.operator(&self.tenant.context)?;
        Some(Operator {
            name: operator.name,
            contact: operator.contact,
            link: operator.link,
        })
    }

    /// What is at a path for which the app has nothing.
    fn default_of(&self, path: &str) -> Result<Response, Why> {
        if [FAVICON_PATH, "/favicon.ico"].contains(&path) {
            let kept = (CACHE_CONTROL, "max-age=86400");
            let length = (CONTENT_LENGTH, HeaderValue::from(FAVICON.len()));
            let headers = [(CONTENT_TYPE, "image/svg+xml"), kept];
            return Ok((headers, [length], FAVICON).into_response());
        }
        if path != "/robots.txt" {
            return Err(Why::NoFile);
        }
        let kind = (CONTENT_TYPE, "text/plain; charset=utf-8");
        let length = (CONTENT_LENGTH, HeaderValue::from(ROBOTS.len()));
        Ok(([kind], [length], ROBOTS).into_response())
    }

    /// Where to go for an app that is not installed.
    async fn elsewhere(&self) -> Result<Response, Why> {
        if FORMER.contains(&self.slug) {
            // The start page leads to the app that the owner sees first.
            let start = format!("{}/", self.at.instance_origin());
            return Ok(redirect(StatusCode::MOVED_PERMANENTLY, &start));
        }
        let accepted = self.head.headers.get(http::header::ACCEPT);
        let is_person = accepted
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
        // The store knows which apps there are, and says so itself.
        if is_person && self.slug != STORE && self.app(STORE).await?.is_some() {
            let store = self.at.sibling_origin(STORE);
            let to = format!("{store}/#/discover/{}", self.slug);
            return Ok(redirect(StatusCode::TEMPORARY_REDIRECT, &to));
        }
        Err(Why::NotInstalled)
    }

    /// Leads to the page on which the owner logs in, and from there back.
    fn to_login(&self) -> Response {
        let path = self.head.uri.path_and_query();
        let here = format!(
            "{}{}",
            self.at.app_origin(),
            path.map_or("/", http::uri::PathAndQuery::as_str)
        );
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(jwt) = self.parameter("jwt") {
            query.append_pair("jwt", &jwt);
        }
        query.append_pair("redirect", &here);
        let login = format!(
            "{}/auth/login?{}",
            self.at.instance_origin(),
            query.finish()
        );
        redirect(StatusCode::FOUND, &login)
    }

    /// A parameter of the query that is not empty.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .find(|(it, value)| it == name && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    }
}

/// An answer that leads elsewhere. Who is logged in decides, so nobody may keep it.
fn redirect(status: StatusCode, to: &str) -> Response {
    const HEADERS: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    // An address that came in as one, or is made of hosts and slugs, can stand in a header.
    let Ok(location) = HeaderValue::try_from(to) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (status, HEADERS, [(LOCATION, location)]).into_response()
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}
