//! The page on which an owner chooses a passphrase. It works without a mouse and without its script.

use crate::{Texts, escape};

/// Where the script of that form lies.
pub(crate) const SCRIPT_PATH: &str = "/assets/passphrase.js";

/// The values of the form.
#[derive(Clone)]
pub struct PassphraseForm<'a> {
    /// The instance's domain, under which password managers store the passphrase.
    pub domain: &'a str,
    /// Where the form is sent.
    pub path: &'a str,
    /// The name of the field with the token.
    pub field: &'a str,
    /// The token of the link, which the form sends back.
    pub token: &'a str,
    /// The salt with which the script hashes.
    pub salt: &'a str,
    /// The rounds of the hash.
    pub iterations: i32,
    /// The hint of the previous attempt.
    pub hint: &'a str,
    /// The key of the error text.
    pub error: Option<&'static str>,
}

impl std::fmt::Debug for PassphraseForm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassphraseForm(…)")
    }
}

impl PassphraseForm<'_> {
    /// The form as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        html(self, |key| escape(&texts.say(key, language)))
    }
}

fn html(form: &PassphraseForm<'_>, say: impl Fn(&str) -> String) -> String {
    let (error, hidden) = match form.error {
        Some(key) => (say(key), ""),
        None => (String::new(), " hidden"),
    };
    format!(
        "<form id=\"choose\" method=\"post\" action=\"{path}\" accept-charset=\"utf-8\" \
         data-salt=\"{salt}\" data-iterations=\"{iterations}\" data-field=\"{field}\" data-weak=\"{weak}\" data-hint=\"{same}\" data-later=\"{later}\">\n\
         <p id=\"error\" class=\"error\" role=\"alert\"{hidden}>{error}</p>\n\
         <input type=\"hidden\" name=\"{field}\" value=\"{token}\">\n\
         <input type=\"hidden\" name=\"iterations\" value=\"0\">\n\
         <input type=\"text\" autocomplete=\"username\" value=\"{domain}\" readonly hidden>\n\
         <noscript><p class=\"help\">{no_script}</p></noscript>\n\
         <label for=\"passphrase\">{passphrase}</label>\n\
         <input id=\"passphrase\" name=\"passphrase\" type=\"password\" autocomplete=\"new-password\" maxlength=\"1024\" required autofocus>\n\
         <label id=\"show-line\" class=\"line\" hidden><input id=\"show\" type=\"checkbox\"> {show}</label>\n\
         <label for=\"hint\">{hint_label}</label>\n\
         <input id=\"hint\" name=\"hint\" type=\"text\" autocomplete=\"off\" maxlength=\"1024\" aria-describedby=\"hint-help\" value=\"{hint}\">\n\
         <p id=\"hint-help\" class=\"help\">{help}</p>\n\
         <button type=\"submit\" id=\"submit\">{submit}</button>\n\
         <p id=\"busy\" role=\"status\" hidden>{busy}</p>\n\
         </form>\n\
         <script src=\"{script}\" type=\"module\"></script>\n",
        path = form.path,
        field = form.field,
        script = SCRIPT_PATH,
        salt = escape(form.salt),
        iterations = form.iterations,
        token = escape(form.token),
        domain = escape(form.domain),
        hint = escape(form.hint),
        weak = say("error_weak"),
        same = say("error_hint"),
        later = say("error_later"),
        no_script = say("form_no_script"),
        passphrase = say("form_passphrase"),
        show = say("form_show"),
        hint_label = say("form_hint"),
        help = say("form_hint_help"),
        submit = say("form_submit"),
        busy = say("form_busy"),
    )
}
