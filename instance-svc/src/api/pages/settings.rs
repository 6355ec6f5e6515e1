//! `/settings`: the page on which an owner sees where they are logged in, ends that, and changes the passphrase.

use axum::{body::Body, extract::State, response::Response};
use hamlet_pages::{ChangeForm, SessionRow, SettingsView, origin};
use hamlet_proto::hamlet::files::v1::GetUsageRequest;
use http::StatusCode;
use identity::{second_factor::Purpose, session::Kind};
use serde::Deserialize;
use serde_json::json;
use service_kit::{
    caller::for_tenant,
    secret::Secret,
    status::{ServiceError as _, reasons},
};

use super::{
    Asked, clients,
    consent::waiting,
    document,
    entry::Entry,
    factor,
    login::refuse_body,
    reply::{Shown, json_answer, see_other},
    submission::{Form, Unreadable, collect, from_json, is_json},
};
use crate::{
    actions::{
        change_passphrase::Next,
        end_sessions::{end_one, end_others},
        list_sessions::{Listed, list_sessions},
        second_factor::Cleared,
    },
    api::{Shared, passphrase},
    domain::{
        claim::NameKind,
        passphrase::client::{self, Iterations},
        spec::InvalidField,
        time::Time,
    },
    error::Error,
    messages,
    store::Found,
};

/// How long the files service may take to tell how much room is used.
const USAGE: std::time::Duration = std::time::Duration::from_secs(3);

/// Shows the page. A stranger has to log in first.
pub(super) async fn show(State(shared): State<Shared>, asked: Asked) -> Response {
    let Some(session) = asked.session() else {
        return to_login(&shared, &asked);
    };
    let notice = match asked.parameter("changed") {
        Some(_) => Notice::Changed,
        None => Notice::Nothing,
    };
    match page(&shared, &asked, session, StatusCode::OK, notice).await {
        Ok(response) => response,
        Err(error) => asked.failed(&shared, error),
    }
}

/// Leads to the login, and from there back to the page.
fn to_login(shared: &Shared, asked: &Asked) -> Response {
    to_login_for(shared, asked, "/settings")
}

/// Leads to the login, and from there to a page of the owner's.
pub(super) fn to_login_for(shared: &Shared, asked: &Asked, path: &str) -> Response {
    let back = asked.url(shared, path);
    let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
    see_other(&asked.url(shared, &format!("/auth/login?redirect={back}")))
}

/// `GET /.well-known/change-password`: where password managers ask for the page on which a passphrase is changed.
pub(super) async fn find(State(shared): State<Shared>, asked: Asked) -> Response {
    see_other(&asked.url(&shared, "/settings#passphrase"))
}

/// A form that a page of another origin has sent.
pub(super) fn cross_site(shared: &Shared, asked: &Asked) -> Response {
    asked.page(
        shared,
        &Shown::error("cross_site", StatusCode::FORBIDDEN, "CROSS_SITE"),
    )
}

/// What the page says besides.
#[derive(Clone, Copy)]
pub(super) enum Notice<'a> {
    Nothing,
    /// The passphrase was changed just now.
    Changed,
    /// Why the passphrase was not changed.
    Passphrase(&'a str),
    /// Why the second factor was not changed.
    Factor(&'a str),
}

pub(super) async fn page(
    shared: &Shared,
    asked: &Asked,
    session: &str,
    status: StatusCode,
    notice: Notice<'_>,
) -> Result<Response, Error> {
    let found = found(shared, asked).await?;
    let document = &found.document.body;
    let (error, factor_error) = match notice {
        Notice::Nothing | Notice::Changed => (None, None),
        Notice::Passphrase(text) => (Some(text), None),
        Notice::Factor(text) => (None, Some(text)),
    };
    let oauth = shared.oauth(&asked.tenant.id, document);
    let (stored, sessions, clients, landing, factor) = tokio::try_join!(
        async { shared.log_in().stored(document).await },
        list_sessions(&shared.store, &shared.clock, document),
        oauth.list(),
        asked.landing(shared, document),
        factor::section(shared, asked, document, factor_error),
    )?;
    let token = asked.parameter("two_factor_token").unwrap_or_default();
    let mut sessions: Vec<SessionRow> = sessions
        .into_iter()
        .map(|listed| row(listed, session))
        .collect();
    sessions.sort_by_key(|row| !row.is_this);
    // Without an app, the owner has arrived here.
    let here = asked.url(shared, "/settings");
    let view = SettingsView {
        apps: if landing == here { "" } else { &landing },
        storage: storage(shared, asked, &found).await,
        waiting: waiting(shared, asked).await,
        sessions,
        clients: clients.iter().map(clients::row).collect(),
        change: ChangeForm {
            domain: &asked.tenant.domain,
            salt: &client::salt(&document.domain, &document.old_domain),
            iterations: stored.iterations.map_or(0, Iterations::get),
            next_iterations: Iterations::DEFAULT.get(),
            vault_key: &stored.keys.key,
            code_token: Asked::gets_codes(document).then_some(token.as_str()),
            error,
        },
        factor,
        was_changed: matches!(notice, Notice::Changed),
    };
    let more = view.html(&shared.texts, &asked.language(shared));
    Ok(asked.page(shared, &Shown::form("settings", status, more)))
}

async fn found(shared: &Shared, asked: &Asked) -> Result<Found, Error> {
    let found = shared.store.found(&asked.tenant.id, NameKind::Domain).await;
    found?.ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))
}

fn row(listed: Listed, session: &str) -> SessionRow {
    let browser = listed.login.map_or_else(String::new, |login| {
        let parts = [login.browser, login.os];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join(", ")
    });
    let times = &listed.session.body;
    SessionRow {
        browser,
        times: (shown(times.created_at), shown(times.last_seen)),
        is_this: listed.session.id == session,
        id: listed.session.id,
    }
}

/// A day for a reader of any language.
pub(super) fn shown(time: Time) -> String {
    let text = time.to_string();
    let day = text.split('T').next();
    day.unwrap_or_default().to_owned()
}

/// How much room is used, and the quota. `None` while the files service does not answer.
async fn storage(
    shared: &Shared,
    asked: &Asked,
    found: &Found,
) -> Option<(String, Option<String>)> {
    let mut request = for_tenant(GetUsageRequest::default(), &asked.tenant);
    request.set_timeout(USAGE);
    let usage = match shared.peers.trees().get_usage(request).await {
        Ok(usage) => usage.into_inner(),
        Err(status) => {
            tracing::warn!(code = %status.code(), message = status.message(), "the room that is used is not known");
            return None;
        }
    };
    let used = usage.file_bytes.saturating_add(usage.version_bytes);
    let quota = messages::instance(found).disk_quota_bytes;
    Some((size(used), (quota > 0).then(|| size(quota))))
}

/// A number of bytes for people.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes.max(0);
    let mut rest = 0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 1000 {
        let Some(next) = units.next() else {
            break;
        };
        rest = value % 1000 / 100;
        value /= 1000;
        unit = Some(next);
    }
    let unit = unit.copied().unwrap_or_default();
    if rest == 0 || value >= 10 {
        format!("{value} {unit}")
    } else {
        format!("{value}.{rest} {unit}")
    }
}

/// The owner's session and the form that was sent, if a page of the instance itself has sent it.
pub(super) async fn own_form<'a>(
    shared: &Shared,
    asked: &'a Asked,
    body: Body,
) -> Result<(&'a str, Form), Response> {
    if !origin::is_own(&asked.headers, &asked.host) {
        return Err(cross_site(shared, asked));
    }
    let Some(session) = asked.session() else {
        return Err(to_login(shared, asked));
    };
    let form = Form::read(&asked.headers, body).await;
    Ok((session, form.map_err(refuse_body)?))
}

/// `POST /auth/sessions/end`: ends one session.
pub(super) async fn end_session(
    State(shared): State<Shared>,
    asked: Asked,
    body: Body,
) -> Response {
    let (_, form) = match own_form(&shared, &asked, body).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let ended = async {
        let document = document(&shared, &asked).await?.body;
        end_one(&shared.store, &document, form.get("id")).await
    };
    match ended.await {
        Ok(_was_there) => see_other(&asked.url(&shared, "/settings")),
        Err(error) => asked.failed(&shared, error),
    }
}

/// `POST /auth/sessions/others`: ends all sessions but that of the browser.
pub(super) async fn end_others_of(
    State(shared): State<Shared>,
    asked: Asked,
    body: Body,
) -> Response {
    let (session, _) = match own_form(&shared, &asked, body).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let ended = async {
        let document = document(&shared, &asked).await?.body;
        end_others(&shared.store, &document, session).await
    };
    match ended.await {
        Ok(()) => see_other(&asked.url(&shared, "/settings")),
        Err(error) => asked.failed(&shared, error),
    }
}

/// The fields of the form to change the passphrase. It has no `Debug`, because most of them are secret.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    current_passphrase: String,
    new_passphrase: String,
    iterations: i32,
    key: String,
    /// What was mailed, where the instance asks for a second factor.
    two_factor_token: String,
    two_factor_passcode: String,
}

impl Change {
    async fn read(asked: &Asked, body: Body) -> Result<Self, Unreadable> {
        if is_json(&asked.headers) == Some(true) {
            return from_json(&collect(body).await?);
        }
        let form = Form::read(&asked.headers, body).await?;
        Ok(Self {
            current_passphrase: form.get("current_passphrase").to_owned(),
            new_passphrase: form.get("new_passphrase").to_owned(),
            two_factor_token: form.get("two_factor_token").to_owned(),
            two_factor_passcode: form.get("two_factor_passcode").to_owned(),
            ..Self::default()
        })
    }
}

/// `POST /auth/passphrase`: changes the passphrase.
pub(super) async fn change_passphrase(
    State(shared): State<Shared>,
    asked: Asked,
    body: Body,
) -> Response {
    if !origin::is_own(&asked.headers, &asked.host) {
        return cross_site(&shared, &asked);
    }
    let Some(session) = asked.session() else {
        return to_login(&shared, &asked);
    };
    let change = match Change::read(&asked, body).await {
        Ok(change) => change,
        Err(unreadable) => return refuse_body(unreadable),
    };
    match do_change(&shared, &asked, change).await {
        Ok(response) => response,
        Err(error) => refuse(&shared, &asked, session, error).await,
    }
}

async fn do_change(shared: &Shared, asked: &Asked, change: Change) -> Result<Response, Error> {
    let found = found(shared, asked).await?;
    let present = Secret::new(change.current_passphrase);
    let next = if change.iterations == 0 {
        Next::Plain(Secret::new(change.new_passphrase))
    } else {
        passphrase::hashed(
            change.new_passphrase,
            change.iterations,
            &change.key,
            "",
            "",
        )?
    };
    let document_now = &found.document.body;
    let cleared = match Cleared::by_passphrase(document_now) {
        Some(cleared) => cleared,
        None if change.two_factor_token.is_empty() => return Err(Error::CodeNeeded),
        None => shared.second_factor().answer(
            document_now,
            Purpose::ChangePassphrase,
            &change.two_factor_token,
            &change.two_factor_passcode,
        )?,
    };
    let guesser = asked.guesser(document_now);
    passphrase::change(shared, &found, &present, next, guesser).await?;
    // Its key is another one now.
    let document = document(shared, asked).await?.body;
    let location = asked.url(shared, "/settings?changed=1");
    let entry = Entry {
        shared,
        asked,
        document: &document,
        kind: Kind::Normal,
        target: Some(&location),
        as_json: asked.wants_json(),
    };
    entry.let_in(cleared, Vec::new(), false).await
}

/// Tells why the passphrase was not changed: in the form, or to its script.
async fn refuse(shared: &Shared, asked: &Asked, session: &str, error: Error) -> Response {
    let language = asked.language(shared);
    let say = |key| shared.texts.say(key, &language);
    let told = match &error {
        Error::WrongPassphrase => say("error_current"),
        Error::WrongCode => say("error_code"),
        Error::DeadCode | Error::CodeNeeded => say("error_code_needed"),
        Error::TooManyTries { wait } => {
            say("error_wait").replace("{time}", &(wait.as_secs() + 1).to_string())
        }
        Error::Hashing => say("error_busy"),
        Error::Field(InvalidField { .. }) => say("error_field"),
        _ if error.status().reason() == reasons::PASSPHRASE_WEAK => say("error_weak"),
        Error::Busy { .. } | Error::EtagMismatch(_) => say("error_later"),
        _ => return asked.failed(shared, error),
    };
    let status = service_kit::json_api::Error::from(error).status();
    if asked.wants_json() {
        return json_answer(status, &json!({"error": told}));
    }
    match page(shared, asked, session, status, Notice::Passphrase(&told)).await {
        Ok(response) => response,
        Err(error) => asked.failed(shared, error),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (20_000_000, "20 MB"),
            (5_000_000_000, "5 GB"),
            (1_250_000_000_000_000, "1250 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
