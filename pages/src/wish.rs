//! What a program wants to do, in words for people.

use crate::escape;

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
    /// What for, in the words of the program; may be empty.
    pub reason: String,
}

impl Wish {
    pub(crate) fn html(&self, say: &impl Fn(&str) -> String) -> String {
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
        let reason = if self.reason.is_empty() {
            String::new()
        } else {
            let says = say("consent_says").replace("{reason}", &escape(&self.reason));
            format!("<p class=\"help\">{says}</p>")
        };
        format!(
            "<li><div>{}<p class=\"help\">{}</p>{only}{reason}</div></li>\n",
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{KINDS, Wish};
    use crate::{Texts, escape};

    fn html(doctype: &str, verbs: &[&str], only: &[&str], reason: &str) -> String {
        let list = |given: &[&str]| given.iter().map(|&it| it.to_owned()).collect();
        let wish = Wish {
            doctype: doctype.to_owned(),
            verbs: list(verbs),
            only: list(only),
            reason: reason.to_owned(),
        };
        let texts = Texts::new().unwrap();
        wish.html(&|key: &str| escape(&texts.say(key, "en")))
    }

    #[test]
    fn wishes_are_told_in_words() {
        for (html, part) in [
            (
                html("io.cozy.files", &["GET"], &[], ""),
                "<div>Your files and folders<p class=\"help\">see</p></div>",
            ),
            (
                html("io.cozy.bank.*", &[], &[], ""),
                "<div>Your bank accounts and operations<p class=\"help\">see · add · change · delete</p>",
            ),
            (
                html(
                    "io.cozy.contacts.accounts",
                    &["PATCH", "POST"],
                    &["<one>"],
                    "",
                ),
                "<div>Your contacts<p class=\"help\">add · change</p><p class=\"help\">only these: &lt;one&gt;</p>",
            ),
            (
                html("org.example.songs", &["ALL"], &[], ""),
                "<div>Data of the kind org.example.songs<p",
            ),
            (
                html("io.cozy.files", &["GET"], &[], "To <help>"),
                "<p class=\"help\">The app says: To &lt;help&gt;</p>",
            ),
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn every_kind_has_words() {
        let texts = Texts::new().unwrap();
        for (doctype, key) in KINDS {
            assert!(!texts.say(key, "ja").is_empty(), "{doctype}");
        }
    }
}
