//! The definition of a Mango index.

use crate::{
    json::{Json, obj},
    mango::{collation, fields, matcher::Matcher, selector},
};

/// A Mango index of type `json`.
pub(crate) struct IndexDef {
    pub(crate) id: i64,
    /// The id of the design document, with `_design/`.
    pub(crate) ddoc: String,
    pub(crate) name: String,
    /// The names and directions of the fields, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) partial: Option<Json>,
    /// Whether the index is for queries of one partition, and not for those of all.
    pub(crate) partitioned: bool,
    /// Whether the index has the rows of all documents.
    pub(crate) ready: bool,
    paths: Vec<Vec<String>>,
    matcher: Matcher,
}

impl IndexDef {
    /// Parses the definition (`map`) in a design document.
    pub(crate) fn new(id: i64, ddoc: &str, name: &str, map: &Json, ready: bool) -> Option<Self> {
        let fields: Vec<(String, String)> = map
            .get("fields")?
            .as_obj()?
            .iter()
            .map(|(field, direction)| Some((field.clone(), direction.as_str()?.to_owned())))
            .collect::<Option<_>>()?;
        let partial = map
            .get("partial_filter_selector")
            .or_else(|| map.get("selector"))
            .filter(|selector| selector.as_obj().is_some_and(|members| !members.is_empty()))
            .cloned();
        let matcher = match &partial {
            Some(partial) => Matcher::new(&selector::normalize(partial).ok()?).ok()?,
            None => Matcher::Everything,
        };
        let paths = fields
            .iter()
            .map(|(field, _)| fields::path(field).ok())
            .collect::<Option<_>>()?;
        Some(Self {
            id,
            ddoc: ddoc.to_owned(),
            name: name.to_owned(),
            fields,
            partial,
            partitioned: false,
            ready,
            paths,
            matcher,
        })
    }

    /// The names of the fields.
    pub(crate) fn columns(&self) -> Vec<&str> {
        self.fields
            .iter()
            .map(|(field, _)| field.as_str())
            .collect()
    }

    /// The key of a document in this index, if the index includes it.
    pub(crate) fn key(&self, doc: &Json) -> Option<Vec<u8>> {
        if doc
            .get("_id")
            .and_then(Json::as_str)
            .is_some_and(|id| id.starts_with("_design/"))
            || !self.matcher.matches(doc)
        {
            return None;
        }
        let mut key = Vec::with_capacity(48);
        for path in &self.paths {
            collation::encode(fields::get(doc, path)?, &mut key);
        }
        Some(key)
    }

    /// The definition in the format of `GET /{db}/_index`.
    pub(crate) fn to_json(&self) -> Json {
        let fields = self
            .fields
            .iter()
            .map(|(field, direction)| obj([(field, direction.as_str().into())]))
            .collect();
        let mut def = vec![("fields".to_owned(), Json::Arr(fields))];
        if let Some(partial) = &self.partial {
            def.push(("partial_filter_selector".to_owned(), partial.clone()));
        }
        obj([
            ("ddoc", self.ddoc.as_str().into()),
            ("name", self.name.as_str().into()),
            ("type", "json".into()),
            ("partitioned", self.partitioned.into()),
            ("def", Json::Obj(def)),
        ])
    }
}
