//! The page on which an owner sees where they are logged in, ends that, and changes the passphrase.

use crate::{AskForMail, FactorSection, Texts, escape};

/// Where the script of the page lies.
pub(crate) const SCRIPT_PATH: &str = "/assets/settings.js";

/// What the page shows.
#[derive(Clone, Debug)]
pub struct SettingsView<'a> {
    /// Where the apps are; empty when there is none.
    pub apps: &'a str,
    /// How much room is used, and the quota, for people; `None` when that is not known now.
    pub storage: Option<(String, Option<String>)>,
    /// The apps with a version that waits for the owner.
    pub waiting: Vec<WaitingUpdate>,
    /// The sessions, this one first.
    pub sessions: Vec<SessionRow>,
    /// The programs that were let in.
    pub clients: Vec<ClientRow>,
    /// The form to change the passphrase.
    pub change: ChangeForm<'a>,
    /// The second factor.
    pub factor: FactorSection<'a>,
    /// Whether the passphrase was changed just now.
    pub was_changed: bool,
}

/// An app with a version that waits for the owner.
#[derive(Clone, Debug)]
pub struct WaitingUpdate {
    /// The page on which the owner is asked.
    pub path: String,
    /// The title of the app, and the version.
    pub app: String,
}

/// A session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// What is known of its browser; empty when nothing is.
    pub browser: String,
    /// When it began, and when it was used last, for people.
    pub times: (String, String),
    /// Whether it is the reader's own.
    pub is_this: bool,
}

/// A program that was let in.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was registered, and when it was used last, for people; empty where that is not known.
    pub times: (String, String),
}

/// The values of the form to change the passphrase.
#[derive(Clone, Debug)]
pub struct ChangeForm<'a> {
    /// The instance's domain, under which password managers store the passphrase.
    pub domain: &'a str,
    /// The salt with which the script hashes.
    pub salt: &'a str,
    /// The rounds of the present hash; 0 when the passphrase is sent as it is.
    pub iterations: u32,
    /// The rounds of the next hash.
    pub next_iterations: u32,
    /// The key of the owner's vault, encrypted with the passphrase; empty when there is none.
    pub vault_key: &'a str,
    /// Where a code from a mail is needed, too: the token that belongs to it, which is empty before one was sent.
    pub code_token: Option<&'a str>,
    /// The text that says what was wrong.
    pub error: Option<&'a str>,
}

impl SettingsView<'_> {
    /// The page's content as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let mut html = String::new();
        if self.was_changed {
            html.push_str(&format!(
                "<p class=\"done\" role=\"status\">{}</p>\n",
                say("changed")
            ));
        }
        if !self.apps.is_empty() {
            html.push_str(&format!(
                "<p><a href=\"{}\">{}</a></p>\n",
                escape(self.apps),
                say("settings_apps")
            ));
        }
        if !self.waiting.is_empty() {
            let rows: String = self
                .waiting
                .iter()
                .map(|it| {
                    let (path, app) = (escape(&it.path), escape(&it.app));
                    format!("<li><a href=\"{path}\">{app}</a></li>\n")
                })
                .collect();
            let title = say("settings_waiting");
            html.push_str(&format!(
                "<h2>{title}</h2>\n<ul class=\"rows\">\n{rows}</ul>\n"
            ));
        }
        if let Some((used, quota)) = &self.storage {
            let line = match quota {
                Some(quota) => say("settings_of")
                    .replace("{used}", &escape(used))
                    .replace("{name}", &escape(quota)),
                None => say("settings_used").replace("{used}", &escape(used)),
            };
            let title = say("settings_storage");
            html.push_str(&format!("<h2>{title}</h2>\n<p>{line}</p>\n"));
        }
        html.push_str(&format!(
            "<h2>{}</h2>\n<ul class=\"rows\">\n",
            say("settings_sessions")
        ));
        for row in &self.sessions {
            html.push_str(&row.html(&say));
        }
        html.push_str("</ul>\n");
        if self.sessions.len() > 1 {
            html.push_str(&button(
                "/auth/sessions/others",
                &say("settings_end_others"),
            ));
        }
        html.push_str(&button("/auth/logout", &say("settings_log_out")));
        html.push_str(&self.factor.html(texts, language));
        if !self.clients.is_empty() {
            html.push_str(&format!(
                "<h2 id=\"programs\">{}</h2>\n<ul class=\"rows\">\n",
                say("settings_clients")
            ));
            for row in &self.clients {
                html.push_str(&row.html(&say));
            }
            html.push_str("</ul>\n");
        }
        html.push_str(&self.change.html(&say, texts, language));
        html
    }
}

fn button(path: &str, text: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{path}\"><button type=\"submit\" class=\"plain\">{text}</button></form>\n"
    )
}

impl SessionRow {
    fn html(&self, say: &impl Fn(&str) -> String) -> String {
        let browser = if self.browser.is_empty() {
            say("settings_unknown")
        } else {
            escape(&self.browser)
        };
        let (since, last) = &self.times;
        let times = say("settings_times")
            .replace("{time}", &escape(since))
            .replace("{until}", &escape(last));
        let end = if self.is_this {
            format!("<span class=\"help\">{}</span>", say("settings_this"))
        } else {
            format!(
                "<form method=\"post\" action=\"/auth/sessions/end\"><input type=\"hidden\" name=\"id\" value=\"{id}\">\
                 <button type=\"submit\" class=\"plain\" aria-label=\"{end}: {browser}, {times}\">{end}</button></form>",
                id = escape(&self.id),
                end = say("settings_end"),
            )
        };
        format!("<li><div>{browser}<p class=\"help\">{times}</p></div>{end}</li>\n")
    }
}

impl ClientRow {
    fn html(&self, say: &impl Fn(&str) -> String) -> String {
        let name = escape(&self.name);
        let times = match (self.times.0.as_str(), self.times.1.as_str()) {
            ("", _) => String::new(),
            (since, "") => say("settings_since").replace("{time}", &escape(since)),
            (since, last) => say("settings_times")
                .replace("{time}", &escape(since))
                .replace("{until}", &escape(last)),
        };
        let remove = say("settings_remove");
        format!(
            "<li><div>{name}<p class=\"help\">{times}</p></div>\
             <form method=\"post\" action=\"/auth/clients/end\"><input type=\"hidden\" name=\"id\" value=\"{id}\">\
             <button type=\"submit\" class=\"plain\" aria-label=\"{remove}: {name}\">{remove}</button></form></li>\n",
            id = escape(&self.id),
        )
    }
}

impl ChangeForm<'_> {
    /// Asks for a code, where one is needed; once it was sent, the fields for it.
    fn code(
        &self,
        say: &impl Fn(&str) -> String,
        texts: &Texts,
        language: &str,
    ) -> (String, String) {
        match self.code_token {
            None => (String::new(), String::new()),
            Some("") => {
                let ask = AskForMail {
                    path: "/auth/passphrase/code",
                    button: "settings_send_code",
                    csrf: "",
                    redirect: "",
                    is_plain: true,
                };
                (ask.html(texts, language), String::new())
            }
            Some(token) => {
                let fields = format!(
                    "<input type=\"hidden\" name=\"two_factor_token\" value=\"{token}\">\n\
                     <label for=\"change-code\">{code}</label>\n\
                     <input id=\"change-code\" name=\"two_factor_passcode\" type=\"text\" inputmode=\"numeric\" \
                     autocomplete=\"one-time-code\" maxlength=\"16\" required>\n",
                    token = escape(token),
                    code = say("twofactor_code"),
                );
                (String::new(), fields)
            }
        }
    }

    fn html(&self, say: &impl Fn(&str) -> String, texts: &Texts, language: &str) -> String {
        let (ask, code) = self.code(say, texts, language);
        let (error, hidden) = match self.error {
            Some(text) => (escape(text), ""),
            None => (String::new(), " hidden"),
        };
        format!(
            "<h2 id=\"passphrase\">{title}</h2>\n{ask}\
             <form id=\"change\" method=\"post\" action=\"/auth/passphrase\" accept-charset=\"utf-8\" \
             data-salt=\"{salt}\" data-iterations=\"{iterations}\" data-next-iterations=\"{next}\" \
             data-vault-key=\"{key}\" data-weak=\"{weak}\" data-wrong=\"{wrong}\" data-later=\"{later}\">\n\
             <p id=\"error\" class=\"error\" role=\"alert\"{hidden}>{error}</p>\n\
             <input type=\"text\" autocomplete=\"username\" value=\"{domain}\" readonly hidden>\n\
             <noscript><p class=\"help\">{no_script}</p></noscript>\n\
             <label for=\"current\">{current}</label>\n\
             <input id=\"current\" name=\"current_passphrase\" type=\"password\" autocomplete=\"current-password\" maxlength=\"1024\" required>\n\
             <label for=\"next\">{new}</label>\n\
             <input id=\"next\" name=\"new_passphrase\" type=\"password\" autocomplete=\"new-password\" maxlength=\"1024\" required>\n{code}\
             <button type=\"submit\" id=\"submit\">{submit}</button>\n\
             <p id=\"busy\" role=\"status\" hidden>{busy}</p>\n\
             </form>\n<script src=\"{SCRIPT_PATH}\" type=\"module\"></script>\n",
            title = say("settings_change"),
            salt = escape(self.salt),
            iterations = self.iterations,
            next = self.next_iterations,
            key = escape(self.vault_key),
            weak = say("error_weak"),
            wrong = say("error_current"),
            later = say("error_later"),
            domain = escape(self.domain),
            no_script = say("login_no_script"),
            current = say("form_current"),
            new = say("form_new"),
            submit = say("settings_change"),
            busy = say("login_busy"),
        )
    }
}
