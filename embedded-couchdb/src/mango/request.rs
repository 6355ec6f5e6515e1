//! Parsing of the bodies of `_find`, `_explain` and `_index`, with the validation of CouchDB.

use http::StatusCode;

use super::{fields, selector};
use crate::{
    api_error::ApiError,
    erlang::{Term, printed, printed_readably},
    json::{Json, obj},
    storage::partitions,
};

fn refused(error: &'static str, reason: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, error, reason)
}

/// A query.
#[derive(Clone, Debug)]
pub(crate) struct Find {
    /// The normalized selector.
    pub(crate) selector: Json,
    /// The design document, without `_design/`, and optionally the index.
    pub(crate) use_index: Vec<String>,
    pub(crate) bookmark: Option<String>,
    pub(crate) limit: i64,
    pub(crate) skip: i64,
    pub(crate) sort: Vec<(String, String)>,
    /// `None` for all fields.
    pub(crate) fields: Option<Vec<String>>,
    /// Empty for all partitions.
    pub(crate) partition: String,
    pub(crate) r: i64,
    pub(crate) conflicts: bool,
    pub(crate) stale: bool,
    pub(crate) update: bool,
    pub(crate) stable: bool,
    pub(crate) execution_stats: bool,
    pub(crate) allow_fallback: bool,
}

const FIND_KEYS: [&str; 15] = [
    "selector",
    "use_index",
    "bookmark",
    "limit",
    "skip",
    "sort",
    "fields",
    "partition",
    "r",
    "conflicts",
    "stale",
    "update",
    "stable",
    "execution_stats",
    "allow_fallback",
];

impl Find {
    /// Restricts the query to one document.
    pub(crate) fn only_id(&mut self, id: &str) {
        let is_it = obj([("_id", obj([("$eq", id.into())]))]);
        let selector = std::mem::replace(&mut self.selector, Json::Null);
        let both = if selector.as_obj().is_some_and(<[_]>::is_empty) {
            is_it
        } else {
            obj([("$and", Json::Arr(vec![is_it, selector]))])
        };
        self.selector = both;
    }

    /// Restricts the query to the partition of the path.
    pub(crate) fn only_in(&mut self, partition: &str) -> Result<(), ApiError> {
        if !self.partition.is_empty() {
            return Err(ApiError::bad_request(
                "the path names the partition already",
            ));
        }
        partition.clone_into(&mut self.partition);
        Ok(())
    }

    /// Parses the body of a query.
    pub(crate) fn parse(body: &Json) -> Result<Self, ApiError> {
        let switch = |key: &str, unless: bool| match body.get(key) {
            None => Ok(unless),
            Some(Json::Bool(on)) => Ok(*on),
            Some(other) => Err(refused(
                "invalid_boolean",
                format!("Invalid boolean value: {}", printed(other)),
            )),
        };
        let count = |key: &str, unless: i64| match body.get(key) {
            None => Ok(unless),
            Some(Json::Int(n)) if *n >= 0 => Ok(*n),
            Some(Json::Big(digits)) if !digits.starts_with('-') => Ok(i64::MAX),
            Some(other) => Err(refused(
                "invalid_non_neg_integer",
                format!(
                    "{} is not an integer greater than or equal to zero",
                    printed(other)
                ),
            )),
        };
        let selector = body.get("selector").ok_or_else(|| {
            refused(
                "missing_required_key",
                "Missing required key: selector".to_owned(),
            )
        })?;
        let found = Self {
            selector: selector::normalize(selector)?,
            use_index: use_index(body.get("use_index"))?,
            bookmark: bookmark(body.get("bookmark"))?,
            limit: count("limit", 25)?,
            skip: count("skip", 0)?,
            sort: sort(body.get("sort").unwrap_or(&Json::Arr(Vec::new())))?,
            fields: field_list(body.get("fields"))?,
            partition: match body.get("partition") {
                None => String::new(),
                Some(Json::Str(partition)) if partition.is_empty() => String::new(),
                Some(Json::Str(partition)) => {
                    partitions::check_name(partition)?;
                    partition.clone()
                }
                Some(_) => return Err(partitions::no_name()),
            },
            r: match body.get("r") {
                None => 1,
                Some(Json::Int(n)) if *n > 0 => *n,
                Some(other) => {
                    return Err(refused(
                        "invalid_pos_integer",
                        format!("{} is not an integer greater than zero", printed(other)),
                    ));
                }
            },
            conflicts: switch("conflicts", false)?,
            stale: body.get("stale").and_then(Json::as_str) == Some("ok"),
            update: switch("update", true)?,
            stable: switch("stable", false)?,
            execution_stats: switch("execution_stats", false)?,
            allow_fallback: switch("allow_fallback", true)?,
        };
        only_known(body, &FIND_KEYS)?;
        Ok(found)
    }

    /// The options in the format of `_explain`.
    pub(crate) fn options(&self) -> Json {
        let fields = self
            .fields
            .iter()
            .flatten()
            .map(|field| field.as_str().into())
            .collect();
        obj([
            (
                "use_index",
                Json::Arr(
                    self.use_index
                        .iter()
                        .map(|part| part.as_str().into())
                        .collect(),
                ),
            ),
            ("bookmark", self.bookmark.as_deref().unwrap_or("nil").into()),
            ("limit", self.limit.into()),
            ("skip", self.skip.into()),
            (
                "sort",
                Json::Obj(
                    self.sort
                        .iter()
                        .map(|(field, way)| (field.clone(), way.as_str().into()))
                        .collect(),
                ),
            ),
            ("fields", Json::Arr(fields)),
            ("partition", self.partition.as_str().into()),
            ("r", self.r.into()),
            ("conflicts", self.conflicts.into()),
            (
                "stale",
                if self.stale {
                    "ok".into()
                } else {
                    false.into()
                },
            ),
            ("update", self.update.into()),
            ("stable", self.stable.into()),
            ("execution_stats", self.execution_stats.into()),
            ("allow_fallback", self.allow_fallback.into()),
        ])
    }

    /// Whether the sort order is descending.
    pub(crate) fn descending(&self) -> bool {
        self.sort.first().is_some_and(|(_, way)| way == "desc")
    }

    /// The paths of the requested fields.
    pub(crate) fn field_paths(&self) -> Result<Option<Vec<Vec<String>>>, ApiError> {
        self.fields
            .as_ref()
            .map(|list| list.iter().map(|field| fields::path(field)).collect())
            .transpose()
    }
}

fn only_known(body: &Json, known: &[&str]) -> Result<(), ApiError> {
    let strange = body
        .as_obj()
        .unwrap_or_default()
        .iter()
        .find(|(key, _)| !known.contains(&key.as_str()));
    match strange {
        Some((key, _)) => Err(refused(
            "invalid_key",
            format!("Invalid key {key} for this request."),
        )),
        None => Ok(()),
    }
}

fn use_index(value: Option<&Json>) -> Result<Vec<String>, ApiError> {
    let invalid = |value: &Json| {
        refused(
            "invalid_index_name",
            format!("Invalid index name: {}", printed(value)),
        )
    };
    match value {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(value @ Json::Str(name)) => {
            let parts: Vec<&str> = name.split('/').collect();
            match parts.as_slice() {
                [ddoc] | ["_design", ddoc] => Ok(vec![(*ddoc).to_owned()]),
                [ddoc, view] | ["_design", ddoc, view] => {
                    Ok(vec![(*ddoc).to_owned(), (*view).to_owned()])
                }
                _ => Err(invalid(value)),
            }
        }
        Some(value @ Json::Arr(parts)) if parts.len() <= 2 => parts
            .iter()
            .map(|part| {
                part.as_str()
                    .map(|part| part.trim_start_matches("_design/").to_owned())
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid(value)),
        Some(value) => Err(invalid(value)),
    }
}

fn bookmark(value: Option<&Json>) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Str(text)) if text.is_empty() => Ok(None),
        Some(Json::Str(text)) => Ok(Some(text.clone())),
        Some(other) => Err(refused(
            "invalid_bookmark",
            format!("Invalid bookmark value: {other}"),
        )),
    }
}

/// The fields and directions of a sort order. All directions must be equal.
pub(crate) fn sort(value: &Json) -> Result<Vec<(String, String)>, ApiError> {
    let list = value.as_arr().ok_or_else(|| {
        refused(
            "invalid_sort_json",
            format!(
                "Sort must be an array of sort specs, not: {}",
                printed_readably(value)
            ),
        )
    })?;
    let sort: Vec<(String, String)> = list
        .iter()
        .map(|field| match field {
            Json::Str(name) if !name.is_empty() => Ok((name.clone(), "asc".to_owned())),
            Json::Obj(members) => match members.as_slice() {
                [(name, Json::Str(way))] if way == "asc" || way == "desc" => {
                    Ok((name.clone(), way.clone()))
                }
                _ => Err(refused(
                    "invalid_sort_field",
                    format!("Invalid sort field: {}", printed_readably(field)),
                )),
            },
            other => Err(refused(
                "invalid_sort_field",
                format!("Invalid sort field: {}", printed_readably(other)),
            )),
        })
        .collect::<Result<_, _>>()?;
    let mixed = sort
        .iter()
        .any(|(_, way)| Some(way) != sort.first().map(|(_, way)| way));
    if mixed {
        return Err(refused(
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.".to_owned(),
        ));
    }
    Ok(sort)
}

fn field_list(value: Option<&Json>) -> Result<Option<Vec<String>>, ApiError> {
    match value {
        None => Ok(None),
        Some(Json::Arr(list)) if list.is_empty() => Ok(None),
        Some(Json::Arr(list)) => list
            .iter()
            .map(|field| {
                field.as_str().map(str::to_owned).ok_or_else(|| {
                    refused(
                        "invalid_field",
                        format!("Invalid JSON for field spec: {}", printed(field)),
                    )
                })
            })
            .collect::<Result<_, _>>()
            .map(Some),
        Some(other) => Err(refused(
            "invalid_fields",
            format!(
                "Fields must be an array of strings, not: {}",
                printed(other)
            ),
        )),
    }
}

/// A requested index.
pub(crate) struct NewIndex {
    /// With `_design/`.
    pub(crate) ddoc: String,
    pub(crate) name: String,
    /// The definition in the design document.
    pub(crate) view: Json,
    pub(crate) partitioned: Option<bool>,
}

impl NewIndex {
    /// Parses the body of `POST /{db}/_index`.
    pub(crate) fn parse(body: &Json) -> Result<Self, ApiError> {
        let def = body.get("index").ok_or_else(|| {
            refused(
                "missing_required_key",
                "Missing required key: index".to_owned(),
            )
        })?;
        match body.get("type") {
            None => {}
            Some(Json::Str(kind)) if kind == "json" => {}
            Some(Json::Str(kind)) if kind == "text" || kind == "nouveau" => {
                return Err(ApiError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "required index service unavailable",
                    kind.clone(),
                ));
            }
            Some(Json::Str(kind)) => {
                return Err(refused(
                    "invalid_index",
                    format!("Invalid type for index: {kind}"),
                ));
            }
            Some(other) => {
                return Err(refused(
                    "invalid_string",
                    format!("Invalid string: {}", printed(other)),
                ));
            }
        }
        let text = |key: &str| match body.get(key) {
            None => Ok(None),
            Some(Json::Str(text)) if text.is_empty() => Err(refused(
                "invalid_empty_string",
                "Index name or ddoc cannot be empty string".to_owned(),
            )),
            Some(Json::Str(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(refused(
                "invalid_string",
                format!("Invalid string: {}", printed(other)),
            )),
        };
        let (name, ddoc) = (text("name")?, text("ddoc")?);
        let w = match body.get("w") {
            None => 2,
            Some(Json::Int(n)) if *n > 0 => *n,
            Some(other) => {
                return Err(refused(
                    "invalid_pos_integer",
                    format!("{} is not an integer greater than zero", printed(other)),
                ));
            }
        };
        let partitioned = match body.get("partitioned") {
            None => None,
            Some(Json::Bool(on)) => Some(*on),
            Some(_) => return Err(ApiError::bad_request("`partitioned` must be a boolean")),
        };
        only_known(body, &["index", "type", "name", "ddoc", "w", "partitioned"])?;
        let members = def.as_obj().ok_or_else(|| {
            refused(
                "invalid_index",
                format!("JSON indexes must be an object, not: {}", printed(def)),
            )
        })?;
        let fields = def.get("fields").ok_or_else(|| {
            refused(
                "missing_required_key",
                "Missing required key: fields".to_owned(),
            )
        })?;
        let fields = sort(fields)?;
        let partial = match def.get("partial_filter_selector") {
            None => Json::Obj(Vec::new()),
            Some(partial) => selector::normalize(partial)?,
        };
        if let Some((key, _)) = members
            .iter()
            .find(|(key, _)| key != "fields" && key != "partial_filter_selector")
        {
            return Err(refused(
                "invalid_key",
                format!("Invalid key {key} for this request."),
            ));
        }
        let made = generated_name(def, ddoc, name, partitioned, w);
        let ddoc = ddoc.unwrap_or(&made);
        let ddoc = if ddoc.starts_with("_design/") {
            ddoc.to_owned()
        } else {
            format!("_design/{ddoc}")
        };
        let field_members = fields
            .into_iter()
            .map(|(field, way)| (field, way.into()))
            .collect();
        let view = obj([
            (
                "map",
                obj([
                    ("fields", Json::Obj(field_members)),
                    ("partial_filter_selector", partial),
                ]),
            ),
            ("reduce", "_count".into()),
            ("options", obj([("def", def.clone())])),
        ]);
        Ok(Self {
            ddoc,
            name: name.unwrap_or(&made).to_owned(),
            view,
            partitioned,
        })
    }
}

/// The name that CouchDB 3 on Erlang 25 generates: the SHA-1 of the Erlang term of the request.
fn generated_name(
    def: &Json,
    ddoc: Option<&str>,
    name: Option<&str>,
    partitioned: Option<bool>,
    w: i64,
) -> String {
    use sha1::{Digest as _, Sha1};
    let mut term = Term::new();
    term.tuple(2).json(def).list(6);
    let text = |term: &mut Term, key: &str, value: Option<&str>| {
        term.tuple(2).atom(key);
        match value {
            Some(value) => term.binary(value.as_bytes()),
            None => term.atom("auto_name"),
        };
    };
    text(&mut term, "ddoc", ddoc);
    term.tuple(2).atom("def").json(def);
    text(&mut term, "name", name);
    term.tuple(2).atom("partitioned").atom(match partitioned {
        None => "db_default",
        Some(true) => "true",
        Some(false) => "false",
    });
    term.tuple(2).atom("type").binary(b"json");
    term.tuple(2).atom("w").int(w);
    term.nil();
    hex::encode(Sha1::digest(term.bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::NewIndex;
    use crate::json::Json;

    #[test]
    fn index_names_equal_those_of_couchdb_3() {
        for (body, name) in [
            (
                r#"{"ddoc":"by-source-and-type","index":{"fields":["source_id","type"]}}"#,
                "60850b5f3ea02d90d424c53ac302e15be3d6c4c0",
            ),
            (
                r#"{"ddoc":"dir-children","index":{"fields":["dir_id","_id"]}}"#,
                "5364afe797fe21f603eab842487b6d1d4a7386a4",
            ),
            (
                r#"{"ddoc":"ab","index":{"fields":["a","b"]}}"#,
                "c9960e6f9106f2e6dc9f3a2e480cd379e12dd8f9",
            ),
        ] {
            assert_eq!(
                NewIndex::parse(&Json::parse(body.as_bytes()).unwrap())
                    .unwrap()
                    .name,
                name
            );
        }
    }
}
