//! The page on which an owner logs in. It works without a mouse and without its script.

use crate::{Texts, escape};

/// Where the form is sent, as in the compatible API.
const SUBMIT_PATH: &str = "/auth/login";
/// Where the script of that form lies.
pub(crate) const SCRIPT_PATH: &str = "/assets/login.js";

/// The values of the form.
#[derive(Clone, Debug)]
pub struct LoginForm<'a> {
    /// The instance's domain, under which password managers store the passphrase.
    pub domain: &'a str,
    /// The value of the cookie that the form has to repeat.
    pub csrf: &'a str,
    /// Where to go afterwards; empty for the usual place.
    pub redirect: &'a str,
    /// The salt with which the script hashes.
    pub salt: &'a str,
    /// The rounds of the hash; 0 when the passphrase is sent as it is.
    pub iterations: u32,
    /// The text that says what was wrong.
    pub error: Option<&'a str>,
}

impl LoginForm<'_> {
    /// The form as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let (error, hidden) = match self.error {
            Some(text) => (escape(text), ""),
            None => (String::new(), " hidden"),
        };
        format!(
            "<form id=\"login\" method=\"post\" action=\"{SUBMIT_PATH}\" accept-charset=\"utf-8\" \
             data-salt=\"{salt}\" data-iterations=\"{iterations}\" data-later=\"{later}\">\n\
             <p id=\"error\" class=\"error\" role=\"alert\"{hidden}>{error}</p>\n\
             <input type=\"hidden\" name=\"csrf_token\" value=\"{csrf}\">\n\
             <input type=\"hidden\" name=\"redirect\" value=\"{redirect}\">\n\
             <input type=\"text\" autocomplete=\"username\" value=\"{domain}\" readonly hidden>\n\
             <noscript><p class=\"help\">{no_script}</p></noscript>\n\
             <label for=\"passphrase\">{passphrase}</label>\n\
             <input id=\"passphrase\" name=\"passphrase\" type=\"password\" autocomplete=\"current-password\" maxlength=\"1024\" required autofocus>\n\
             <label id=\"show-line\" class=\"line\" hidden><input id=\"show\" type=\"checkbox\"> {show}</label>\n\
             <label class=\"line\"><input name=\"long-run-session\" type=\"checkbox\" value=\"1\"> {long}</label>\n\
             <button type=\"submit\" id=\"submit\">{submit}</button>\n\
             <p id=\"busy\" role=\"status\" hidden>{busy}</p>\n\
             </form>\n<p class=\"help\"><a href=\"/auth/passphrase_reset\">{forgotten}</a></p>\n\
             <script src=\"{SCRIPT_PATH}\" type=\"module\"></script>\n",
            salt = escape(self.salt),
            iterations = self.iterations,
            csrf = escape(self.csrf),
            redirect = escape(self.redirect),
            domain = escape(self.domain),
            later = say("error_later"),
            no_script = say("login_no_script"),
            passphrase = say("form_passphrase"),
            show = say("form_show"),
            long = say("login_long"),
            submit = say("login_submit"),
            busy = say("login_busy"),
            forgotten = say("login_forgotten"),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::LoginForm;
    use crate::Texts;

    #[test]
    fn what_is_filled_in_is_escaped() {
        let texts = Texts::new().unwrap();
        let form = LoginForm {
            domain: "a.example",
            csrf: "abc",
            redirect: "\"><script>",
            salt: "me@a.example",
            iterations: 650_000,
            error: Some("<b>"),
        };
        let html = form.html(&texts, "fr");
        assert!(
            html.contains("value=\"&quot;&gt;&lt;script&gt;\""),
            "{html}"
        );
        assert!(html.contains("role=\"alert\">&lt;b&gt;</p>"), "{html}");
        let quiet = LoginForm {
            error: None,
            ..form
        };
        assert!(
            quiet
                .html(&texts, "fr")
                .contains("role=\"alert\" hidden></p>")
        );
    }
}
