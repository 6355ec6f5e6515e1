//! The routes of a router: a list that is kept beside the code, so that tests from outside know all of them.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

/// The environment variable with which the lists are written anew.
const UPDATE: &str = "HAMLET_UPDATE_DOCS";

/// Compares the routes of a router with the list in a file: a line for each, with its methods and its path. `router` is what
/// `{:?}` shows of an axum router, which tells its routes in no other way.
///
/// # Panics
/// When they differ, and the list is not to be written anew.
pub fn assert_listed(router: &str, list: &Path) {
    let routes = listed(router);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(list, &routes).expect("the list can be written");
        return;
    }
    let kept = fs::read_to_string(list).unwrap_or_default();
    assert_eq!(
        routes,
        kept,
        "{} differs; {UPDATE}=1 writes it anew, and the tests of who may use a route want to know of it",
        list.display()
    );
}

fn listed(router: &str) -> String {
    // The second part is of routes for what has none.
    let router = router.split("fallback_router").next().unwrap_or_default();
    let (routes, paths) = router
        .rsplit_once("paths: {")
        .expect("a router with its paths");
    let methods: BTreeMap<u32, String> = by_id(routes)
        .map(|(id, route)| {
            let allowed = route.split_once("Bytes(b\"").map(|(_, rest)| rest);
            let allowed = allowed.and_then(|rest| rest.split('"').next());
            let mut allowed: Vec<&str> = allowed.unwrap_or("ANY").split(',').collect();
            allowed.sort_unstable();
            (id, allowed.join(","))
        })
        .collect();
    let mut lines: Vec<(String, String)> = by_id(paths)
        .filter_map(|(id, rest)| {
            let path = rest.split('"').nth(1)?;
            Some((path.to_owned(), methods.get(&id)?.clone()))
        })
        .collect();
    lines.sort();
    lines
        .iter()
        .fold(String::new(), |mut text, (path, methods)| {
            let _fits = writeln!(text, "{methods} {path}");
            text
        })
}

/// The parts of a text that begin with an id.
fn by_id(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.split("RouteId(").skip(1).filter_map(|part| {
        let (id, rest) = part.split_once(')')?;
        Some((id.parse().ok()?, rest))
    })
}
