//! The page on which an owner is asked whether a new version of an app may have what it asks for.

use crate::{Texts, escape};

/// What the page shows.
#[derive(Clone, Debug)]
pub struct UpdateView<'a> {
    /// Where the form is sent.
    pub path: &'a str,
    /// The title of the app.
    pub app: &'a str,
    /// The version that waits.
    pub version: &'a str,
    /// What it asks for; empty when only its terms are new.
    pub rules: Vec<AskedRule>,
    /// The same for the form, which sends back what was shown.
    pub shown: &'a str,
}

/// Something that an app asks for.
#[derive(Clone, Debug)]
pub struct AskedRule {
    /// The type of the documents.
    pub doctype: String,
    /// What it wants to do with them; empty for everything.
    pub verbs: Vec<String>,
    /// Which of them; empty for all.
    pub values: Vec<String>,
    /// What for, in the words of the app; may be empty.
    pub description: String,
}

/// The types of documents that have a name for people.
const NAMED: [(&str, &str); 6] = [
    ("io.cozy.files", "update_files"),
    ("io.cozy.contacts", "update_contacts"),
    ("io.cozy.apps", "update_apps"),
    ("io.cozy.settings", "update_settings"),
    ("io.cozy.bank", "update_bank"),
    ("io.cozy.accounts", "update_accounts"),
];
/// What can be done with documents.
const VERBS: [(&[&str], &str); 4] = [
    (&["GET"], "update_read"),
    (&["POST"], "update_make"),
    (&["PUT", "PATCH"], "update_change"),
    (&["DELETE"], "update_remove"),
];

impl UpdateView<'_> {
    /// The page's content as HTML.
    #[must_use]
    pub fn html(&self, texts: &Texts, language: &str) -> String {
        let say = |key: &str| escape(&texts.say(key, language));
        let of_app = |key: &str| {
            say(key)
                .replace("{version}", &escape(self.version))
                .replace("{app}", &escape(self.app))
        };
        let mut html = if self.rules.is_empty() {
            format!("<p>{}</p>\n", of_app("update_terms"))
        } else {
            let rules: String = self.rules.iter().map(|rule| rule.html(&say)).collect();
            let asks = of_app("update_asks");
            format!(
                "<p id=\"asks\">{asks}</p>\n<ul class=\"rows\" aria-labelledby=\"asks\">\n{rules}</ul>\n"
            )
        };
        html.push_str(&format!(
            "<form method=\"post\" action=\"{path}\" accept-charset=\"utf-8\">\n\
             <input type=\"hidden\" name=\"version\" value=\"{version}\">\n\
             <input type=\"hidden\" name=\"permissions\" value=\"{shown}\">\n\
             <button type=\"submit\">{agree}</button>\n</form>\n\
             <p><a href=\"/settings\">{later}</a></p>\n",
            path = escape(self.path),
            version = escape(self.version),
            shown = escape(self.shown),
            agree = say("update_agree"),
            later = say("update_later"),
        ));
        html
    }
}

impl AskedRule {
    fn html(&self, say: &impl Fn(&str) -> String) -> String {
        let exact = self.doctype.trim_end_matches(".*");
        let named = NAMED.iter().find(|(doctype, _)| {
            let below = exact.strip_prefix(doctype);
            below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
        });
        // What is below a named type is told apart by its own name.
        let what = match named {
            Some((doctype, key)) if *doctype == self.doctype => say(key),
            Some((_, key)) => format!("{} ({})", say(key), escape(&self.doctype)),
            None => escape(&self.doctype),
        };
        let has = |wanted: &[&str]| {
            wanted
                .iter()
                .any(|verb| self.verbs.iter().any(|it| it == verb))
        };
        let wants: Vec<&str> = VERBS
            .iter()
            .filter(|(verbs, _)| has(verbs))
            .map(|(_, key)| *key)
            .collect();
        let is_all = self.verbs.is_empty() || has(&["ALL"]) || wants.len() == VERBS.len();
        let wants = if is_all { vec!["update_all"] } else { wants };
        let mut html = String::new();
        for key in wants {
            html.push_str(&format!("<div>{}</div>", say(key).replace("{what}", &what)));
        }
        if !self.values.is_empty() {
            let values = escape(&self.values.join(", "));
            let only = say("update_only").replace("{what}", &values);
            html.push_str(&format!("<p class=\"help\">{only}</p>"));
        }
        if !self.description.is_empty() {
            let says = say("update_says").replace("{reason}", &escape(&self.description));
            html.push_str(&format!("<p class=\"help\">{says}</p>"));
        }
        format!("<li><div>{html}</div></li>\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{AskedRule, UpdateView};
    use crate::Texts;

    fn rule(doctype: &str, verbs: &[&str]) -> AskedRule {
        AskedRule {
            doctype: doctype.to_owned(),
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            values: Vec::new(),
            description: String::new(),
        }
    }

    fn html(rules: Vec<AskedRule>) -> String {
        let view = UpdateView {
            path: "/settings/apps/drive",
            app: "Drive <3",
            version: "2.0.0",
            rules,
            shown: "{\"a\":1}",
        };
        view.html(&Texts::new().unwrap(), "en")
    }

    #[test]
    fn what_an_app_asks_for_is_said_in_words() {
        let page = html(vec![
            rule("io.cozy.files", &["GET", "PATCH"]),
            rule("io.cozy.bank.accounts", &[]),
            AskedRule {
                values: vec!["<one>".to_owned()],
                description: "To <help>".to_owned(),
                ..rule("io.cozy.notes", &["DELETE"])
            },
        ]);
        for part in [
            "Drive &lt;3, version 2.0.0, wants to:",
            "<div>read: your files</div><div>change: your files</div>",
            "read, add, change and delete: your bank data (io.cozy.bank.accounts)",
            "delete: io.cozy.notes",
            "Only these: &lt;one&gt;",
            "The app says: To &lt;help&gt;",
            "name=\"permissions\" value=\"{&quot;a&quot;:1}\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn new_terms_alone_are_told_as_such() {
        let page = html(Vec::new());
        assert!(page.contains("has new terms of use"), "{page}");
        assert!(!page.contains("<ul"), "{page}");
    }
}
