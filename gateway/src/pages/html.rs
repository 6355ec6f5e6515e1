//! The one template of all pages.

/// The text of a page in one language, not escaped.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) title: String,
    pub(crate) paragraphs: Vec<String>,
}

/// A whole page. `style` has to be the text whose hash is in the policy; `more` is HTML after the text.
pub(super) fn page(text: &Text, language: &str, style: &str, more: &str) -> String {
    let title = escape(&text.title);
    let language = escape(language);
    let paragraphs: String = text
        .paragraphs
        .iter()
        .map(|paragraph| format!("<p>{}</p>\n", escape(paragraph)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{style}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{paragraphs}{more}</main>\n<footer>Hamlet</footer>\n</body>\n</html>\n"
    )
}

/// Escapes a text for use between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
