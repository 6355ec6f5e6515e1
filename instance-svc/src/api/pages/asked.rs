//! A request for a page, and the page that answers it.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use hamlet_pages::{
    Text,
    accept::{self, MediaType},
    footer,
};
use hamlet_proto::hamlet::instance::v1::Tenant;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
        RETRY_AFTER, USER_AGENT, VARY, X_FRAME_OPTIONS,
    },
    request::Parts,
};
use identity::{
    secrets::{CSRF_COOKIE, DEVICE_COOKIE, Device, is_csrf, new_csrf},
    tries::Guesser,
};
use serde_json::json;
use service_kit::{caller::Caller, json_api};
use tonic::Status;

use super::{
    cookies::{self, SetCookie},
    reply::{Shown, common, error_document, json_answer, set},
};
use crate::{
    actions::{
        authenticate::{ProvenWith, Who},
        begin_session::{Begun, Visitor},
        landing::landing,
    },
    api::Shared,
    domain::{
        instance::InstanceDocument,
        own_hosts::{self, BadAddress},
        token::Audience,
    },
    error::Error,
    messages,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request for a page of an instance.
pub(in crate::api) struct Asked {
    pub(in crate::api) tenant: Tenant,
    /// Who calls; `None` for a stranger.
    pub(in crate::api) who: Option<Who>,
    /// The host as the browser sent it: ASCII, with its port.
    pub(in crate::api) host: String,
    pub(in crate::api) address: IpAddr,
    pub(in crate::api) headers: HeaderMap,
    pub(in crate::api) query: String,
}

impl FromRequestParts<Shared> for Asked {
    type Rejection = json_api::Error;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, json_api::Error> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .ok_or_else(|| Status::internal("the routes were served without authentication"))?;
        let text = |name: &HeaderName| {
            let value = parts.headers.get(name);
            value.and_then(|it| it.to_str().ok()).unwrap_or_default()
        };
        let tenant = caller.tenant()?.clone();
        let host = match text(&HOST) {
            "" => tenant.domain.clone(),
            host => host.to_owned(),
        };
        // The gateway wrote it: the client is the first.
        let address = text(&X_FORWARDED_FOR).split(',').next().unwrap_or_default();
        Ok(Self {
            who: caller.identity().and_then(messages::who),
            tenant,
            host,
            address: address
                .trim()
                .parse()
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            headers: parts.headers.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
        })
    }
}

impl Asked {
    /// The first value of a parameter of the query.
    pub(in crate::api) fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The session of the browser; `None` for a stranger.
    pub(in crate::api) fn session(&self) -> Option<&str> {
        let who = self.who.as_ref()?;
        (who.proven_with == ProvenWith::Session).then_some(&who.session)
    }

    /// Where the owner is.
    pub(in crate::api) fn visitor(&self) -> Visitor {
        let user_agent = self.headers.get(USER_AGENT);
        Visitor {
            address: self.address,
            user_agent: user_agent
                .and_then(|it| it.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Who tries a passphrase of the instance.
    pub(in crate::api) fn guesser(&self, document: &InstanceDocument) -> Guesser<'_> {
        Guesser {
            address: self.address,
            instance: &self.tenant.id,
            device: self.device(document),
        }
    }

    /// Counts a try to guess a register token, which is not taken back.
    pub(in crate::api) async fn count_try(&self, shared: &Shared) -> Result<(), Error> {
        let document = super::document(shared, self).await?.body;
        shared
            .tries
            .begin(self.guesser(&document), std::time::Instant::now())
            .map_err(|wait| Error::TooManyTries { wait })
    }

    /// Whether the owner has logged in from the browser before.
    pub(super) fn is_known(&self, document: &InstanceDocument) -> bool {
        self.device(document).is_some()
    }

    /// The browser, when the owner has logged in from it before.
    pub(super) fn device(&self, document: &InstanceDocument) -> Option<Device> {
        let key = document.token_key(Audience::App)?;
        Device::open(&key, cookies::read(&self.headers, DEVICE_COOKIE)?)
    }

    /// Whether compatible clients mean that they want JSON: nothing else may stand in `Accept`.
    pub(in crate::api) fn wants_json(&self) -> bool {
        self.headers
            .get(ACCEPT)
            .is_some_and(|accept| accept == "application/json")
    }

    /// Whether a page is preferred to what programs read.
    pub(in crate::api) fn wants_page(&self) -> bool {
        accept::media_type(&self.headers, MediaType::Json) == MediaType::Html
    }

    pub(in crate::api) fn language(&self, shared: &Shared) -> String {
        accept::language(&self.headers, |language| shared.texts.knows(language))
            .unwrap_or_else(|| shared.texts.language_of(&self.tenant.locale).to_owned())
    }

    /// An address on the host of the request.
    pub(in crate::api) fn url(&self, shared: &Shared, path: &str) -> String {
        let scheme = shared.config.instance_scheme.name();
        format!("{scheme}://{}{path}", self.host)
    }

    /// Where the owner arrives: in the default app, or at the settings where no app is installed.
    pub(in crate::api) async fn landing(
        &self,
        shared: &Shared,
        document: &InstanceDocument,
    ) -> Result<String, Error> {
        let place = landing(&shared.store, &shared.peers, &self.tenant, document).await?;
        let subdomains = shared.contexts.get(&document.context).subdomains;
        let scheme = shared.config.instance_scheme.name();
        let address =
            place.and_then(|place| own_hosts::of_app(&place, scheme, &self.host, subdomains));
        Ok(address.unwrap_or_else(|| self.url(shared, "/settings")))
    }

    /// The address to which a login leads that was begun with `redirect`; `None` for the usual one.
    pub(in crate::api) fn target(
        &self,
        shared: &Shared,
        redirect: &str,
    ) -> Result<Option<String>, BadAddress> {
        if redirect.is_empty() {
            return Ok(None);
        }
        let subdomains = shared.contexts.get(&self.tenant.context).subdomains;
        let scheme = shared.config.instance_scheme.name();
        own_hosts::target(redirect, scheme, &self.host, subdomains).map(Some)
    }

    /// The value that forms of this browser have to repeat.
    pub(in crate::api) fn csrf(&self) -> Result<String, Error> {
        match self.sent_csrf() {
            Some(sent) => Ok(sent.to_owned()),
            None => Ok(new_csrf()?),
        }
    }

    /// The value that the browser has kept. `None` for several: then some are not from here.
    pub(in crate::api) fn sent_csrf(&self) -> Option<&str> {
        let mut sent = cookies::all(&self.headers, CSRF_COOKIE);
        let first = sent.next().filter(|value| is_csrf(value))?;
        sent.all(|other| other == first).then_some(first)
    }

    /// The cookie of a session that has begun, and that of the browser if it is new.
    pub(in crate::api) fn cookies_of(
        &self,
        shared: &Shared,
        document: &InstanceDocument,
        begun: &Begun,
    ) -> Result<Vec<HeaderValue>, Error> {
        let mut lines = vec![self.set_cookie(shared, document).session(begun)?];
        if self.device(document).is_none()
            && let Some(key) = document.token_key(Audience::App)
        {
            let value = Device::draw()?.seal(&key);
            lines.push(self.set_cookie(shared, document).device(&value)?);
        }
        Ok(lines)
    }

    pub(in crate::api) fn set_cookie(
        &self,
        shared: &Shared,
        document: &InstanceDocument,
    ) -> SetCookie<'_> {
        SetCookie {
            host: &self.host,
            subdomains: shared.contexts.get(&document.context).subdomains,
            is_secure: shared.config.instance_scheme.name() == "https",
        }
    }

    /// Shows a page: as HTML, or its content for programs. A page with a form is HTML whatever the program accepts.
    pub(in crate::api) fn page(&self, shared: &Shared, shown: &Shown<'_>) -> Response {
        let language = self.language(shared);
        let fill = |text: &String| {
            let text = text.replace("{name}", &self.tenant.domain);
            let slots = shown.slots.iter();
            slots.fold(text, |text, (slot, value)| text.replace(slot, value))
        };
        let mut texts = shared.texts.all(shown.key, &language).iter().map(fill);
        let text = Text {
            title: texts.next().unwrap_or_default(),
            paragraphs: texts.collect(),
        };
        let operator = messages::operator(&shared.contexts, &self.tenant.context);
        let is_form = !shown.more.is_empty();
        let media_type = if is_form {
            MediaType::Html
        } else {
            accept::media_type(&self.headers, MediaType::Html)
        };
        let body = match media_type {
            MediaType::Html => {
                hamlet_pages::page(&text, &language, &shown.more, &footer(operator.as_ref()))
            }
            MediaType::Text => format!("{}\n\n{}\n", text.title, text.paragraphs.join("\n\n")),
            MediaType::Json | MediaType::JsonApi => match &shown.document {
                Some(document) => document.to_string(),
                None => error_document(shown, &text.paragraphs.join(" ")).to_string(),
            },
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = shown.status;
        let headers = response.headers_mut();
        set(headers, CONTENT_TYPE, media_type.content_type());
        common(headers);
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
        headers.append(VARY, HeaderValue::from_static("cookie"));
        if let Ok(language) = HeaderValue::try_from(language) {
            headers.insert(CONTENT_LANGUAGE, language);
        }
        if media_type == MediaType::Html {
            let forms = is_form.then(|| {
                let own = self.form_targets(shared);
                match &shown.leads_to {
                    Some(more) => format!("{own} {more}"),
                    None => own,
                }
            });
            if let Ok(policy) = HeaderValue::try_from(hamlet_pages::policy(forms.as_deref())) {
                headers.insert(CONTENT_SECURITY_POLICY, policy);
            }
            set(headers, X_FRAME_OPTIONS, "DENY");
        }
        if is_form {
            // The form's own request needs its origin; other sites must not get the address.
            set(headers, REFERRER_POLICY, "same-origin");
        }
        response
    }

    /// Where forms may lead: the answer to one may go on to an app.
    fn form_targets(&self, shared: &Shared) -> String {
        let subdomains = shared.contexts.get(&self.tenant.context).subdomains;
        let scheme = shared.config.instance_scheme.name();
        format!("{scheme}://{}", own_hosts::pattern(&self.host, subdomains))
    }

    /// Tells what is wrong, to a person or to a program.
    pub(in crate::api) fn failed(&self, shared: &Shared, error: Error) -> Response {
        let wait = match &error {
            Error::TooManyTries { wait } => Some(wait.as_secs() + 1),
            Error::MailBusy => Some(30),
            _ => None,
        };
        let refused = json_api::Error::from(error);
        let (status, code) = (refused.status(), refused.code().to_owned());
        let refused = refused.into_response();
        let mut response = if self.wants_json() {
            json_answer(status, &json!({"error": code}))
        } else if accept::media_type(&self.headers, MediaType::Html) != MediaType::Html {
            return refused;
        } else {
            let key = match status {
                StatusCode::NOT_IMPLEMENTED => "unbuilt",
                _ => "out_of_reach",
            };
            self.page(shared, &Shown::error(key, status, &code))
        };
        let of_status = refused.headers().get(RETRY_AFTER).cloned();
        if let Some(later) = wait.map(HeaderValue::from).or(of_status) {
            response.headers_mut().insert(RETRY_AFTER, later);
        }
        response
    }
}
