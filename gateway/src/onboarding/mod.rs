//! How an owner takes possession of an instance: the link, the page to choose a passphrase, and what that page
//! sends. The paths, fields and answers are those of the compatible API.
//!
//! The token travels in the address because links are made of addresses; it is never logged. The passphrase
//! travels in bodies only.

mod origin;
mod submission;

use std::sync::Arc;

use hamlet_proto::hamlet::instance::v1::PassphraseParameters;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use self::submission::{Submission, Unreadable};
use crate::{
    answer::{
        Body,
        http::{Asked, errors, script, see_other},
    },
    directory::{Answer, Directory, Place},
    host::Host,
    pages::{Form, Page, Pages, SCRIPT, SCRIPT_PATH, SUBMIT_PATH},
    tenants::{DeadToken, Refusal, Tenants},
};

const CHOOSE_PATH: &str = "/auth/passphrase";
const DONE_PATH: &str = "/auth/done";

/// One of the steps, each at a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Where the link leads.
    Start,
    /// The page with the form.
    Choose,
    /// Its script.
    Script,
    /// Where the form is sent.
    Submit,
    /// It is done.
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

    /// The methods that it allows, as `Allow` has them.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Submit => "POST",
            Self::Start | Self::Choose | Self::Script | Self::Done => "GET, HEAD",
        }
    }
}

/// Answers owners who have yet to choose a passphrase.
pub(crate) struct Onboarding {
    pub(crate) tenants: Tenants,
    pub(crate) directory: Arc<Directory>,
    pub(crate) pages: Arc<Pages>,
}

impl Onboarding {
    pub(crate) async fn answer(
        &self,
        step: Step,
        host: &Host,
        place: &Place,
        asked: &Asked,
        request: Request<Incoming>,
    ) -> Response<Body> {
        match step {
            Step::Start => self.start(place, asked, &request).await,
            Step::Choose => self.choose(place, asked, &request).await,
            Step::Script => script(SCRIPT, request.method() == Method::HEAD),
            Step::Submit => self.submit(host, place, asked, request).await,
            Step::Done => self.done(host, place, asked).await,
        }
    }

    fn page(&self, place: &Place, asked: &Asked, page: &Page<'_>) -> Response<Body> {
        asked.page(&self.pages, page, &place.tenant.locale)
    }

    async fn start(
        &self,
        place: &Place,
        asked: &Asked,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let domain = place.tenant.domain.as_str();
        let Some(token) = register_token(request.uri().query()) else {
            return self.page(place, asked, &Page::Waiting { domain });
        };
        match self.tenants.check(place, &token).await {
            // The whole query is kept, as it came.
            Ok(_) => {
                let query = request.uri().query().unwrap_or_default();
                see_other(&format!("{CHOOSE_PATH}?{query}"))
            }
            Err(refusal) => self.page(place, asked, &closed(domain, &refusal)),
        }
    }

    async fn choose(
        &self,
        place: &Place,
        asked: &Asked,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let domain = place.tenant.domain.as_str();
        if !place.onboarding {
            return see_other("/");
        }
        let Some(token) = register_token(request.uri().query()) else {
            return self.page(place, asked, &Page::Waiting { domain });
        };
        match self.tenants.check(place, &token).await {
            Ok(parameters) => self.form(place, asked, &parameters, &token, "", None),
            Err(refusal) => self.page(place, asked, &closed(domain, &refusal)),
        }
    }

    fn form(
        &self,
        place: &Place,
        asked: &Asked,
        parameters: &PassphraseParameters,
        token: &str,
        hint: &str,
        error: Option<&'static str>,
    ) -> Response<Body> {
        let form = Form {
            domain: &place.tenant.domain,
            token,
            salt: &parameters.salt,
            iterations: parameters.iterations,
            hint,
            error,
        };
        self.page(place, asked, &Page::Choose { form: &form })
    }

    async fn submit(
        &self,
        host: &Host,
        place: &Place,
        asked: &Asked,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if !origin::is_own(request.headers(), host) {
            let domain = place.tenant.domain.as_str();
            return self.page(place, asked, &Page::CrossSite { domain });
        }
        let submission = match Submission::read(request).await {
            Ok(submission) => submission,
            Err(unreadable) => return refuse_body(asked, &unreadable),
        };
        let registered = self.tenants.register(place, submission.message()).await;
        match registered {
            Ok(()) => {
                self.directory.forget(host);
                if asked.wants_page() {
                    see_other(DONE_PATH)
                } else {
                    let done = format!("{}{DONE_PATH}", place.tenant.url.trim_end_matches('/'));
                    asked.json(StatusCode::OK, &json!({"redirect": done}))
                }
            }
            Err(refusal) if asked.wants_page() => {
                self.ask_again(place, asked, &submission, refusal).await
            }
            Err(refusal) => refuse(asked, &submission, &refusal),
        }
    }

    /// Shows the form again with what was wrong, if its token still opens anything.
    async fn ask_again(
        &self,
        place: &Place,
        asked: &Asked,
        submission: &Submission,
        refusal: Refusal,
    ) -> Response<Body> {
        let error = match &refusal {
            Refusal::Field(..) if submission.passphrase.is_empty() => "error_empty",
            Refusal::Field(field, _) if field == "hint" && submission.repeats_passphrase() => {
                "error_hint"
            }
            Refusal::Field(..) => "error_field",
            Refusal::Token(_) | Refusal::OutOfReach => "error_later",
        };
        let token = &submission.register_token;
        let checked = match refusal {
            Refusal::Token(_) => Err(refusal),
            Refusal::Field(..) | Refusal::OutOfReach => self.tenants.check(place, token).await,
        };
        match checked {
            Ok(parameters) => {
                let hint = &submission.hint;
                self.form(place, asked, &parameters, token, hint, Some(error))
            }
            Err(refusal) => {
                let domain = place.tenant.domain.as_str();
                self.page(place, asked, &closed(domain, &refusal))
            }
        }
    }

    async fn done(&self, host: &Host, place: &Place, asked: &Asked) -> Response<Body> {
        let domain = place.tenant.domain.as_str();
        let onboarding = place.onboarding && {
            // What is kept of the host may be older than the passphrase.
            self.directory.forget(host);
            match self.directory.resolve(host).await {
                Answer::Found(place) => place.onboarding,
                Answer::Moved(_) | Answer::Unknown | Answer::OutOfReach => true,
            }
        };
        let page = if onboarding {
            Page::Waiting { domain }
        } else {
            Page::Done { domain }
        };
        self.page(place, asked, &page)
    }
}

/// The page for a link that opens nothing.
const fn closed<'a>(domain: &'a str, refusal: &Refusal) -> Page<'a> {
    match refusal {
        Refusal::Token(DeadToken::Malformed) => Page::BrokenLink { domain },
        Refusal::Token(DeadToken::Wrong | DeadToken::Used) => Page::DeadLink { domain },
        Refusal::Token(DeadToken::Expired) => Page::ExpiredLink { domain },
        Refusal::Field(..) | Refusal::OutOfReach => Page::OutOfReach,
    }
}

fn register_token(query: Option<&str>) -> Option<String> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(key, _)| key == "registerToken")
        .map(|(_, token)| token.into_owned())
}

/// A body that cannot be read has another form of answer than one whose fields are wrong, as in the
/// compatible API.
fn refuse_body(asked: &Asked, unreadable: &Unreadable) -> Response<Body> {
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

/// The documented refusals, for programs.
fn refuse(asked: &Asked, submission: &Submission, refusal: &Refusal) -> Response<Body> {
    let bad = |code, detail| {
        let status = StatusCode::BAD_REQUEST;
        asked.json_api(status, &errors(status, code, "Bad Request", detail))
    };
    match refusal {
        Refusal::Token(DeadToken::Malformed) => bad(
            "REGISTER_TOKEN_MALFORMED",
            "register_token is not made of hex digits",
        ),
        Refusal::Token(DeadToken::Wrong) => bad("REGISTER_TOKEN_WRONG", "Invalid register token"),
        Refusal::Token(DeadToken::Used) => bad("REGISTER_TOKEN_USED", "Empty register token"),
        Refusal::Token(DeadToken::Expired) => {
            bad("REGISTER_TOKEN_EXPIRED", "Expired register token")
        }
        Refusal::Field(..) if submission.passphrase.is_empty() => {
            bad("INVALID_FIELD", "Missing new passphrase")
        }
        Refusal::Field(field, wrong) => {
            let (parameter, detail) = if field == "iterations" {
                let relation = if wrong.contains("too high") {
                    "high"
                } else {
                    "low"
                };
                let detail = format!("The KdfIterations number is too {relation}");
                ("KdfIterations", detail)
            } else {
                (field.as_str(), wrong.clone())
            };
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut document = errors(status, "INVALID_FIELD", "Invalid Parameter", &detail);
            if let Some(source) = document.pointer_mut("/errors/0/source") {
                *source = json!({"parameter": parameter});
            }
            asked.json_api(status, &document)
        }
        Refusal::OutOfReach => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let detail = "the passphrase could not be set now; try again in a moment";
            asked.json_api(
                status,
                &errors(status, "TRY_AGAIN", "Service Unavailable", detail),
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
