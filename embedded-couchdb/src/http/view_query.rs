//! The options of a query of a view.

use super::request::Query;
use crate::{api_error::ApiError, json::Json, mango::collation, storage::partitions};

/// Which rows of a reduced view belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// All.
    None,
    /// Those with equal keys.
    Exact,
    /// Those whose keys are arrays that begin with the same elements.
    Level(usize),
}

/// Whether the rows are brought up to date first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    First,
    Later,
    Never,
}

/// One end of a range.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    pub(crate) key: Option<Json>,
    /// Counts only with a key.
    pub(crate) id: Option<String>,
}

impl Bound {
    /// The id of a document that the bound stands for, where keys are ids: what is no string is less than all of them.
    pub(crate) fn as_id(&self) -> Option<String> {
        match &self.key {
            Some(Json::Str(id)) => Some(id.clone()),
            Some(_) => Some(String::new()),
            None => self.id.clone(),
        }
    }

    /// The key as rows have it.
    pub(crate) fn encoded(&self) -> Option<Vec<u8>> {
        self.key.as_ref().map(|key| {
            let mut encoded = Vec::new();
            collation::encode(key, &mut encoded);
            encoded
        })
    }
}

/// The error of a query for some keys and a range.
pub(crate) fn keys_and_range() -> ApiError {
    ApiError::query("`keys` is incompatible with `key`, `start_key` and `end_key`")
}

/// The largest limit that a view takes.
const MOST_ROWS: i64 = 1 << 28;

/// The options.
#[derive(Clone, Debug)]
pub(crate) struct ViewQuery {
    pub(crate) start: Bound,
    pub(crate) end: Bound,
    pub(crate) keys: Option<Vec<Json>>,
    pub(crate) inclusive_end: bool,
    pub(crate) descending: bool,
    pub(crate) limit: i64,
    is_limited: bool,
    pub(crate) skip: i64,
    /// `None` if the request does not say.
    pub(crate) reduce: Option<bool>,
    pub(crate) grouping: Grouping,
    pub(crate) include_docs: bool,
    /// `None` if the request does not say.
    pub(crate) conflicts: Option<bool>,
    pub(crate) attachments: bool,
    pub(crate) att_encoding_info: bool,
    pub(crate) update_seq: bool,
    pub(crate) freshness: Freshness,
    /// Only the rows of this partition.
    pub(crate) partition: Option<String>,
}

impl ViewQuery {
    fn new() -> Self {
        Self {
            start: Bound::default(),
            end: Bound::default(),
            keys: None,
            inclusive_end: true,
            descending: false,
            limit: i64::MAX,
            is_limited: false,
            skip: 0,
            reduce: None,
            grouping: Grouping::None,
            include_docs: false,
            conflicts: None,
            partition: None,
            attachments: false,
            att_encoding_info: false,
            update_seq: false,
            freshness: Freshness::First,
        }
    }

    /// Parses the options of a body and of a query string. The later ones count: those of the query string, but of one
    /// of several queries its own.
    pub(crate) fn parse(
        query: &Query,
        body: Option<&Json>,
        is_one_of_several: bool,
    ) -> Result<Self, ApiError> {
        let mut parsed = Self::new();
        let mut group: (Option<bool>, Option<usize>) = (None, None);
        let of_body = body.and_then(Json::as_obj).unwrap_or_default();
        let mut given: Vec<(&str, Given<'_>)> = of_body
            .iter()
            .map(|(name, value)| (name.as_str(), Given::Json(value)))
            .collect();
        let of_query = query
            .pairs()
            .iter()
            .map(|(name, value)| (name.as_str(), Given::Text(value)));
        if is_one_of_several {
            given.splice(0..0, of_query);
        } else {
            given.extend(of_query);
        }
        for (name, value) in given {
            parsed.take(name, &value, &mut group)?;
        }
        parsed.grouping = match group {
            (Some(false), Some(level)) if level > 0 => {
                return Err(ApiError::query(
                    "Can't specify group=false and group_level>0 at the same time",
                ));
            }
            (_, Some(0)) => Grouping::None,
            (_, Some(level)) => Grouping::Level(level),
            (Some(true), _) => Grouping::Exact,
            _ => Grouping::None,
        };
        Ok(parsed)
    }

    fn only(&mut self, key: Json) {
        self.start.key = Some(key.clone());
        self.end.key = Some(key);
    }

    fn take(
        &mut self,
        name: &str,
        value: &Given<'_>,
        group: &mut (Option<bool>, Option<usize>),
    ) -> Result<(), ApiError> {
        match name {
            "key" => {
                let key = value.json()?;
                self.only(key);
            }
            "keys" => match value.json()? {
                // One key is a range, which other options can change.
                Json::Arr(keys) if keys.len() == 1 => {
                    keys.into_iter().for_each(|key| self.only(key));
                }
                Json::Arr(keys) => self.keys = Some(keys),
                _ => {
                    return Err(ApiError::query("`keys` must be an array of strings."));
                }
            },
            "startkey" | "start_key" => self.start.key = Some(value.json()?),
            "endkey" | "end_key" => self.end.key = Some(value.json()?),
            "startkey_docid" | "start_key_doc_id" => self.start.id = Some(value.text()),
            "endkey_docid" | "end_key_doc_id" => self.end.id = Some(value.text()),
            "inclusive_end" => self.inclusive_end = value.flag()?,
            "descending" => self.descending = value.flag()?,
            "limit" => (self.limit, self.is_limited) = (value.count()?, true),
            "skip" => self.skip = value.count()?,
            "reduce" => self.reduce = Some(value.flag()?),
            "group" => group.0 = Some(value.flag()?),
            "group_level" => group.1 = Some(usize::try_from(value.count()?).unwrap_or(usize::MAX)),
            "include_docs" => self.include_docs = value.flag()?,
            "conflicts" => self.conflicts = Some(value.flag()?),
            "update_seq" => self.update_seq = value.flag()?,
            "attachments" => self.attachments = value.flag()?,
            "att_encoding_info" => self.att_encoding_info = value.flag()?,
            "sorted" => {
                value.flag()?;
            }
            "stable" => match value.text().as_str() {
                "true" | "false" => {}
                _ => return Err(ApiError::query("Invalid value for `stable`.")),
            },
            "update" => {
                self.freshness = match value.text().as_str() {
                    "true" => Freshness::First,
                    "false" => Freshness::Never,
                    "lazy" => Freshness::Later,
                    _ => return Err(ApiError::query("Invalid value for `update`.")),
                }
            }
            "stale" => {
                self.freshness = match value.text().as_str() {
                    "ok" => Freshness::Never,
                    "update_after" => Freshness::Later,
                    _ => return Err(ApiError::query("Invalid value for `stale`.")),
                }
            }
            "partition" => {
                let partition = value.text();
                partitions::check_name(&partition)?;
                self.partition = Some(partition);
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses options that contradict each other, or the view. `is_reduced` says whether the view is reduced.
    pub(crate) fn check(&self, can_reduce: bool) -> Result<(), ApiError> {
        let is_reduced = can_reduce && self.reduce != Some(false);
        if self.reduce == Some(true) && !can_reduce {
            return Err(ApiError::query("Reduce is invalid for map-only views."));
        }
        if !is_reduced && self.grouping != Grouping::None {
            return Err(ApiError::query("Invalid use of grouping on a map view."));
        }
        if is_reduced && self.grouping != Grouping::Exact && self.keys.is_some() {
            return Err(ApiError::query(
                "Multi-key fetches for reduce views must use `group=true`",
            ));
        }
        if is_reduced && self.include_docs {
            return Err(ApiError::query("`include_docs` is invalid for reduce"));
        }
        if is_reduced && self.conflicts.is_some() {
            return Err(ApiError::query("`conflicts` is invalid for reduce views."));
        }
        if self.keys.as_ref().is_some_and(|keys| !keys.is_empty())
            && (self.start.key.is_some() || self.end.key.is_some())
        {
            return Err(keys_and_range());
        }
        Ok(())
    }

    /// Refuses what only a view refuses.
    pub(crate) fn check_for_view(&self) -> Result<(), ApiError> {
        if self.is_limited && self.limit > MOST_ROWS {
            return Err(ApiError::query(format!(
                "Limit is too large, must not exceed {MOST_ROWS}"
            )));
        }
        if let (Some(start), Some(end), None) =
            (self.start.encoded(), self.end.encoded(), &self.keys)
        {
            let is_reversed = if self.descending {
                start < end
            } else {
                start > end
            };
            if is_reversed {
                return Err(ApiError::query(format!(
                    "No rows can match your key range, reverse your start_key and end_key or set descending={}",
                    !self.descending
                )));
            }
        }
        Ok(())
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// The value of an integer of any size, as near as possible.
fn saturated(integer: &str) -> i64 {
    let nearest = if integer.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    integer.parse().unwrap_or(nearest)
}

/// The value of an option.
enum Given<'a> {
    Text(&'a str),
    Json(&'a Json),
}

impl Given<'_> {
    fn json(&self) -> Result<Json, ApiError> {
        match self {
            Self::Json(value) => Ok((*value).clone()),
            Self::Text(text) => Json::parse(text.as_bytes()).map_err(|_| ApiError::bad_json()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Json(Json::Str(text)) => text.clone(),
            // To Erlang, an empty list is an empty text.
            Self::Json(Json::Arr(items)) if items.is_empty() => String::new(),
            Self::Json(other) => other.to_string(),
            Self::Text(text) => (*text).to_owned(),
        }
    }

    /// The value in an error message: as Erlang prints it, to which an empty text is an empty list.
    fn printed(&self) -> String {
        match self {
            Self::Json(value) => crate::erlang::printed_readably(value),
            Self::Text("") => "[]".to_owned(),
            Self::Text(text) => format!("{text:?}"),
        }
    }

    fn flag(&self) -> Result<bool, ApiError> {
        match self.text().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ApiError::query(format!(
                "Invalid boolean parameter: {}",
                self.printed()
            ))),
        }
    }

    fn count(&self) -> Result<i64, ApiError> {
        let number = match self {
            Self::Json(Json::Int(number)) => *number,
            Self::Json(Json::Big(digits)) => saturated(digits),
            Self::Json(other) => {
                return Err(ApiError::query(format!(
                    "Invalid value for integer: {}",
                    crate::erlang::printed_readably(other)
                )));
            }
            Self::Text(text) if is_integer(text) => saturated(text),
            Self::Text(_) => {
                return Err(ApiError::query(format!(
                    "Invalid value for integer: {}",
                    self.printed()
                )));
            }
        };
        if number < 0 {
            return Err(ApiError::query(format!(
                "Invalid value for positive integer: {}",
                self.printed()
            )));
        }
        Ok(number)
    }
}
