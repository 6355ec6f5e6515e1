//! What a request is to a coordinator, by its method and path.

use http::Method;

use super::wire::{Call, decoded};

/// How a coordinator handles a request. `db` is the decoded name of a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The node answers alone.
    Own,
    /// The list of the nodes.
    Membership,
    /// The node with this name answers, for itself.
    Node { name: String },
    /// Any node answers for the whole server.
    AnyServer,
    /// A database is created or deleted.
    Database { db: String },
    /// Any node answers for the database.
    Any { db: String },
    /// The changes feed.
    Changes { db: String },
    /// A document or a part of it is read. `document` is the path of the document.
    Read { db: String, document: String },
    /// A document is deleted.
    Delete { db: String, document: String },
    /// Each node executes the request.
    Write { db: String },
    /// Each node writes many documents.
    Bulk { db: String },
    /// A document without an id in its path is created.
    Post { db: String },
}

impl Route {
    pub(super) fn of(call: &Call) -> Self {
        let segments: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        let first = segments[0];
        match first {
            "_membership" => return Self::Membership,
            "_node" if segments.get(1).is_some_and(|name| *name != "_local") => {
                return Self::Node {
                    name: decoded(segments[1]),
                };
            }
            "_all_dbs" | "_dbs_info" => return Self::AnyServer,
            "" => return Self::Own,
            own if own.starts_with('_') && !matches!(own, "_users" | "_replicator") => {
                return Self::Own;
            }
            _ => {}
        }
        let db = decoded(first);
        let document = |length: usize| format!("/{}", segments[..length].join("/"));
        match segments[1..] {
            [] if reads => Self::Any { db },
            [] if call.method == Method::POST => Self::Post { db },
            [] => Self::Database { db },
            ["_bulk_docs"] => Self::Bulk { db },
            ["_changes"] => Self::Changes { db },
            [
                "_all_docs" | "_design_docs" | "_local_docs" | "_find" | "_explain" | "_bulk_get"
                | "_revs_diff" | "_missing_revs",
                ..,
            ] => Self::Any { db },
            ["_design", _, part, ..] if part.starts_with('_') => Self::Any { db },
            ["_design", _, ..] if reads => Self::Read {
                db,
                document: document(3),
            },
            ["_design", _] if call.method == Method::DELETE => Self::Delete {
                db,
                document: document(3),
            },
            ["_design", ..] => Self::Write { db },
            [special, ..] if special.starts_with('_') && !special.starts_with("_design%") => {
                if reads {
                    Self::Any { db }
                } else {
                    Self::Write { db }
                }
            }
            [_, ..] if reads => Self::Read {
                db,
                document: document(2),
            },
            [_] if call.method == Method::DELETE => Self::Delete {
                db,
                document: document(2),
            },
            _ => Self::Write { db },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let of = |method, path| Route::of(&Call::new(method, path));
        let db = || "global/x".to_owned();
        let document = |path: &str| path.to_owned();
        assert_eq!(of(Method::GET, "/"), Route::Own);
        assert_eq!(of(Method::GET, "/_up"), Route::Own);
        assert_eq!(of(Method::GET, "/_node/_local/_stats"), Route::Own);
        assert_eq!(
            of(Method::GET, "/_node/couchdb%40node1/_stats"),
            Route::Node {
                name: "couchdb@node1".to_owned()
            }
        );
        assert_eq!(
            of(Method::PUT, "/global%2Fx?q=1"),
            Route::Database { db: db() }
        );
        assert_eq!(of(Method::GET, "/global%2Fx"), Route::Any { db: db() });
        assert_eq!(
            of(Method::GET, "/global%2Fx/a%2Fb/picture?rev=1-a"),
            Route::Read {
                db: db(),
                document: document("/global%2Fx/a%2Fb")
            }
        );
        assert_eq!(
            of(Method::GET, "/global%2Fx/_design/a"),
            Route::Read {
                db: db(),
                document: document("/global%2Fx/_design/a")
            }
        );
        assert_eq!(
            of(Method::GET, "/global%2Fx/_design/a/_view/b"),
            Route::Any { db: db() }
        );
        assert_eq!(
            of(Method::DELETE, "/global%2Fx/a"),
            Route::Delete {
                db: db(),
                document: document("/global%2Fx/a")
            }
        );
        assert_eq!(
            of(Method::POST, "/global%2Fx/_bulk_docs"),
            Route::Bulk { db: db() }
        );
    }
}
