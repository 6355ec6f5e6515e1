//! The page on which an owner lets a program in.

use crate::{Texts, Wish, escape};

/// Where the form is sent, as in the compatible API.
const SUBMIT_PATH: &str = "/auth/authorize";

/// What the page asks.
#[derive(Clone, Debug)]
pub struct AuthorizeForm<'a> {
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

impl AuthorizeForm<'_> {
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

    use super::AuthorizeForm;
    use crate::{Texts, Wish};

    fn html(wishes: &[Wish]) -> String {
        let form = AuthorizeForm {
            csrf: "abc",
            parameters: &[("state", "\"><script>")],
            home: "https://app.example/?a&b",
            next: "app.example",
            wishes,
        };
        form.html(&Texts::new().unwrap(), "en")
    }

    #[test]
    fn what_a_program_sends_is_shown_as_text() {
        let wish = Wish {
            doctype: "io.cozy.files".to_owned(),
            ..Wish::default()
        };
        let html = html(&[wish]);
        for part in [
            "<div>Your files and folders<p",
            "value=\"&quot;&gt;&lt;script&gt;\"",
            "href=\"https://app.example/?a&amp;b\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn a_program_may_want_to_know_who_the_owner_is_and_nothing_else() {
        assert!(html(&[]).contains("<li><div>Know that"));
    }
}
