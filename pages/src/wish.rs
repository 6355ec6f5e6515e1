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

/// The doctype of files and folders.
const FILES: &str = "io.cozy.files";
/// The folder in which all others are.
const ROOT: &str = "io.cozy.files.root-dir";

/// Something that a program wants to do.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The kind of data.
    pub doctype: String,
    /// The verbs; empty for all.
    pub verbs: Vec<String>,
    /// The documents that it is limited to, or the values of the field; empty for all.
    pub only: Vec<String>,
    /// The field; empty for the id.
    pub selector: String,
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
        let only = self.limits(say);
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

impl Wish {
    /// To which of the documents it is limited.
    fn limits(&self, say: &impl Fn(&str) -> String) -> String {
        if self.only.is_empty() {
            return String::new();
        }
        let list = escape(&self.only.join(", "));
        let are_files = self.doctype.strip_suffix(".*").unwrap_or(&self.doctype) == FILES;
        let mut lines = Vec::new();
        match self.selector.as_str() {
            // What a rule names is in the top folder, or is it.
            "" | "_id" | "id" if are_files && self.only.iter().any(|it| it == ROOT) => {
                lines.push(say("scope_root"));
            }
            "" | "_id" | "id" => lines.push(say("scope_only").replace("{list}", &list)),
            selector => {
                let told = say("scope_where").replace("{selector}", &escape(selector));
                lines.push(told.replace("{list}", &list));
            }
        }
        // These three say nothing of what is in a folder.
        if are_files && !["type", "mime", "class"].contains(&self.selector.as_str()) {
            lines.push(say("scope_folders"));
        }
        lines
            .iter()
            .map(|line| format!("<p class=\"help\">{line}</p>"))
            .collect()
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
        limited(doctype, verbs, only, "", reason)
    }

    fn limited(
        doctype: &str,
        verbs: &[&str],
        only: &[&str],
        selector: &str,
        reason: &str,
    ) -> String {
        let list = |given: &[&str]| given.iter().map(|&it| it.to_owned()).collect();
        let wish = Wish {
            doctype: doctype.to_owned(),
            verbs: list(verbs),
            only: list(only),
            selector: selector.to_owned(),
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
    fn what_a_wish_is_limited_to_is_told_as_it_is_meant() {
        let folders = "<p class=\"help\">a folder includes everything in it</p>";
        let root = "<p class=\"help\">all of them, from the top folder down</p>";
        for (doctype, only, selector, part, has_folders) in [
            (
                "io.cozy.files",
                "file",
                "type",
                "<p class=\"help\">all whose type is: file</p>",
                false,
            ),
            (
                "io.cozy.contacts",
                "x",
                "<b>",
                "<p class=\"help\">all whose &lt;b&gt; is: x</p>",
                false,
            ),
            (
                "io.cozy.files",
                "x",
                "tags",
                "<p class=\"help\">all whose tags is: x</p>",
                true,
            ),
            (
                "io.cozy.files",
                "x",
                "",
                "<p class=\"help\">only these: x</p>",
                true,
            ),
            (
                "io.cozy.contacts",
                "x",
                "_id",
                "<p class=\"help\">only these: x</p>",
                false,
            ),
            ("io.cozy.files", "io.cozy.files.root-dir", "", root, true),
            (
                "io.cozy.files.*",
                "io.cozy.files.root-dir",
                "id",
                root,
                true,
            ),
        ] {
            let html = limited(doctype, &["GET"], &[only], selector, "");
            assert!(html.contains(part), "{part} in {html}");
            assert_eq!(html.contains(folders), has_folders, "{html}");
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
