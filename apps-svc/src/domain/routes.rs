//! The routes of a web app: which file answers a path, and whether strangers may read it.

use serde_json::{Map, Value};

/// A part of an app's paths, with the folder that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The clean path at which it begins.
    at: String,
    /// The folder of its files, as the manifest has it.
    pub(crate) folder: String,
    /// The page that answers the path itself, as the manifest has it; empty when it has none.
    pub(crate) index: String,
    /// Whether strangers may read its files.
    pub(crate) is_public: bool,
}

/// The routes of an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes(Vec<Route>);

/// The route of a path.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    /// The route.
    pub(crate) route: &'a Route,
    /// What follows the route in the path, without a slash at its beginning.
    pub(crate) rest: &'a str,
}

impl Routes {
    /// The routes in the document of an app. Documents that other software wrote may hold anything.
    pub(crate) fn of(routes: Option<&Value>) -> Self {
        let declared = routes.and_then(Value::as_object);
        let route = |(at, route): (&String, &Value)| {
            let text = |name: &str| route.get(name).and_then(Value::as_str);
            Route {
                at: clean(at),
                folder: text("folder").unwrap_or_default().to_owned(),
                index: text("index").unwrap_or_default().to_owned(),
                is_public: route.get("public").and_then(Value::as_bool) == Some(true),
            }
        };
        let mut found: Vec<Route> = declared
            .into_iter()
            .flat_map(Map::iter)
            .map(route)
            .collect();
        if declared.is_none() {
            found.push(Route {
                at: "/".to_owned(),
                folder: "/".to_owned(),
                index: "index.html".to_owned(),
                is_public: false,
            });
        }
        // The longest is tried first.
        found.sort_by_key(|route| std::cmp::Reverse(route.at.len()));
        Self(found)
    }

    /// The longest route that a clean path fits, by whole segments.
    pub(crate) fn find<'a>(&'a self, path: &'a str) -> Option<Found<'a>> {
        self.0.iter().find_map(|route| {
            let rest = if route.at == "/" {
                path.strip_prefix('/')?
            } else {
                let rest = path.strip_prefix(route.at.as_str())?;
                if rest.is_empty() {
                    rest
                } else {
                    rest.strip_prefix('/')?
                }
            };
            Some(Found { route, rest })
        })
    }

    /// How much memory they take, about.
    pub(crate) fn weight(&self) -> usize {
        let of = |route: &Route| 96 + route.at.len() + route.folder.len() + route.index.len();
        self.0.iter().map(of).sum()
    }
}

impl Found<'_> {
    /// The file that answers, relative to the top of the app; `None` when the path itself has no page.
    pub(crate) fn file(&self) -> Option<String> {
        let name = match self.rest {
            "" if self.route.index.is_empty() => return None,
            "" => self.route.index.as_str(),
            rest => rest,
        };
        let file = clean(&format!("/{}/{name}", self.route.folder));
        Some(file.trim_start_matches('/').to_owned())
    }

    /// Whether that file is the page of the route.
    pub(crate) fn is_index(&self) -> bool {
        self.rest.is_empty() || (!self.route.index.is_empty() && self.rest == self.route.index)
    }
}

/// The shortest form of an absolute path: without empty steps, `.` and `..`, which never leads above the top, and without a
/// slash at its end. It is `.` for the empty path.
pub(crate) fn clean(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    format!("/{}", steps.join("/"))
}

/// The path of a request, decoded and in its shortest form; `None` when it can be that of no file.
pub(crate) fn path_of(sent: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(sent)
        .decode_utf8()
        .ok()?;
    let is_odd = |it: char| it.is_control() || it == '\\';
    (!decoded.contains(is_odd)).then(|| clean(&decoded))
}

/// Whether a file of this name never changes: its name holds a hash, or says so.
pub(crate) fn is_immutable(file: &str) -> bool {
    /// A shorter number may count versions.
    const HASH: usize = 10;
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').nth(1).is_some_and(|part| {
        part == "immutable"
            || (part.len() >= HASH && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::{Routes, clean, is_immutable, path_of};

    /// What an existing server does with paths.
    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/routing-vectors.json")).unwrap()
    }

    fn check(routes: &Value, cases: &Value) {
        let routes = Routes::of(Some(routes));
        for case in cases.as_array().unwrap() {
            let path = clean(case["request_path"].as_str().unwrap());
            assert_eq!(path, case["clean"].as_str().unwrap(), "{case}");
            let found = routes.find(&path);
            assert_eq!(found.is_some(), case["found"] == true, "{case}");
            if let Some(found) = found {
                assert_eq!(found.route.folder, case["folder"].as_str().unwrap());
                assert_eq!(found.route.index, case["index"].as_str().unwrap());
                assert_eq!(found.route.is_public, case["public"] == true, "{case}");
                assert_eq!(found.rest, case["rest"].as_str().unwrap(), "{case}");
            }
        }
    }

    #[test]
    fn the_longest_route_of_whole_segments_answers() {
        let vectors = vectors();
        check(&vectors["routes_table"], &vectors["find_route"]);
        let only_app = json!({"/app": {"folder": "/", "index": "index.html", "public": false}});
        check(&only_app, &vectors["find_route_when_only_/app_is_declared"]);
    }

    #[test]
    fn names_with_hashes_never_change() {
        for case in vectors()["asset_id"].as_array().unwrap() {
            let file = case["file"].as_str().unwrap();
            assert_eq!(is_immutable(file), case["immutable"] == true, "{file}");
        }
    }

    #[test]
    fn a_route_names_the_file_that_answers() {
        let routes = Routes::of(Some(&json!({
            "/": {"folder": "/", "index": "index.html"},
            "/assets": {"folder": "/static/", "public": true},
            "/odd/": {"folder": "../..//x", "index": "../../../y.html"},
        })));
        let file = |path: &str| routes.find(path).unwrap().file();
        assert_eq!(file("/").as_deref(), Some("index.html"));
        assert_eq!(file("/a/b.js").as_deref(), Some("a/b.js"));
        assert_eq!(file("/assets/b.js").as_deref(), Some("static/b.js"));
        assert_eq!(file("/assets"), None);
        // What other software may have stored does not lead out of the app.
        assert_eq!(file("/odd").as_deref(), Some("y.html"));
        assert_eq!(file("/odd/z").as_deref(), Some("x/z"));
        let is_index = |path: &str| routes.find(path).unwrap().is_index();
        assert!(is_index("/") && is_index("/index.html") && is_index("/assets"));
        assert!(!is_index("/a/index.html") && !is_index("/assets/index.html"));
    }

    #[test]
    fn an_app_without_routes_has_one_page() {
        let routes = Routes::of(None);
        let found = routes.find("/").unwrap();
        assert_eq!(found.file().as_deref(), Some("index.html"));
        assert!(!found.route.is_public);
        assert!(Routes::of(Some(&json!({}))).find("/").is_none());
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(path_of("/a%20b/%2e%2e/c").as_deref(), Some("/c"));
        assert_eq!(path_of("/%252e%252e/c").as_deref(), Some("/%2e%2e/c"));
        for odd in ["/a%00b", "/a%ff", "/a%5c..%5cb", "/a%0ab"] {
            assert_eq!(path_of(odd), None, "{odd}");
        }
    }
}
