//! Queries of views whose rows are reduced.

use super::{
    app::App,
    designs,
    reduce::Accumulator,
    summaries::{self, Item, Items},
    view_query::Grouping,
    views::{Prepared, group_of},
};
use crate::{
    api_error::ApiError,
    json::{Json, obj, write_string},
    mango::collation,
};

/// The most that goes to a function at once, in bytes.
const BATCH: usize = 256 << 10;

/// The rows of an answer, as far as they are wanted.
struct Rows {
    text: String,
    written: bool,
    skip: i64,
    left: i64,
}

impl Rows {
    fn push(&mut self, key: Option<&Json>, result: &Outcome) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if self.left <= 0 {
            return;
        }
        self.left -= 1;
        self.text
            .push_str(if self.written { ",\r\n" } else { "\r\n" });
        self.written = true;
        self.text.push_str("{\"key\":");
        key.unwrap_or(&Json::Null).write(&mut self.text);
        match result {
            Outcome::Value(value) => {
                self.text.push_str(",\"value\":");
                value.write(&mut self.text);
            }
            Outcome::Overflow(reason) => {
                self.text
                    .push_str(",\"error\":\"reduce_overflow_error\",\"reason\":");
                write_string(reason, &mut self.text);
            }
        }
        self.text.push('}');
    }
}

/// What some rows were reduced to.
pub(super) enum Outcome {
    Value(Json),
    /// The value is too large for a reduction, for this reason.
    Overflow(String),
}

/// A group of rows. Its key is `None` if all rows are one group.
struct Group {
    key: Option<Json>,
    /// The key as rows are ordered by it: equal keys can look different.
    encoded: Vec<u8>,
    /// A key that is asked for twice makes two groups.
    range: usize,
}

impl Group {
    fn is_same(&self, other: &Self) -> bool {
        self.range == other.range && self.encoded == other.encoded
    }
}

/// The text of the answer.
pub(crate) async fn answer(app: &App, prepared: &Prepared) -> Result<String, ApiError> {
    let mut text = String::from("{");
    if prepared.query.update_seq {
        text.push_str("\"update_seq\":");
        write_string(&prepared.db.seq_text(prepared.rows.seq), &mut text);
        text.push(',');
    }
    text.push_str("\"rows\":[");
    let mut rows = Rows {
        text,
        written: false,
        skip: prepared.query.skip,
        left: prepared.query.limit,
    };
    let reducer = prepared.reducer().unwrap_or_default().to_owned();
    summaries::refresh(app, prepared, &reducer).await;
    match designs::built_in(&reducer) {
        Some(name) => built_in(app, prepared, name, &mut rows).await?,
        None => own(app, prepared, &reducer, &mut rows).await?,
    }
    let mut text = rows.text;
    if !rows.written {
        text.push_str("\r\n");
    }
    text.push_str("\r\n]}");
    Ok(text)
}

/// The group of a row or of a block, and its key.
fn group(prepared: &Prepared, item: &Item) -> Result<(Group, Json), ApiError> {
    let emitted = Json::parse(item.emitted().as_bytes())
        .map_err(|_| ApiError::internal("a stored key cannot be read"))?;
    let grouping = prepared.query.grouping;
    let key = group_of(grouping, &emitted);
    let encoded = match (grouping, &key) {
        (Grouping::None, _) | (_, None) => Vec::new(),
        (Grouping::Exact | Grouping::Level(_), Some(key)) => collation::key(key),
    };
    let range = match grouping {
        Grouping::None => 0,
        Grouping::Exact | Grouping::Level(_) => item.range(),
    };
    Ok((
        Group {
            key,
            encoded,
            range,
        },
        emitted,
    ))
}

fn stored(value: &str) -> Result<Json, ApiError> {
    Json::parse(value.as_bytes()).map_err(|_| ApiError::internal("a stored value cannot be read"))
}

async fn built_in(
    app: &App,
    prepared: &Prepared,
    name: &str,
    rows: &mut Rows,
) -> Result<(), ApiError> {
    let mut items = Items::of(prepared);
    let mut open: Option<(Group, Accumulator)> = None;
    while !items.are_over() && rows.left > 0 {
        for item in items.next(app).await? {
            let (of_item, emitted) = group(prepared, &item)?;
            if open
                .as_ref()
                .is_some_and(|(group, _)| !group.is_same(&of_item))
                && let Some((group, accumulator)) = open.take()
            {
                rows.push(group.key.as_ref(), &Outcome::Value(accumulator.result()));
                if rows.left <= 0 {
                    break;
                }
            }
            let value = stored(item.value())?;
            if open.is_none() {
                let accumulator = Accumulator::new(name)
                    .ok_or_else(|| ApiError::internal("an unknown reducer"))?;
                open = Some((of_item, accumulator));
            }
            if let Some((_, accumulator)) = &mut open {
                match &item {
                    Item::Row(..) => accumulator.add(&emitted, &value)?,
                    Item::Block(..) => accumulator.merge(&value)?,
                }
            }
        }
    }
    if let Some((group, accumulator)) = open {
        rows.push(group.key.as_ref(), &Outcome::Value(accumulator.result()));
    }
    Ok(())
}

/// A group whose rows go to a function.
struct Pending {
    group: Group,
    /// `[[key, id], value]` in JSON.
    rows: Vec<String>,
    /// What earlier rows of the group were reduced to.
    values: Vec<Json>,
    is_over: bool,
}

impl Pending {
    fn new(group: Group) -> Self {
        Self {
            group,
            rows: Vec::new(),
            values: Vec::new(),
            is_over: false,
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str("{\"rows\":[");
        out.push_str(&self.rows.join(","));
        out.push_str("],\"values\":[");
        for (place, value) in self.values.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            value.write(out);
        }
        out.push_str("],\"isOver\":");
        out.push_str(if self.is_over { "true" } else { "false" });
        out.push('}');
    }
}

async fn own(
    app: &App,
    prepared: &Prepared,
    reducer: &str,
    rows: &mut Rows,
) -> Result<(), ApiError> {
    let mut items = Items::of(prepared);
    let mut pending: Vec<Pending> = Vec::new();
    let mut bytes = 0;
    while !items.are_over() && rows.left > 0 {
        for item in items.next(app).await? {
            let (of_item, _) = group(prepared, &item)?;
            let is_same = pending
                .last()
                .is_some_and(|last| last.group.is_same(&of_item));
            if !is_same {
                if let Some(last) = pending.last_mut() {
                    last.is_over = true;
                }
                pending.push(Pending::new(of_item));
            }
            if let Some(last) = pending.last_mut() {
                match &item {
                    Item::Row(row, _) => {
                        let text = row.for_function();
                        bytes += text.len();
                        last.rows.push(text);
                    }
                    Item::Block(block, _) => {
                        bytes += block.value.len();
                        last.values.push(stored(&block.value)?);
                    }
                }
            }
            if bytes > BATCH {
                flush(app, prepared, reducer, &mut pending, rows).await?;
                bytes = 0;
            }
        }
    }
    if let Some(last) = pending.last_mut() {
        last.is_over = true;
    }
    flush(app, prepared, reducer, &mut pending, rows).await
}

/// Reduces what is pending. A group that is not over stays, with what its rows were reduced to.
async fn flush(
    app: &App,
    prepared: &Prepared,
    reducer: &str,
    pending: &mut Vec<Pending>,
    rows: &mut Rows,
) -> Result<(), ApiError> {
    if pending.is_empty() {
        return Ok(());
    }
    let groups = pending.iter().map(|group| {
        let mut text = String::new();
        group.write(&mut text);
        text
    });
    let outcomes = run(app, prepared, reducer, groups).await?;
    for (mut group, outcome) in std::mem::take(pending).into_iter().zip(outcomes) {
        match outcome {
            Outcome::Value(value) if !group.is_over => {
                group.rows.clear();
                group.values.push(value);
                pending.push(group);
            }
            outcome => rows.push(group.group.key.as_ref(), &outcome),
        }
    }
    Ok(())
}

/// Reduces each group by a function. A group is an object in JSON: `rows`, `values`, `isOver`.
pub(super) async fn run(
    app: &App,
    prepared: &Prepared,
    reducer: &str,
    groups: impl Iterator<Item = String>,
) -> Result<Vec<Outcome>, ApiError> {
    let head = obj([("operation", "reduce".into()), ("function", reducer.into())]).to_string();
    let mut request = head.strip_suffix('}').unwrap_or(&head).to_owned();
    request.push_str(",\"groups\":[");
    for (place, group) in groups.enumerate() {
        if place > 0 {
            request.push(',');
        }
        request.push_str(&group);
    }
    request.push_str("]}");
    let key = format!("reduce {reducer}");
    let answer = app.javascript.run(prepared.db.id, &key, request).await?;
    let Json::Arr(results) = answer else {
        return Err(ApiError::internal(
            "the results of a function cannot be read",
        ));
    };
    let outcomes =
        results.into_iter().map(
            |result| match result.get("overflow").and_then(Json::as_str) {
                Some(reason) => Outcome::Overflow(reason.to_owned()),
                None => Outcome::Value(result.get("value").cloned().unwrap_or(Json::Null)),
            },
        );
    Ok(outcomes.collect())
}
