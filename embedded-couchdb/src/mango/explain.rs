//! The response of `_explain`.

use super::{
    planner::{self, Candidate, Plan, Trace},
    request::Find,
    selector,
};
use crate::{
    erlang::order_as_set,
    json::{Json, obj},
    storage::databases::Database,
};

/// An index in CouchDB's format.
pub(crate) fn index_json(candidate: Candidate<'_>) -> Json {
    match candidate {
        Candidate::AllDocs => obj([
            ("ddoc", Json::Null),
            ("name", "_all_docs".into()),
            ("type", "special".into()),
            (
                "def",
                obj([("fields", Json::Arr(vec![obj([("_id", "asc".into())])]))]),
            ),
        ]),
        Candidate::Json(index) => index.to_json(),
    }
}

/// The response of `_explain`.
pub(crate) fn explain(db: &Database, find: &Find, plan: &Result<Plan<'_>, Trace<'_>>) -> Json {
    let fields = Json::Arr(
        find.fields
            .iter()
            .flatten()
            .map(|field| field.as_str().into())
            .collect(),
    );
    let (index, trace) = match plan {
        Ok(plan) => (Some(plan.index), &plan.trace),
        Err(trace) => (None, trace),
    };
    let Json::Obj(mut members) = obj([
        ("dbname", db.name.as_str().into()),
        ("index", index.map_or(Json::Null, index_json)),
        ("partitioned", db.partitioned.into()),
        ("selector", find.selector.clone()),
        ("opts", find.options()),
        ("limit", find.limit.into()),
        ("skip", find.skip.into()),
        ("fields", fields),
        ("index_candidates", candidates(find, index, trace)),
        ("selector_hints", hints(find)),
    ]) else {
        return Json::Null;
    };
    if let Ok(plan) = plan {
        let covering = planner::covers(plan.index, find);
        members.push(("mrargs".to_owned(), arguments(find, plan, covering)));
        members.push(("covering".to_owned(), covering.into()));
    }
    Json::Obj(members)
}

fn arguments(find: &Find, plan: &Plan<'_>, covering: bool) -> Json {
    let values = |list: Vec<&Json>| list.into_iter().cloned().collect::<Vec<_>>();
    let (start, end) = if plan.ranges == [planner::Range::Empty] {
        (Json::Null, Json::Null)
    } else {
        let start = values(planner::start_values(&plan.ranges));
        let mut end = values(planner::end_values(&plan.ranges));
        match plan.index {
            Candidate::AllDocs => (
                start.into_iter().next().unwrap_or_else(|| "".into()),
                end.into_iter().next().unwrap_or_else(|| "<MAX>".into()),
            ),
            Candidate::Json(_) => {
                end.push("<MAX>".into());
                (Json::Arr(start), Json::Arr(end))
            }
        }
    };
    let (start, end) = if find.descending() {
        (end, start)
    } else {
        (start, end)
    };
    obj([
        // To compare several copies, CouchDB reads the documents apart from the index.
        ("include_docs", (!covering && find.r <= 1).into()),
        ("view_type", "map".into()),
        ("reduce", false.into()),
        (
            "partition",
            if find.partition.is_empty() {
                Json::Null
            } else {
                find.partition.as_str().into()
            },
        ),
        ("start_key", start),
        ("end_key", end),
        (
            "direction",
            if find.descending() { "rev" } else { "fwd" }.into(),
        ),
        ("stable", (find.stable || find.stale).into()),
        ("update", (find.update && !find.stale).into()),
        (
            "conflicts",
            if find.conflicts {
                true.into()
            } else {
                "undefined".into()
            },
        ),
    ])
}

fn hints(find: &Find) -> Json {
    let indexable = planner::indexable_fields(&find.selector);
    let mut others = selector::fields(&find.selector);
    others.retain(|field| !indexable.contains(field));
    let list = |mut fields: Vec<String>| {
        fields.sort();
        fields.dedup();
        order_as_set(&mut fields);
        Json::Arr(fields.into_iter().map(Json::Str).collect())
    };
    Json::Arr(vec![obj([
        ("type", "json".into()),
        ("indexable_fields", list(indexable)),
        ("unindexable_fields", list(others)),
    ])])
}

/// The indexes that were not chosen, with reasons.
fn candidates(find: &Find, winner: Option<Candidate<'_>>, trace: &Trace<'_>) -> Json {
    let among = |list: &[Candidate<'_>], one: Candidate<'_>| list.iter().any(|other| other.is(one));
    let usable = trace.usable();
    let chosen_kind: Vec<Candidate<'_>> = trace
        .sorted
        .iter()
        .map(|(candidate, _)| *candidate)
        .collect();
    let width = winner.map_or(0, |winner| winner.columns().len());
    let stage = |candidate: Candidate<'_>| {
        if let Some(at) = chosen_kind.iter().position(|other| other.is(candidate)) {
            (0, at)
        } else if among(&trace.filtered, candidate) {
            (1, 0)
        } else if among(&usable, candidate) {
            (2, 0)
        } else if trace.usability.iter().any(|(other, _)| other.is(candidate)) {
            (3, 0)
        } else {
            (4, 0)
        }
    };
    // Each later stage with at least one index has the next lower rank.
    let base = chosen_kind.len().max(1);
    let rank_of = |stage_number: usize| {
        let before = (1..=stage_number)
            .filter(|n| *n < 4 && trace.all.iter().any(|candidate| stage(*candidate).0 == *n))
            .count();
        if stage_number == 4 {
            base + before
        } else {
            base + before.saturating_sub(1)
        }
    };
    let mut list = Vec::new();
    for candidate in trace.all.iter().rev().copied() {
        if winner.is_some_and(|winner| winner.is(candidate)) {
            continue;
        }
        let (number, at) = stage(candidate);
        let (usable, reason, ranking) = match number {
            0 => {
                let left_out = trace.sorted.get(at).map_or(0, |(_, left_out)| *left_out);
                let reason = if left_out > 0 {
                    "less_overlap"
                } else if candidate.columns().len() > width {
                    "too_many_fields"
                } else {
                    "alphabetically_comes_after"
                };
                (true, reason, at)
            }
            1 => (true, "unfavored_type", rank_of(1)),
            2 => (true, "excluded_by_user", rank_of(2)),
            3 => {
                let why = trace
                    .usability
                    .iter()
                    .find(|(other, _)| other.is(candidate))
                    .and_then(|(_, why)| *why);
                (false, why.map_or("field_mismatch", |why| why.0), rank_of(3))
            }
            _ if among(&trace.out_of_scope, candidate) => (false, "scope_mismatch", rank_of(4)),
            _ => (false, "is_partial", rank_of(4)),
        };
        let covering = match candidate {
            Candidate::AllDocs => Json::Null,
            Candidate::Json(_) => planner::covers_fields(candidate, find).into(),
        };
        list.push(obj([
            ("index", index_json(candidate)),
            (
                "analysis",
                obj([
                    ("usable", usable.into()),
                    ("reasons", Json::Arr(vec![obj([("name", reason.into())])])),
                    ("ranking", (ranking as i64).into()),
                    ("covering", covering),
                ]),
            ),
        ]));
    }
    Json::Arr(list)
}
