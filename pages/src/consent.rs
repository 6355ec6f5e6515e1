//! The page on which an owner is asked whether a new version of an app may have what it asks for.

use crate::{Texts, Wish, escape};

/// What the page shows.
#[derive(Clone, Debug)]
pub struct ConsentView<'a> {
    /// Where the form is sent.
    pub path: &'a str,
    /// The title of the app.
    pub app: &'a str,
    /// The version that waits.
    pub version: &'a str,
    /// What it asks for; empty when only its terms are new.
    pub rules: Vec<Wish>,
    /// The same for the form, which sends back what was shown.
    pub shown: &'a str,
}

impl ConsentView<'_> {
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
            format!("<p>{}</p>\n", of_app("consent_terms"))
        } else {
            let rules: String = self.rules.iter().map(|rule| rule.html(&say)).collect();
            let asks = of_app("consent_asks");
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
            agree = say("consent_agree"),
            later = say("consent_later"),
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

    use super::ConsentView;
    use crate::{Texts, Wish};

    fn html(rules: Vec<Wish>) -> String {
        let view = ConsentView {
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
        let page = html(vec![Wish {
            doctype: "io.cozy.files".to_owned(),
            reason: "To <help>".to_owned(),
            ..Wish::default()
        }]);
        for part in [
            "Drive &lt;3, version 2.0.0, wants to:",
            "<div>Your files and folders<p",
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
