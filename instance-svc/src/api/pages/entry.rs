//! Letting an owner in: the one place where pages begin sessions.

use axum::response::Response;
use hamlet_pages::Content;
use http::StatusCode;
use identity::{browser, second_factor::Purpose, session::Kind};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{
    Asked, authorize,
    cookies::{self, TRUST_COOKIE},
    reply::{Shown, json_answer, see_other, with_cookies},
};
use crate::{
    actions::{begin_session::begin_session, second_factor::Cleared},
    api::Shared,
    domain::{fields::AuthMode, instance::InstanceDocument},
    error::Error,
    mail::{MailKind, Occasion},
};

/// An owner at the door.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) shared: &'a Shared,
    pub(super) asked: &'a Asked,
    pub(super) document: &'a InstanceDocument,
    pub(super) kind: Kind,
    /// Where to go then; `None` for the usual place.
    pub(super) target: Option<&'a str>,
    /// Whether a program reads the answer.
    pub(super) as_json: bool,
}

impl Entry<'_> {
    /// Goes on with an owner who has shown the passphrase, or has just chosen it. `trusted` is what the form says of the
    /// browser.
    pub(super) async fn after_passphrase(self, trusted: &str) -> Result<Response, Error> {
        match self.cleared(trusted) {
            Some(cleared) => self.let_in(cleared, Vec::new(), true).await,
            None => self.ask_for_code().await,
        }
    }

    /// As [`Self::after_passphrase`], for an owner who has come with a link: nobody is told of a new browser.
    pub(super) async fn after_choice(self) -> Result<Response, Error> {
        match self.cleared("") {
            Some(cleared) => self.let_in(cleared, Vec::new(), false).await,
            None => self.ask_for_code().await,
        }
    }

    fn cleared(&self, trusted: &str) -> Option<Cleared> {
        if let Some(cleared) = Cleared::by_passphrase(self.document) {
            return Some(cleared);
        }
        let kept = cookies::read(&self.asked.headers, TRUST_COOKIE);
        self.shared.second_factor().trusted(
            self.document,
            &self.asked.visitor().user_agent,
            kept.into_iter().chain([trusted]),
        )
    }

    /// Mails a code, and leads to the page that asks for it.
    async fn ask_for_code(self) -> Result<Response, Error> {
        let occasion = self.asked.occasion(self.document, MailKind::Code);
        let mailed = self
            .shared
            .second_factor()
            .mail_code(self.document, Purpose::LogIn, occasion)
            .await;
        let token = match mailed {
            Ok(token) => token,
            Err(error) => return self.without_code(error),
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("two_factor_token", &token);
        query.append_pair(
            "long_run_session",
            if self.kind == Kind::Long {
                "true"
            } else {
                "false"
            },
        );
        query.append_pair("redirect", self.target.unwrap_or_default());
        let path = format!("/auth/twofactor?{}", query.finish());
        Ok(self.lead_to(&self.asked.url(self.shared, &path), &[]))
    }

    /// Tells an owner who cannot get a code who can help.
    fn without_code(self, error: Error) -> Result<Response, Error> {
        let (key, status) = match &error {
            Error::NoMail(_) => ("no_code_mail", StatusCode::SERVICE_UNAVAILABLE),
            Error::MailBusy => ("mail_busy", StatusCode::SERVICE_UNAVAILABLE),
            Error::SecondFactor(_) => ("second_factor", StatusCode::NOT_IMPLEMENTED),
            _ => return Err(error),
        };
        if self.as_json {
            return Ok(json_answer(status, &json!({"error": error.to_string()})));
        }
        let code = service_kit::status::ServiceError::status(&error)
            .reason()
            .to_owned();
        Ok(self
            .asked
            .page(self.shared, &Shown::error(key, status, &code)))
    }

    /// Begins the session. `more` are further members of the answer to a program, `tell` says whether the owner is told of a
    /// browser that was not known.
    pub(super) async fn let_in(
        self,
        cleared: Cleared,
        more: Vec<(&str, String)>,
        tell: bool,
    ) -> Result<Response, Error> {
        let Self {
            shared,
            asked,
            document,
            ..
        } = self;
        let visitor = asked.visitor();
        let location = match self.target {
            Some(target) => target.to_owned(),
            None => asked.landing(shared, document).await?,
        };
        let kind =
            if self.kind == Kind::Normal && authorize::is_at(&location, &asked.url(shared, "")) {
                // Who comes to let a program in may be at the browser of somebody else.
                Kind::Short
            } else {
                self.kind
            };
        let begun = begin_session(
            &shared.store,
            &shared.clock,
            &shared.contexts,
            document,
            kind,
            &visitor,
            cleared,
        )
        .await?;
        if tell && !asked.is_known(document) {
            self.tell_of_login();
        }
        let response = self.lead_to(&location, &more);
        let cookies = asked.cookies_of(shared, document, &begun)?;
        Ok(with_cookies(response, cookies))
    }

    fn lead_to(&self, location: &str, more: &[(&str, String)]) -> Response {
        if !self.as_json {
            return see_other(location);
        }
        let mut told = Map::from_iter([("redirect".to_owned(), json!(location))]);
        told.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value))),
        );
        json_answer(StatusCode::OK, &Value::Object(told))
    }

    /// Mails the owner that somebody has logged in.
    fn tell_of_login(&self) {
        let (shared, document) = (self.shared, self.document);
        let occasion = self.asked.occasion(document, MailKind::NewLogin);
        if !shared.mailer.sends_for(&document.context) || shared.mailer.take(occasion).is_err() {
            return;
        }
        let visitor = self.asked.visitor();
        let (browser, system) = browser::describe(&visitor.user_agent);
        let parts = [browser, system].into_iter().filter(|it| !it.is_empty());
        let mut browser = parts.collect::<Vec<_>>().join(", ");
        if browser.is_empty() {
            let language = shared.texts.language_of(&document.locale);
            browser = shared.texts.say("mail_unknown", language);
        }
        let time = shared.clock.now().to_string();
        let time = time.get(..16).unwrap_or(&time).replace('T', " ");
        let (address, settings) = (
            visitor.address.to_string(),
            format!("{}settings", shared.config.url_of(&document.domain)),
        );
        let (writing, instance) = (shared.clone(), document.clone());
        let sent = shared
            .mailer
            .send(occasion, &document.context, &document.domain, async move {
                let slots = [
                    ("{browser}", browser.as_str()),
                    ("{address}", &address),
                    ("{until}", &time),
                ];
                let content = Content::Link(&settings);
                writing
                    .writer()
                    .write(&instance, MailKind::NewLogin, content, &slots)
                    .await
            });
        if let Err(error) = sent {
            // The owner is in all the same.
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the news of a login is left out"
            );
        }
    }
}

impl Asked {
    /// The occasion of a mail that this request causes.
    pub(in crate::api) fn occasion(
        &self,
        document: &InstanceDocument,
        kind: MailKind,
    ) -> Occasion<'_> {
        Occasion {
            kind,
            instance: &self.tenant.id,
            address: self.visitor().address,
            device: self.device(document),
        }
    }

    /// Whether an instance asks for a code that comes by mail.
    pub(super) fn gets_codes(document: &InstanceDocument) -> bool {
        document.auth_mode == AuthMode::TwoFactorMail
    }
}
