//! Onboarding: the register link, the page to choose the first passphrase, and its form. Paths, fields and
//! answers are those of the compatible API.
//!
//! The register token is in the query of the link, which is never logged. The passphrase is only ever in
//! bodies.

mod forms;
mod origin;
mod submission;

use std::sync::Arc;

use hamlet_proto::hamlet::instance::v1::PassphraseParameters;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use service_kit::{passphrase, status::reasons};

pub(crate) use self::forms::Forms;
use self::submission::{Submission, Unreadable};
use crate::{
    answer::{
        Body,
        http::{Negotiated, errors, script, see_other},
    },
    caller::CallerKey,
    directory::{Directory, HostEntry, Resolution},
    guesses::Guesses,
    host::Host,
    pages::{Page, Pages, PassphraseForm, SCRIPT, SCRIPT_PATH, SUBMIT_PATH},
    refusal::Refusal,
    tenants::{DeadToken, TenantError, Tenants},
};

/// The page on which a passphrase is chosen.
pub(crate) const CHOOSE_PATH: &str = "/auth/passphrase";
const DONE_PATH: &str = "/auth/done";

/// A step of onboarding, each with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The target of the link.
    Start,
    /// The page with the form.
    Choose,
    /// Its script.
    Script,
    /// The action of the form.
    Submit,
    /// The confirmation.
    Done,
}

impl Step {
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Start),
            CHOOSE_PATH => Some(Self::Choose),
            SCRIPT_PATH => Some(Self::Script),
            SUBMIT_PATH => Some(Self::Submit),
            DONE_PATH => Some(Self::Done),
            _ => None,
        }
    }

    pub(crate) fn allows(self, method: &Method) -> bool {
        match self {
            Self::Submit => method == Method::POST,
            Self::Start | Self::Choose | Self::Script | Self::Done => {
                [Method::GET, Method::HEAD].contains(method)
            }
        }
    }

    /// The allowed methods, as in the `Allow` header.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Submit => "POST, PUT",
            Self::Start | Self::Choose | Self::Script | Self::Done => "GET, HEAD",
        }
    }
}

/// Handles the requests of owners who have not chosen a passphrase yet.
pub(crate) struct Onboarding {
    pub(crate) tenants: Tenants,
    pub(crate) directory: Arc<Directory>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) forms: Forms,
}

impl Onboarding {
    pub(crate) async fn answer(
        &self,
        step: Step,
        host: &Host,
        entry: &HostEntry,
        asked: &Negotiated,
        client: CallerKey,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let tries = match step {
            Step::Start | Step::Choose => register_token(request.uri().query()).is_some(),
            Step::Submit => true,
            Step::Script | Step::Done => false,
        };
        if tries && let Err(refusal) = self.guesses.may_try(client) {
            return asked.refuse(&self.pages, &refusal, &entry.tenant.locale);
        }
        match step {
            Step::Start => self.start(entry, asked, client, &request).await,
            Step::Choose => self.choose(entry, asked, client, &request).await,
            Step::Script => script(SCRIPT, request.method() == Method::HEAD),
            Step::Submit => self.submit(host, entry, asked, client, request).await,
            Step::Done => self.done(host, entry, asked).await,
        }
    }

    /// Checks a token, and counts a wrong one against the client.
    async fn check(
        &self,
        client: CallerKey,
        entry: &HostEntry,
        token: &str,
    ) -> Result<PassphraseParameters, TenantError> {
        let checked = self.tenants.check(entry, token).await;
        checked.inspect_err(|refusal| self.note(client, refusal, token))
    }

    fn note(&self, client: CallerKey, refusal: &TenantError, token: &str) {
        if let TenantError::Token(DeadToken::Wrong | DeadToken::Malformed) = refusal {
            self.guesses.was_wrong(client, token.as_bytes());
        }
    }

    fn page(&self, entry: &HostEntry, asked: &Negotiated, page: &Page<'_>) -> Response<Body> {
        let operator = entry.operator.as_deref();
        asked.page_by(&self.pages, page, &entry.tenant.locale, operator)
    }

    async fn start(
        &self,
        entry: &HostEntry,
        asked: &Negotiated,
        client: CallerKey,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let domain = entry.tenant.domain.as_str();
        let Some(token) = register_token(request.uri().query()) else {
            return self.page(entry, asked, &Page::Waiting { domain });
        };
        match self.check(client, entry, &token).await {
            // The query is passed on unchanged.
            Ok(_) => {
                let query = request.uri().query().unwrap_or_default();
                see_other(&format!("{CHOOSE_PATH}?{query}"))
            }
            Err(refusal) => self.page(entry, asked, &closed(domain, &refusal)),
        }
    }

    async fn choose(
        &self,
        entry: &HostEntry,
        asked: &Negotiated,
        client: CallerKey,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let domain = entry.tenant.domain.as_str();
        let token = register_token(request.uri().query());
        if !entry.onboarding {
            return match token {
                Some(_) => see_other("/"),
                None => self.page(entry, asked, &Page::Change { domain }),
            };
        }
        let Some(token) = token else {
            return self.page(entry, asked, &Page::Waiting { domain });
        };
        match self.check(client, entry, &token).await {
            Ok(parameters) => self.form(entry, asked, &parameters, &token, "", None),
            Err(refusal) => self.page(entry, asked, &closed(domain, &refusal)),
        }
    }

    fn form(
        &self,
        entry: &HostEntry,
        asked: &Negotiated,
        parameters: &PassphraseParameters,
        token: &str,
        hint: &str,
        error: Option<&'static str>,
    ) -> Response<Body> {
        let form = PassphraseForm {
            domain: &entry.tenant.domain,
            token,
            salt: &parameters.salt,
            iterations: parameters.iterations,
            hint,
            error,
        };
        self.page(entry, asked, &Page::Choose { form: &form })
    }

    async fn submit(
        &self,
        host: &Host,
        entry: &HostEntry,
        asked: &Negotiated,
        client: CallerKey,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if !origin::is_own(request.headers(), host) {
            let domain = entry.tenant.domain.as_str();
            return self.page(entry, asked, &Page::CrossSite { domain });
        }
        let Some(_form) = self.forms.begin(client) else {
            return asked.refuse(&self.pages, &Refusal::TooManyCalls, &entry.tenant.locale);
        };
        let submission = match Submission::read(request).await {
            Ok(submission) => submission,
            Err(unreadable) => return refuse_body(asked, &unreadable),
        };
        let registered = self.tenants.register(entry, submission.message()).await;
        let registered = registered
            .inspect_err(|refusal| self.note(client, refusal, &submission.register_token));
        match registered {
            Ok(()) => {
                self.directory.forget(host);
                if asked.wants_page() {
                    see_other(DONE_PATH)
                } else {
                    let done = format!("{}{DONE_PATH}", entry.tenant.url().trim_end_matches('/'));
                    asked.json(StatusCode::OK, &json!({"redirect": done}))
                }
            }
            Err(refusal) if asked.wants_page() => {
                self.ask_again(entry, asked, &submission, refusal).await
            }
            Err(refusal) => {
                let language = asked.language(&self.pages, &entry.tenant.locale);
                let say = |key| self.pages.say(key, &language);
                let refused = refuse(asked, &submission, &refusal, &language, say);
                asked.in_language(refused, &language)
            }
        }
    }

    /// Shows the form again with the error, if its token is still valid.
    async fn ask_again(
        &self,
        entry: &HostEntry,
        asked: &Negotiated,
        submission: &Submission,
        refusal: TenantError,
    ) -> Response<Body> {
        let error = text_of(submission, &refusal);
        let token = &submission.register_token;
        let checked = match refusal {
            TenantError::Token(_) => Err(refusal),
            TenantError::Field(..) | TenantError::Weak(_) | TenantError::OutOfReach => {
                self.tenants.check(entry, token).await
            }
        };
        match checked {
            Ok(parameters) => {
                let hint = &submission.hint;
                self.form(entry, asked, &parameters, token, hint, Some(error))
            }
            Err(refusal) => {
                let domain = entry.tenant.domain.as_str();
                self.page(entry, asked, &closed(domain, &refusal))
            }
        }
    }

    async fn done(&self, host: &Host, entry: &HostEntry, asked: &Negotiated) -> Response<Body> {
        let domain = entry.tenant.domain.as_str();
        let onboarding = entry.onboarding && {
            // The cache may be older than the passphrase.
            self.directory.forget(host);
            match self.directory.resolve(host).await {
                Resolution::Found(entry) => entry.onboarding,
                Resolution::Moved(_) | Resolution::Unknown | Resolution::OutOfReach => true,
            }
        };
        let page = if onboarding {
            Page::Waiting { domain }
        } else {
            Page::Done { domain }
        };
        self.page(entry, asked, &page)
    }
}

/// The page for a link that is not accepted.
const fn closed<'a>(domain: &'a str, refusal: &TenantError) -> Page<'a> {
    match refusal {
        TenantError::Token(DeadToken::Malformed) => Page::BrokenLink { domain },
        TenantError::Token(DeadToken::Wrong | DeadToken::Used) => Page::DeadLink { domain },
        TenantError::Token(DeadToken::Expired) => Page::ExpiredLink { domain },
        TenantError::Field(..) | TenantError::Weak(_) | TenantError::OutOfReach => Page::OutOfReach,
    }
}

fn register_token(query: Option<&str>) -> Option<String> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(key, _)| key == "registerToken")
        .map(|(_, token)| token.into_owned())
}

/// The answer to a body that cannot be read. It differs from the one for wrong fields, as in the compatible
/// API.
fn refuse_body(asked: &Negotiated, unreadable: &Unreadable) -> Response<Body> {
    let status = match unreadable {
        Unreadable::Length => StatusCode::PAYLOAD_TOO_LARGE,
        Unreadable::Time => StatusCode::REQUEST_TIMEOUT,
        Unreadable::Type => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Unreadable::Broken | Unreadable::Encoding | Unreadable::Json | Unreadable::Iterations => {
            StatusCode::BAD_REQUEST
        }
    };
    asked.json(status, &json!({"error": unreadable.to_string()}))
}

/// The key of the text that tells an owner why a passphrase was not set.
fn text_of(submission: &Submission, refusal: &TenantError) -> &'static str {
    match refusal {
        TenantError::Field(..) if submission.passphrase.is_empty() => "error_empty",
        TenantError::Field(field, _) if field == "hint" && submission.repeats_passphrase() => {
            "error_hint"
        }
        TenantError::Field(..) => "error_field",
        TenantError::Weak(_) => "error_weak",
        TenantError::Token(_) | TenantError::OutOfReach => "error_later",
    }
}

/// The error answers of the compatible API, word for word where it documents them: clients compare them. The details of
/// all others are in the reader's language; in English they say more than the page does.
fn refuse(
    asked: &Negotiated,
    submission: &Submission,
    refusal: &TenantError,
    language: &str,
    say: impl Fn(&'static str) -> String,
) -> Response<Body> {
    let told = |in_english: &str| match language {
        "en" => in_english.to_owned(),
        _ => say(text_of(submission, refusal)),
    };
    let bad = |code, detail| {
        let status = StatusCode::BAD_REQUEST;
        asked.json_api(status, &errors(status, code, "Bad Request", detail))
    };
    match refusal {
        TenantError::Token(DeadToken::Malformed) => bad(
            "REGISTER_TOKEN_MALFORMED",
            "register_token is not made of hex digits",
        ),
        TenantError::Token(DeadToken::Wrong) => {
            bad("REGISTER_TOKEN_WRONG", "Invalid register token")
        }
        TenantError::Token(DeadToken::Used) => bad("REGISTER_TOKEN_USED", "Empty register token"),
        TenantError::Token(DeadToken::Expired) => {
            bad("REGISTER_TOKEN_EXPIRED", "Expired register token")
        }
        TenantError::Field(..) if submission.passphrase.is_empty() => {
            bad("INVALID_FIELD", "Missing new passphrase")
        }
        TenantError::Field(field, wrong) => {
            let (parameter, detail) = if field == "iterations" {
                let too_high = u32::try_from(submission.iterations)
                    .is_ok_and(|iterations| iterations > *passphrase::ITERATIONS.end());
                let relation = if too_high { "high" } else { "low" };
                let detail = format!("The KdfIterations number is too {relation}");
                ("KdfIterations", detail)
            } else {
                (field.as_str(), told(wrong))
            };
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut document = errors(status, "INVALID_FIELD", "Invalid Parameter", &detail);
            if let Some(source) = document.pointer_mut("/errors/0/source") {
                *source = json!({"parameter": parameter});
            }
            asked.json_api(status, &document)
        }
        TenantError::Weak(wrong) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut document = errors(
                status,
                reasons::PASSPHRASE_WEAK,
                "Invalid Parameter",
                &told(wrong),
            );
            if let Some(source) = document.pointer_mut("/errors/0/source") {
                *source = json!({"parameter": "passphrase"});
            }
            asked.json_api(status, &document)
        }
        TenantError::OutOfReach => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let detail = told("the passphrase could not be set now; try again in a moment");
            asked.json_api(
                status,
                &errors(status, "TRY_AGAIN", "Service Unavailable", &detail),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{Step, register_token};

    #[test]
    fn every_step_has_its_path_and_methods() {
        assert_eq!(Step::at("/"), Some(Step::Start));
        assert_eq!(Step::at("/auth/passphrase"), Some(Step::Choose));
        assert_eq!(Step::at("/settings/passphrase"), Some(Step::Submit));
        assert_eq!(Step::at("/auth/passphrase/"), None);
        assert!(Step::Submit.allows(&Method::POST) && !Step::Submit.allows(&Method::GET));
        assert!(Step::Choose.allows(&Method::HEAD) && !Step::Choose.allows(&Method::POST));
    }

    #[test]
    fn the_first_token_of_a_query_counts() {
        let token = |query| register_token(Some(query));
        assert_eq!(
            token("a=b&registerToken=x&registerToken=y").as_deref(),
            Some("x")
        );
        assert_eq!(token("registerToken=").as_deref(), Some(""));
        assert_eq!(token("registertoken=x"), None);
        assert_eq!(register_token(None), None);
    }
}
