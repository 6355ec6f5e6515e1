//! Summaries of blocks of rows: what queries of reduced views read instead of rows.

use std::sync::Arc;

use super::{
    app::App,
    designs,
    reduce::Accumulator,
    reduced::{self, Outcome},
    view_query::Grouping,
    view_rows::ranges,
    views::{Prepared, group_of},
};
use crate::{
    api_error::ApiError,
    json::Json,
    mango::collation,
    storage::{
        view_blocks::{self, Block, Part, Start, Summary},
        view_scan::{Found, Range, Scan},
        view_summaries::{self, Piece, Progress},
    },
};

/// How many summaries are read at once.
const SUMMARIES: usize = 64;

/// A row, or the rows of a block, with the place of the range that it was found in.
pub(super) enum Item {
    Row(Found, usize),
    Block(Summary, usize),
}

impl Item {
    /// The key of the row, or of the first row of the block, in JSON.
    pub(super) fn emitted(&self) -> &str {
        match self {
            Self::Row(row, _) => &row.emitted,
            Self::Block(summary, _) => &summary.first,
        }
    }

    /// The value of the row, or what the rows of the block were reduced to, in JSON.
    pub(super) fn value(&self) -> &str {
        match self {
            Self::Row(row, _) => &row.value,
            Self::Block(summary, _) => &summary.value,
        }
    }

    pub(super) const fn range(&self) -> usize {
        match self {
            Self::Row(_, range) | Self::Block(_, range) => *range,
        }
    }
}

/// What a query reads, in its order.
pub(super) struct Items {
    view: (i64, i64),
    descending: bool,
    grouping: Grouping,
    /// The ranges that follow the one that is read, the next one last.
    ranges: Vec<(usize, Range)>,
    /// The rest of the range that is read, the next part last.
    parts: Vec<Part>,
    /// The rows that are read now.
    scan: Option<Scan>,
    /// The place of the range that is read.
    range: usize,
}

impl Items {
    pub(super) fn of(prepared: &Prepared) -> Self {
        let mut ranges: Vec<(usize, Range)> = ranges(&prepared.query, true)
            .into_iter()
            .enumerate()
            .collect();
        ranges.reverse();
        Self {
            view: (prepared.rows.id, prepared.n),
            descending: prepared.query.descending,
            grouping: prepared.query.grouping,
            ranges,
            parts: Vec::new(),
            scan: None,
            range: 0,
        }
    }

    pub(super) fn are_over(&self) -> bool {
        self.ranges.is_empty() && self.parts.is_empty() && self.scan.is_none()
    }

    /// Reads some more. It can be nothing although there is more.
    pub(super) async fn next(&mut self, app: &App) -> Result<Vec<Item>, ApiError> {
        if let Some(scan) = &self.scan {
            let mut moving = scan.clone();
            let (rows, moved) = app
                .store
                .read(move |conn| {
                    let rows = moving.next(conn, i64::MAX)?;
                    Ok((rows, moving))
                })
                .await?;
            self.scan = (!moved.is_over()).then_some(moved);
            return Ok(rows
                .into_iter()
                .map(|row| Item::Row(row, self.range))
                .collect());
        }
        match self.parts.pop() {
            Some(Part::Rows(range)) => {
                let (view, n) = self.view;
                self.scan = Some(Scan::new(view, n, vec![range], self.descending));
                Ok(Vec::new())
            }
            Some(Part::Block(block)) => self.read_summaries(app, block).await,
            None => {
                if let Some((place, range)) = self.ranges.pop() {
                    let (view, descending, grouping) = (self.view, self.descending, self.grouping);
                    let mut parts = app
                        .store
                        .read(move |conn| {
                            view_blocks::parts(conn, view, &range, descending, |block| {
                                is_of_one_group(block, grouping)
                            })
                        })
                        .await?;
                    parts.reverse();
                    self.parts = parts;
                    self.range = place;
                }
                Ok(Vec::new())
            }
        }
    }

    /// Reads the summary of a block, and of some that follow it. The rows of one that changed meanwhile are read instead.
    async fn read_summaries(&mut self, app: &App, first: Block) -> Result<Vec<Item>, ApiError> {
        let mut blocks = vec![first];
        while blocks.len() < SUMMARIES
            && let Some(Part::Block(block)) =
                self.parts.pop_if(|part| matches!(part, Part::Block(_)))
        {
            blocks.push(block);
        }
        let view = self.view;
        let (found, changed, rest) = app
            .store
            .read(move |conn| {
                let (mut found, mut changed) = (Vec::new(), None);
                let mut blocks = blocks.into_iter();
                for block in blocks.by_ref() {
                    match view_blocks::summary(conn, view, &block)? {
                        Some(summary) => found.push(summary),
                        None => {
                            changed = Some(block);
                            break;
                        }
                    }
                }
                Ok((found, changed, blocks.collect::<Vec<Block>>()))
            })
            .await?;
        self.parts.extend(rest.into_iter().rev().map(Part::Block));
        self.parts
            .extend(changed.map(|block| Part::Rows(block.range())));
        let items = found.into_iter();
        Ok(items
            .map(|summary| Item::Block(summary, self.range))
            .collect())
    }
}

/// Whether all rows of a block belong to one group, whatever rows it has.
fn is_of_one_group(block: &Block, grouping: Grouping) -> bool {
    let group = |start: &Start| {
        let emitted = Json::parse(start.emitted.as_bytes()).ok()?;
        group_of(grouping, &emitted).map(|key| collation::key(&key))
    };
    match (grouping, &block.end) {
        (Grouping::None, _) => true,
        (_, None) => false,
        (_, Some(end)) => {
            let first = group(&block.start);
            first.is_some() && first == group(end)
        }
    }
}

/// Makes the summaries that a query misses, if it would read many rows. Where that fails, the query reads the rows, and meets
/// what is wrong with them itself.
pub(super) async fn refresh(app: &App, prepared: &Prepared, reducer: &str) {
    if let Err(error) = try_to_refresh(app, prepared, reducer).await {
        tracing::debug!(%error, "the summaries of a view are not up to date");
    }
}

async fn try_to_refresh(app: &App, prepared: &Prepared, reducer: &str) -> Result<(), ApiError> {
    let view = (prepared.rows.id, prepared.n);
    let ranges: Arc<[Range]> = ranges(&prepared.query, true).into();
    if !begin(app, view, &ranges).await? {
        return Ok(());
    }
    let mut progress = Progress::default();
    loop {
        let (of_query, mut moving) = (Arc::clone(&ranges), progress);
        let (mut blocks, moved) = app
            .store
            .read(move |conn| {
                let blocks = view_summaries::unsummarised(conn, view, &of_query, &mut moving)?;
                Ok((blocks, moving))
            })
            .await?;
        progress = moved;
        let pieces = blocks.iter_mut().flat_map(|block| &mut block.pieces);
        let pieces: Vec<&mut Piece> = pieces
            .filter(|piece| piece.rows.as_ref().is_some_and(|rows| !rows.is_empty()))
            .collect();
        summarise(app, prepared, reducer, pieces).await?;
        blocks.retain(view_summaries::Unsummarised::is_of_use);
        // What nothing can be kept of would be read again and again.
        if blocks.is_empty() {
            return Ok(());
        }
        app.store
            .write(move |transaction| view_summaries::keep(transaction, view, blocks))
            .await?;
    }
}

/// Lets the rows of a view be divided, if a query reads many of them. Returns whether they are.
async fn begin(app: &App, view: (i64, i64), ranges: &Arc<[Range]>) -> Result<bool, ApiError> {
    let of_query = Arc::clone(ranges);
    let (are_there, is_worth_it) = app
        .store
        .read(move |conn| {
            let are_there = view_blocks::are_there(conn, view.0, view.1)?;
            let is_worth_it = are_there || view_blocks::is_worth_it(conn, view, &of_query)?;
            Ok((are_there, is_worth_it))
        })
        .await?;
    if is_worth_it && !are_there {
        app.store
            .write(move |transaction| view_blocks::begin(transaction, view.0, view.1))
            .await?;
    }
    Ok(is_worth_it)
}

/// Sets what the rows of each piece are reduced to, where it can be kept.
async fn summarise(
    app: &App,
    prepared: &Prepared,
    reducer: &str,
    pieces: Vec<&mut Piece>,
) -> Result<(), ApiError> {
    if let Some(name) = designs::built_in(reducer) {
        for piece in pieces {
            if let Some(value) = built_in(name, piece.rows.as_deref().unwrap_or_default()) {
                piece.summarise(&value);
            }
        }
        return Ok(());
    }
    if pieces.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = pieces
        .iter()
        .map(|piece| {
            let rows = piece.rows.as_deref().unwrap_or_default();
            let rows: Vec<String> = rows.iter().map(Found::for_function).collect();
            let rows = rows.join(",");
            format!("{{\"rows\":[{rows}],\"values\":[],\"isOver\":false}}")
        })
        .collect();
    let outcomes = reduced::run(app, prepared, reducer, groups.into_iter()).await?;
    for (piece, outcome) in pieces.into_iter().zip(outcomes) {
        if let Outcome::Value(value) = outcome {
            piece.summarise(&value);
        }
    }
    Ok(())
}

/// What rows are reduced to; `None` if it cannot be kept.
fn built_in(name: &str, rows: &[Found]) -> Option<Json> {
    let mut accumulator = Accumulator::new(name)?;
    for row in rows {
        let emitted = Json::parse(row.emitted.as_bytes()).ok()?;
        let value = Json::parse(row.value.as_bytes()).ok()?;
        accumulator.add(&emitted, &value).ok()?;
    }
    accumulator.partial()
}
