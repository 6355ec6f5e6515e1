//! Design documents of Mango indexes and JavaScript views, without I/O.
//!
//! They let the indexes and views of a database be written together with its first documents in one
//! `_bulk_docs`. CouchDB uses Mango indexes that were written this way. The documents equal those that
//! `POST _index` of CouchDB 3.4.3 stores, so a later `POST _index` of the same definition returns `exists`.

use serde_json::{Map, Value, json};

/// A Mango index, alone in its design document.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    ddoc: &'static str,
    name: &'static str,
    fields: &'static [&'static str],
    partial_filter: Option<Filter>,
}

/// A partial filter, in the two forms that CouchDB stores.
#[derive(Clone, Copy, Debug)]
struct Filter {
    selector: fn() -> Value,
    normalized: fn() -> Value,
}

impl Index {
    /// An ascending index over `fields` in `_design/<ddoc>`. `name` should be the name that CouchDB derives
    /// from the definition: otherwise a later `POST _index` creates a second index.
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

    /// Restricts the index to documents that match `selector`. `normalized` is the same selector in CouchDB's
    /// normalized form, with an explicit operator for each condition, as in `{"open": {"$eq": true}}`.
    #[must_use]
    pub const fn only_where(mut self, selector: fn() -> Value, normalized: fn() -> Value) -> Self {
        self.partial_filter = Some(Filter {
            selector,
            normalized,
        });
        self
    }

    /// The id of the design document.
    #[must_use]
    pub fn id(&self) -> String {
        format!("_design/{}", self.ddoc)
    }

    /// The body of the design document.
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

/// A JavaScript view, alone in the design document of the same name.
#[derive(Clone, Copy, Debug)]
pub struct View {
    name: &'static str,
    map: &'static str,
    reduce: Option<&'static str>,
}

impl View {
    /// A view with a map function and optionally a built-in reduce function such as `_count`.
    #[must_use]
    pub const fn new(name: &'static str, map: &'static str, reduce: Option<&'static str>) -> Self {
        Self { name, map, reduce }
    }

    /// The id of the design document.
    #[must_use]
    pub fn id(&self) -> String {
        format!("_design/{}", self.name)
    }

    /// The body of the design document.
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
    fn the_document_of_an_index_equals_the_one_that_couchdb_stores() {
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
    fn a_view_without_reduce_has_no_reduce_member() {
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
