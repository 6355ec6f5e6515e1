//! The forms that ask for a mail, and those with which an owner goes on who has got it. They work without scripts.

use crate::{Texts, escape};

/// A form that asks for a mail.
#[derive(Clone, Copy, Debug)]
pub struct AskForMail<'a> {
    /// Where it is sent.
    pub path: &'a str,
    /// The key of the text on its button.
    pub button: &'a str,
    /// The value of the cookie that the form has to repeat; empty where no form has to.
    pub csrf: &'a str,
    /// Where to go when the mail was used; empty for the usual place.
    pub redirect: &'a str,
    /// Whether it is beside a form that matters more.
    pub is_plain: bool,
}

impl AskForMail<'_> {
    /// The form as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let hidden = [("csrf_token", self.csrf), ("redirect", self.redirect)];
        let hidden: String = hidden
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| field(name, value))
            .collect();
        let class = if self.is_plain {
            " class=\"plain\""
        } else {
            ""
        };
        format!(
            "<form method=\"post\" action=\"{}\">\n{hidden}<button type=\"submit\"{class}>{}</button>\n</form>\n",
            escape(self.path),
            escape(&texts.say(self.button, language))
        )
    }
}

fn field(name: &str, value: &str) -> String {
    format!(
        "<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n",
        escape(value)
    )
}

/// What was wrong, for everybody.
fn told(error: Option<&str>) -> String {
    let (error, hidden) = match error {
        Some(text) => (escape(text), ""),
        None => (String::new(), " hidden"),
    };
    format!("<p id=\"error\" class=\"error\" role=\"alert\"{hidden}>{error}</p>\n")
}

/// The form for the code of a second factor.
#[derive(Clone, Copy)]
pub struct CodeForm<'a> {
    /// The token that stands for the login.
    pub token: &'a str,
    /// Where to go afterwards; empty for the usual place.
    pub redirect: &'a str,
    /// Whether the owner wants to stay logged in.
    pub is_long: bool,
    /// The text that says what was wrong.
    pub error: Option<&'a str>,
}

impl std::fmt::Debug for CodeForm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeForm(…)")
    }
}

impl CodeForm<'_> {
    /// The form as HTML. Its fields are those of the compatible API.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let long = if self.is_long {
            field("long-run-session", "1")
        } else {
            String::new()
        };
        format!(
            "<form method=\"post\" action=\"/auth/twofactor\">\n{error}{token}{redirect}{long}\
             <label for=\"code\">{code}</label>\n\
             <input id=\"code\" name=\"two-factor-passcode\" type=\"text\" inputmode=\"numeric\" \
             autocomplete=\"one-time-code\" maxlength=\"16\" required autofocus>\n\
             <label class=\"line\"><input name=\"two-factor-generate-trusted-device-token\" type=\"checkbox\" value=\"true\"> \
             {trust}</label>\n\
             <button type=\"submit\">{submit}</button>\n</form>\n\
             <p class=\"help\"><a href=\"/auth/login\">{again}</a></p>\n",
            error = told(self.error),
            token = field("two-factor-token", self.token),
            redirect = field("redirect", self.redirect),
            code = say("twofactor_code"),
            trust = say("twofactor_trust"),
            submit = say("twofactor_submit"),
            again = say("twofactor_again"),
        )
    }
}

/// The form of an owner who has opened the link of a mail.
#[derive(Clone, Copy)]
pub struct OpenForm<'a> {
    /// The instance's domain, under which password managers store the passphrase.
    pub domain: &'a str,
    /// The code of the link.
    pub code: &'a str,
    /// The value of the cookie that the form has to repeat.
    pub csrf: &'a str,
    /// Where to go afterwards; empty for the usual place.
    pub redirect: &'a str,
    /// Whether the link alone is not enough.
    pub needs_passphrase: bool,
    /// The text that says what was wrong.
    pub error: Option<&'a str>,
}

impl std::fmt::Debug for OpenForm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenForm(…)")
    }
}

impl OpenForm<'_> {
    /// The form as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let passphrase = if self.needs_passphrase {
            format!(
                "<input type=\"text\" autocomplete=\"username\" value=\"{domain}\" readonly hidden>\n\
                 <label for=\"passphrase\">{label}</label>\n\
                 <input id=\"passphrase\" name=\"passphrase\" type=\"password\" autocomplete=\"current-password\" \
                 maxlength=\"1024\" required autofocus>\n",
                domain = escape(self.domain),
                label = say("form_passphrase"),
            )
        } else {
            String::new()
        };
        format!(
            "<form method=\"post\" action=\"/auth/magic_link/twofactor\">\n{error}{csrf}{code}{redirect}{passphrase}\
             <label class=\"line\"><input name=\"long-run-session\" type=\"checkbox\" value=\"1\"> {long}</label>\n\
             <button type=\"submit\">{submit}</button>\n</form>\n",
            error = told(self.error),
            csrf = field("csrf_token", self.csrf),
            code = field("code", self.code),
            redirect = field("redirect", self.redirect),
            long = say("login_long"),
            submit = say("login_submit"),
        )
    }
}

/// The part of the owner's page that turns the second factor on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorState {
    /// It is on.
    On,
    /// It is off, and can be turned on.
    Off,
    /// A code was mailed that turns it on.
    Asked,
    /// No mail reaches the owner.
    Unreachable,
}

/// That part.
#[derive(Clone, Copy, Debug)]
pub struct FactorSection<'a> {
    /// What it shows.
    pub state: FactorState,
    /// The text that says what was wrong.
    pub error: Option<&'a str>,
}

impl FactorSection<'_> {
    /// The section as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let form = |mode: &str, more: &str, button: &str, class: &str| {
            format!(
                "<form method=\"post\" action=\"/auth/second_factor\">\n{mode}{more}\
                 <button type=\"submit\"{class}>{button}</button>\n</form>\n",
                mode = field("auth_mode", mode),
                button = say(button),
            )
        };
        let plain = " class=\"plain\"";
        let (text, form) = match self.state {
            FactorState::On => (
                "settings_factor_on",
                form("basic", "", "settings_turn_off", plain),
            ),
            FactorState::Off => (
                "settings_factor_off",
                form("two_factor_mail", "", "settings_turn_on", plain),
            ),
            FactorState::Asked => {
                let code = format!(
                    "{}<label for=\"factor-code\">{}</label>\n\
                     <input id=\"factor-code\" name=\"two_factor_activation_code\" type=\"text\" inputmode=\"numeric\" \
                     autocomplete=\"one-time-code\" maxlength=\"16\" required>\n",
                    told_beside(self.error),
                    say("twofactor_code")
                );
                (
                    "settings_factor_sent",
                    form("two_factor_mail", &code, "settings_turn_on", ""),
                )
            }
            FactorState::Unreachable => ("settings_factor_none", String::new()),
        };
        let error = match self.state {
            FactorState::Asked => String::new(),
            _ => told_beside(self.error),
        };
        format!(
            "<h2 id=\"factor\">{}</h2>\n<p>{}</p>\n{error}{form}",
            say("settings_factor"),
            say(text)
        )
    }
}

/// The page has another place for what is wrong, with an id of its own.
fn told_beside(error: Option<&str>) -> String {
    error.map_or_else(String::new, |text| {
        format!("<p class=\"error\" role=\"alert\">{}</p>\n", escape(text))
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{AskForMail, CodeForm, FactorSection, FactorState, OpenForm};
    use crate::Texts;

    #[test]
    fn what_is_filled_in_is_escaped() {
        let texts = Texts::new().unwrap();
        let bad = "\"><script>";
        let forms = [
            AskForMail {
                path: bad,
                button: "send_link",
                csrf: bad,
                redirect: bad,
                is_plain: false,
            }
            .html(&texts, "en"),
            CodeForm {
                token: bad,
                redirect: bad,
                is_long: true,
                error: Some(bad),
            }
            .html(&texts, "en"),
            OpenForm {
                domain: bad,
                code: bad,
                csrf: bad,
                redirect: bad,
                needs_passphrase: true,
                error: Some(bad),
            }
            .html(&texts, "en"),
            FactorSection {
                state: FactorState::Asked,
                error: Some(bad),
            }
            .html(&texts, "en"),
        ];
        for form in forms {
            assert!(!form.contains("<script"), "{form}");
            assert!(form.contains("&quot;&gt;&lt;script&gt;"), "{form}");
        }
    }

    #[test]
    fn a_passphrase_is_asked_for_where_the_link_is_not_enough() {
        let texts = Texts::new().unwrap();
        let form = |needs_passphrase| {
            OpenForm {
                domain: "a.example",
                code: "c",
                csrf: "x",
                redirect: "",
                needs_passphrase,
                error: None,
            }
            .html(&texts, "fr")
        };
        assert!(form(true).contains("name=\"passphrase\""));
        assert!(!form(false).contains("name=\"passphrase\""));
    }
}
