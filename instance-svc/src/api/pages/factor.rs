//! `POST /auth/second_factor` and `POST /auth/passphrase/code`: what an owner does about the second factor on the page of
//! settings.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{FactorSection, FactorState};
use http::StatusCode;
use identity::second_factor::Purpose;
use url::form_urlencoded;

use super::{
    Asked, document,
    reply::see_other,
    settings::{Notice, own_form, page},
};
use crate::{
    actions::{choose_auth_mode::ChooseAuthMode, request::Requests},
    api::Shared,
    domain::{fields::AuthMode, instance::InstanceDocument},
    error::Error,
    mail::MailKind,
};

/// What the page shows.
pub(super) async fn section<'a>(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    error: Option<&'a str>,
) -> Result<FactorSection<'a>, Error> {
    let was_asked = asked.parameter("factor").is_some() || error.is_some();
    let state = if document.auth_mode == AuthMode::TwoFactorMail {
        FactorState::On
    } else if !shared.second_factor().reaches(document).await? {
        FactorState::Unreachable
    } else if was_asked {
        FactorState::Asked
    } else {
        FactorState::Off
    };
    Ok(FactorSection { state, error })
}

/// Chooses how the owner logs in. The second factor is turned on in two steps: the first mails a code.
///
/// # Errors
/// As the action says.
pub(in crate::api) async fn choose(
    shared: &Shared,
    asked: &Asked,
    document: &InstanceDocument,
    mode: AuthMode,
    code: &str,
) -> Result<Chosen, Error> {
    let key = shared.key.current();
    let choose = ChooseAuthMode {
        clock: &shared.clock,
        config: &shared.config,
        requests: Requests {
            engine: &shared.engine,
            key: &key,
        },
        mailer: &shared.mailer,
        writer: shared.writer(),
    };
    if mode != AuthMode::TwoFactorMail {
        let occasion = asked.occasion(document, MailKind::Changed);
        choose.turn_off(document, occasion).await?;
        return Ok(Chosen::Changed);
    }
    if document.auth_mode == mode {
        return Ok(Chosen::Changed);
    }
    if code.is_empty() {
        let occasion = asked.occasion(document, MailKind::Confirmation);
        choose.mail_confirmation(document, occasion).await?;
        return Ok(Chosen::Mailed);
    }
    // A code of six digits can be guessed by whoever has a session, so it is counted as a passphrase is.
    let guesser = asked.guesser(document);
    shared
        .tries
        .begin(guesser, std::time::Instant::now())
        .map_err(|wait| Error::TooManyTries { wait })?;
    choose.turn_on(document, code).await?;
    shared.tries.was_right(guesser);
    Ok(Chosen::Changed)
}

/// What came of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Chosen {
    /// The mode is as was asked for.
    Changed,
    /// A code was mailed.
    Mailed,
}

/// The form of the page of settings.
pub(super) async fn submit(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let (session, form) = match own_form(&shared, &asked, body).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let mode = match form.get("auth_mode") {
        "two_factor_mail" => AuthMode::TwoFactorMail,
        _ => AuthMode::Basic,
    };
    let chosen = async {
        let document = document(&shared, &asked).await?.body;
        let code = form.get("two_factor_activation_code");
        choose(&shared, &asked, &document, mode, code).await
    };
    let path = match chosen.await {
        Ok(Chosen::Changed) => "/settings#factor",
        Ok(Chosen::Mailed) => "/settings?factor=asked#factor",
        Err(error) => return told(&shared, &asked, session, error).await,
    };
    see_other(&asked.url(&shared, path))
}

async fn told(shared: &Shared, asked: &Asked, session: &str, error: Error) -> Response {
    let language = asked.language(shared);
    let say = |key| shared.texts.say(key, &language);
    let (status, text) = match &error {
        Error::WrongCode => (StatusCode::UNPROCESSABLE_ENTITY, say("error_code")),
        Error::NoMail(_) => (StatusCode::SERVICE_UNAVAILABLE, say("settings_factor_none")),
        Error::MailBusy => (StatusCode::SERVICE_UNAVAILABLE, say("mail_busy")),
        Error::TooManyTries { wait } => {
            let seconds = (wait.as_secs() + 1).to_string();
            let text = say("error_wait").replace("{time}", &seconds);
            (StatusCode::TOO_MANY_REQUESTS, text)
        }
        _ => return asked.failed(shared, error),
    };
    match page(shared, asked, session, status, Notice::Factor(&text)).await {
        Ok(response) => response,
        Err(error) => asked.failed(shared, error),
    }
}

/// Mails a code with which the passphrase is changed, and leads back to the form for that.
pub(super) async fn send_code(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let (session, _) = match own_form(&shared, &asked, body).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let mailed = async {
        let document = document(&shared, &asked).await?.body;
        let occasion = asked.occasion(&document, MailKind::PassphraseCode);
        let factor = shared.second_factor();
        factor
            .mail_code(&document, Purpose::ChangePassphrase, occasion)
            .await
    };
    match mailed.await {
        Ok(token) => {
            let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
            let path = format!("/settings?two_factor_token={token}#passphrase");
            see_other(&asked.url(&shared, &path))
        }
        Err(error) => told(&shared, &asked, session, error).await,
    }
}
