//! What a browser says of itself, in words for its owner.

/// The browsers by what tells them apart. The first that fits counts: most name others, too.
const BROWSERS: [(&str, &str); 6] = [
    ("Firefox/", "Firefox"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The name of the browser in a `User-Agent`, and of its system; empty where it is none of those that most people have.
#[must_use]
pub fn describe(user_agent: &str) -> (&'static str, &'static str) {
    let known = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(mark, _)| user_agent.contains(mark));
        found.map_or("", |(_, name)| *name)
    };
    (known(&BROWSERS), known(&SYSTEMS))
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn browsers_are_told_apart() {
        for (user_agent, browser, system) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox",
                "Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 \
                 Mobile/15E148 Safari/604.1",
                "Safari",
                "iOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                 Safari/537.36 Edg/140.0.0.0",
                "Edge",
                "Windows",
            ),
            ("curl/8.0", "", ""),
        ] {
            assert_eq!(describe(user_agent), (browser, system), "{user_agent}");
        }
    }
}
