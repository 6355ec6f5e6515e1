//! The page on which an owner chooses a passphrase. It works without a mouse and without its script.

use super::html::escape;

/// Where the form with the passphrase is sent, as in the compatible API.
pub(crate) const SUBMIT_PATH: &str = "/settings/passphrase";
/// Where the script of that form lies.
pub(crate) const SCRIPT_PATH: &str = "/assets/passphrase.js";

/// The values of the form.
#[derive(Clone)]
pub(crate) struct PassphraseForm<'a> {
    /// The instance's domain, under which password managers store the passphrase.
    pub(crate) domain: &'a str,
    /// The register token, which the form sends back.
    pub(crate) token: &'a str,
    /// The salt with which the script hashes.
    pub(crate) salt: &'a str,
    pub(crate) iterations: i32,
    /// The hint of the previous attempt.
    pub(crate) hint: &'a str,
    /// The key of the error text.
    pub(crate) error: Option<&'static str>,
}

/// The form. `say` gives the text of a key in the reader's language.
pub(super) fn html(form: &PassphraseForm<'_>, say: impl Fn(&str) -> String) -> String {
    let say = |key: &str| escape(&say(key));
    let (error, hidden) = match form.error {
        Some(key) => (say(key), ""),
        None => (String::new(), " hidden"),
    };
    format!(
        "<form id=\"choose\" method=\"post\" action=\"{path}\" accept-charset=\"utf-8\" \
         data-salt=\"{salt}\" data-iterations=\"{iterations}\" data-weak=\"{weak}\" data-hint=\"{same}\" data-later=\"{later}\">\n\
         <p id=\"error\" class=\"error\" role=\"alert\"{hidden}>{error}</p>\n\
         <input type=\"hidden\" name=\"register_token\" value=\"{token}\">\n\
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
         <script src=\"{script}\" defer></script>\n",
        path = SUBMIT_PATH,
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
