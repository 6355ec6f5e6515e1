//! What a person sees in a browser: one layout, one style sheet, forms, mails, texts in eight languages. Nothing of it comes from
//! elsewhere, and every form works without its script.
//!
//! Who serves a page decides what it says: this crate knows no instance. [`accept`] reads what a browser prefers,
//! [`origin`] whether a form was sent by a page of its own host.

pub mod accept;
mod authorize;
mod consent;
mod layout;
mod login;
mod mail;
mod mailed;
pub mod origin;
mod passphrase;
mod settings;
mod texts;
mod wish;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

pub use self::{
    authorize::AuthorizeForm,
    consent::ConsentView,
    layout::{FAVICON_PATH, Text, escape, footer, page},
    login::LoginForm,
    mail::{Content, Mail, Written},
    mailed::{AskForMail, CodeForm, FactorSection, FactorState, OpenForm},
    passphrase::PassphraseForm,
    settings::{ChangeForm, ClientRow, SessionRow, SettingsView, WaitingUpdate},
    texts::Texts,
    wish::Wish,
};

/// The icon of all pages.
pub const FAVICON: &str = include_str!("favicon.svg");

/// The paths of the scripts of forms, with the scripts.
pub const SCRIPTS: [(&str, &str); 4] = [
    (passphrase::SCRIPT_PATH, include_str!("passphrase.js")),
    (login::SCRIPT_PATH, include_str!("login.js")),
    (settings::SCRIPT_PATH, include_str!("settings.js")),
    // The others import it.
    ("/assets/derive.js", include_str!("derive.js")),
];

/// The style sheet, which stands in every page.
const STYLE: &str = include_str!("page.css");

/// The content security policy of a page. `forms` is where its form may lead: `None` for a page without one.
#[must_use]
pub fn policy(forms: Option<&str>) -> String {
    let style = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let more = match forms {
        None => "form-action 'none'".to_owned(),
        Some(forms) => {
            format!("form-action 'self' {forms}; script-src 'self'; connect-src 'self'")
        }
    };
    format!(
        "default-src 'none'; img-src 'self'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'; {more}"
    )
}
