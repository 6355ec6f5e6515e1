//! The page on which an owner lets a program in, and the words for what it may do.

use crate::{Texts, escape};

/// Where the form is sent, as in the compatible API.
const SUBMIT_PATH: &str = "/auth/authorize";

/// The doctypes that people have words for. What ends in a dot stands for all below it.
const KINDS: [(&str, &str); 22] = [
    ("*", "scope_everything"),
    ("io.cozy.files", "scope_files"),
    ("io.cozy.files.", "scope_files"),
    ("io.cozy.photos.", "scope_photos"),
    ("io.cozy.contacts", "scope_contacts"),
    ("io.cozy.contacts.", "scope_contacts"),
    ("io.cozy.notes", "scope_notes"),
    ("io.cozy.notes.", "scope_notes"),
    ("io.cozy.bank.", "scope_bank"),
    ("io.cozy.bills", "scope_bills"),
    ("com.bitwarden.", "scope_vault"),
    ("io.cozy.apps", "scope_apps"),
    ("io.cozy.konnectors", "scope_konnectors"),
    ("io.cozy.accounts", "scope_accounts"),
    ("io.cozy.settings", "scope_settings"),
    ("io.cozy.sessions", "scope_sessions"),
    ("io.cozy.oauth.", "scope_clients"),
    ("io.cozy.permissions", "scope_permissions"),
    ("io.cozy.sharings", "scope_sharings"),
    ("io.cozy.jobs", "scope_jobs"),
    ("io.cozy.triggers", "scope_jobs"),
    ("io.cozy.notifications", "scope_notifications"),
];

/// Something that a program wants to do.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The kind of data.
    pub doctype: String,
    /// The verbs; empty for all.
    pub verbs: Vec<String>,
    /// The documents that it is limited to; empty for all.
    pub only: Vec<String>,
}

impl Wish {
    fn html(&self, say: &impl Fn(&str) -> String) -> String {
        let all = self.verbs.is_empty() || self.verbs.iter().any(|verb| verb == "ALL");
        // In the order in which people think of them.
        let verbs = [
            (&["GET"][..], "verb_see"),
            (&["POST"], "verb_add"),
            (&["PUT", "PATCH"], "verb_change"),
            (&["DELETE"], "verb_delete"),
        ];
        let allowed: Vec<String> = verbs
            .iter()
            .filter(|(names, _)| {
                all || self.verbs.iter().any(|verb| names.contains(&verb.as_str()))
            })
            .map(|(_, key)| say(key))
            .collect();
        let only = if self.only.is_empty() {
            String::new()
        } else {
            let list = say("scope_only").replace("{list}", &escape(&self.only.join(", ")));
            format!("<p class=\"help\">{list}</p>")
        };
        format!(
            "<li><div>{}<p class=\"help\">{}</p>{only}</div></li>\n",
            kind(&self.doctype, say),
            allowed.join(" · ")
        )
    }
}

fn kind(doctype: &str, say: &impl Fn(&str) -> String) -> String {
    let doctype = doctype
        .strip_suffix('*')
        .filter(|it| !it.is_empty())
        .unwrap_or(doctype);
    let found = KINDS.iter().find(|(known, _)| {
        *known == doctype || (known.ends_with('.') && doctype.starts_with(known))
    });
    match found {
        Some((_, key)) => say(key),
        None => say("scope_other").replace("{kind}", &escape(doctype.trim_end_matches('.'))),
    }
}

/// What the page asks.
#[derive(Clone, Debug)]
pub struct ConsentForm<'a> {
    /// The value of the cookie that the form has to repeat.
    pub csrf: &'a str,
    /// The parameters of the request, which the form repeats.
    pub parameters: &'a [(&'static str, &'a str)],
    /// A page about the program; empty for none.
    pub home: &'a str,
    /// Where the browser goes on to.
    pub next: &'a str,
    /// What the program wants to do; empty when it wants to know who the owner is, and nothing else.
    pub wishes: &'a [Wish],
}

impl ConsentForm<'_> {
    /// The page's content as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let mut html = String::new();
        if !self.home.is_empty() {
            let home = escape(self.home);
            html.push_str(&format!(
                "<p>{} <a href=\"{home}\" rel=\"noreferrer noopener\" target=\"_blank\">{home}</a></p>\n",
                say("authorize_home")
            ));
        }
        html.push_str(&format!(
            "<h2>{}</h2>\n<ul class=\"rows\">\n",
            say("authorize_wants")
        ));
        if self.wishes.is_empty() {
            html.push_str(&format!("<li><div>{}</div></li>\n", say("scope_login")));
        }
        for wish in self.wishes {
            html.push_str(&wish.html(&say));
        }
        let next = say("authorize_next").replace("{host}", &escape(self.next));
        html.push_str(&format!(
            "</ul>\n<p>{next}</p>\n<form id=\"authorize\" method=\"post\" action=\"{SUBMIT_PATH}\" accept-charset=\"utf-8\">\n\
             <input type=\"hidden\" name=\"csrf_token\" value=\"{}\">\n",
            escape(self.csrf)
        ));
        for (name, value) in self.parameters {
            html.push_str(&format!(
                "<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n",
                escape(value)
            ));
        }
        html.push_str(&format!(
            "<button type=\"submit\" name=\"answer\" value=\"allow\">{}</button>\n\
             <button type=\"submit\" name=\"answer\" value=\"refuse\" class=\"plain\">{}</button>\n</form>\n",
            say("authorize_allow"),
            say("authorize_refuse")
        ));
        html
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{ConsentForm, KINDS, Wish};
    use crate::Texts;

    fn wish(doctype: &str, verbs: &[&str], only: &[&str]) -> Wish {
        let list = |given: &[&str]| given.iter().map(|&it| it.to_owned()).collect();
        Wish {
            doctype: doctype.to_owned(),
            verbs: list(verbs),
            only: list(only),
        }
    }

    fn html(wishes: &[Wish]) -> String {
        let form = ConsentForm {
            csrf: "abc",
            parameters: &[("state", "\"><script>")],
            home: "https://app.example/?a&b",
            next: "app.example",
            wishes,
        };
        form.html(&Texts::new().unwrap(), "en")
    }

    #[test]
    fn wishes_are_told_in_words() {
        let html = html(&[
            wish("io.cozy.files", &["GET"], &[]),
            wish("io.cozy.bank.*", &[], &[]),
            wish("io.cozy.contacts.accounts", &["PATCH", "POST"], &["<one>"]),
            wish("org.example.songs", &["ALL"], &[]),
        ]);
        for part in [
            "<div>Your files and folders<p class=\"help\">see</p></div>",
            "<div>Your bank accounts and operations<p class=\"help\">see · add · change · delete</p>",
            "<div>Your contacts<p class=\"help\">add · change</p><p class=\"help\">only these: &lt;one&gt;</p>",
            "<div>Data of the kind org.example.songs<p",
            "value=\"&quot;&gt;&lt;script&gt;\"",
            "href=\"https://app.example/?a&amp;b\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(super::tests::html(&[]).contains("<li><div>Know that"));
    }

    #[test]
    fn every_kind_has_words() {
        let texts = Texts::new().unwrap();
        for (doctype, key) in KINDS {
            assert!(!texts.say(key, "ja").is_empty(), "{doctype}");
        }
    }
}
