//! Design documents, pure: what an index or a view looks like when it is written as a document.
//!
//! A database's indexes and views can so be written together with its first documents in one
//! `_bulk_docs`. CouchDB uses Mango indexes that were written this way; the shape is the one that its own
//! `POST _index` stores (3.4.3), so that the same definition posted later is answered `exists`.

use serde_json::{Map, Value, json};

/// A Mango index in a design document of its own.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    ddoc: &'static str,
    name: &'static str,
    fields: &'static [&'static str],
    partial_filter: Option<Filter>,
}

/// A partial filter in the two forms in which CouchDB keeps it.
#[derive(Clone, Copy, Debug)]
struct Filter {
    selector: fn() -> Value,
    normalized: fn() -> Value,
}

impl Index {
    /// An index over `fields`, ascending, in `_design/<ddoc>`. `name` is what CouchDB calls an index of
    /// this definition.
    #[must_use]
    pub const fn new(
        ddoc: &'static str,
        name: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        Self {
            ddoc,
            name,
            fields,
            partial_filter: None,
        }
    }

    /// The same index over those documents only that `selector` matches. `normalized` is the selector as
    /// CouchDB spells it out: every condition an operator, as in `{"open": {"$eq": true}}`.
    #[must_use]
    pub const fn only_where(mut self, selector: fn() -> Value, normalized: fn() -> Value) -> Self {
        self.partial_filter = Some(Filter {
            selector,
            normalized,
        });
        self
    }

    /// The id of its design document.
    #[must_use]
    pub fn id(&self) -> String {
        format!("_design/{}", self.ddoc)
    }

    /// The body of its design document.
    #[must_use]
    pub fn body(&self) -> Value {
        let ascending: Map<String, Value> = self
            .fields
            .iter()
            .map(|&field| (field.to_owned(), json!("asc")))
            .collect();
        let mut definition = json!({ "fields": self.fields });
        let filter = match self.partial_filter {
            Some(filter) => {
                if let Some(definition) = definition.as_object_mut() {
                    definition.insert("partial_filter_selector".to_owned(), (filter.selector)());
                }
                (filter.normalized)()
            }
            None => json!({}),
        };
        json!({
            "language": "query",
            "views": {
                self.name: {
                    "map": { "fields": ascending, "partial_filter_selector": filter },
                    "reduce": "_count",
                    "options": { "def": definition },
                }
            }
        })
    }
}

/// A JavaScript view in a design document of the same name.
#[derive(Clone, Copy, Debug)]
pub struct View {
    name: &'static str,
    map: &'static str,
    reduce: Option<&'static str>,
}

impl View {
    /// A view with a map function and, if it has one, a built-in reduce function such as `_count`.
    #[must_use]
    pub const fn new(name: &'static str, map: &'static str, reduce: Option<&'static str>) -> Self {
        Self { name, map, reduce }
    }

    /// The id of its design document.
    #[must_use]
    pub fn id(&self) -> String {
        format!("_design/{}", self.name)
    }

    /// The body of its design document.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut view = json!({ "map": self.map });
        if let (Some(view), Some(reduce)) = (view.as_object_mut(), self.reduce) {
            view.insert("reduce".to_owned(), json!(reduce));
        }
        json!({ "language": "javascript", "views": { self.name: view } })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Index, View};

    #[test]
    fn an_index_looks_as_couchdb_stores_it() {
        let index = Index::new(
            "open",
            "8181d20eec946f330549459eed128ae3a70bee8b",
            &["created_at"],
        )
        .only_where(|| json!({"open": true}), || json!({"open": {"$eq": true}}));
        assert_eq!(index.id(), "_design/open");
        assert_eq!(
            index.body(),
            json!({
                "language": "query",
                "views": {
                    "8181d20eec946f330549459eed128ae3a70bee8b": {
                        "map": {
                            "fields": {"created_at": "asc"},
                            "partial_filter_selector": {"open": {"$eq": true}}
                        },
                        "reduce": "_count",
                        "options": {
                            "def": {
                                "fields": ["created_at"],
                                "partial_filter_selector": {"open": true}
                            }
                        }
                    }
                }
            })
        );
    }

    #[test]
    fn a_view_without_reduce_has_no_such_member() {
        let view = View::new("by-x", "function (doc) { emit(doc.x, null); }", None);
        assert_eq!(
            view.body(),
            json!({
                "language": "javascript",
                "views": {"by-x": {"map": "function (doc) { emit(doc.x, null); }"}}
            })
        );
    }
}
