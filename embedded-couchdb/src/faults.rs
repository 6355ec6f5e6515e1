//! Misbehaviour on command, for the tests of those who use the server.
//!
//! A rule names requests by method and part of the path, says which of them it strikes, and what
//! then happens. Rules come from the process that holds the handle, or over HTTP with
//! `PUT /_hamlet/faults`, which exists only where the configuration has a handle.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Method;

use crate::json::Json;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes, after this time.
    Delay(Duration),
    /// Nothing is done, and the answer is 500.
    Fail,
    /// Nothing is done, and the answer is that there is no such database: a node of a cluster says so
    /// while it has not heard of a new one yet.
    Unheard,
    /// Nothing is done, and the connection is dropped without an answer.
    DropBefore,
    /// The request is carried out and committed, and the connection is dropped without an answer.
    DropAfter,
    /// The write of one document is stored together with another writer's leaf, and answered 202.
    Race(Race),
}

/// A race of two writers, as a cluster can leave it behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Race {
    /// Whether the request's own leaf is the winner afterwards.
    pub ours: Side,
    /// The other writer's document, as JSON without `_id` and `_rev`. None: the request's own with
    /// `"other_writer": true`.
    pub other: Option<String>,
}

/// Which leaf wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request's leaf is the winner.
    Wins,
    /// The other writer's leaf is the winner.
    Loses,
}

/// Which requests are struck, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only requests of this method; any if none.
    pub method: Option<String>,
    /// Only requests whose path, as sent, contains this; any if empty.
    pub path: String,
    /// So many matching requests pass first.
    pub skip: u32,
    /// So many are struck after that.
    pub count: u32,
    /// What strikes them.
    pub fault: Fault,
}

impl Rule {
    /// Strikes the next matching request.
    pub fn once(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            skip: 0,
            count: 1,
            fault,
        }
    }

    /// Strikes every matching request.
    pub fn always(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            count: u32::MAX,
            ..Self::once(method, path, fault)
        }
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes so many.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = count;
        self
    }
}

#[derive(Default)]
struct Rules {
    rules: Vec<Rule>,
    struck: u64,
}

/// The rules in force; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.lock().rules).finish()
    }
}

pub(crate) enum Outcome {
    Normal,
    Drop,
    DropAfter,
    Fail,
    Unheard,
    Race(Race),
}

impl Faults {
    /// No rules yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. The first that matches strikes.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How many requests have been struck so far.
    pub fn struck(&self) -> u64 {
        self.lock().struck
    }

    fn next(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.lock();
        let mut hit = None;
        for rule in &mut rules.rules {
            let matches = rule.count > 0
                && rule
                    .method
                    .as_deref()
                    .is_none_or(|wanted| wanted == method.as_str())
                && path.contains(&rule.path);
            if !matches {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.count != u32::MAX {
                rule.count -= 1;
            }
            hit = Some(rule.fault.clone());
            break;
        }
        if hit.is_some() {
            rules.struck += 1;
        }
        hit
    }

    pub(crate) async fn strike(&self, method: &Method, path: &str) -> Outcome {
        if path.starts_with("/_hamlet/") {
            return Outcome::Normal;
        }
        match self.next(method, path) {
            None => Outcome::Normal,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Outcome::Normal
            }
            Some(Fault::Fail) => Outcome::Fail,
            Some(Fault::Unheard) => Outcome::Unheard,
            Some(Fault::DropBefore) => Outcome::Drop,
            Some(Fault::DropAfter) => Outcome::DropAfter,
            Some(Fault::Race(race)) => Outcome::Race(race),
        }
    }

    /// Replaces the rules by those of
    /// `[{"method":"PUT","path":"/db/","skip":0,"count":1,"fault":"race_loses"}, …]`, where the fault
    /// is `delay` (with `ms`), `fail`, `unheard`, `drop_before`, `drop_after`, `race_wins` or `race_loses`
    /// (with an optional `other`).
    pub(crate) fn replace_from_json(&self, json: &Json) -> Result<(), String> {
        let list = json.as_arr().ok_or("the rules must be an array")?;
        let rules = list.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        self.lock().rules = rules;
        Ok(())
    }
}

fn rule(json: &Json) -> Result<Rule, String> {
    let text = |key: &str| json.get(key).and_then(Json::as_str);
    let number = |key: &str, unless: u32| match json.get(key) {
        None => Ok(unless),
        Some(value) => value
            .as_i64()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| format!("`{key}` must be a whole number from 0")),
    };
    let race = |ours| {
        Fault::Race(Race {
            ours,
            other: json.get("other").map(Json::to_string),
        })
    };
    let fault = match text("fault").ok_or("a rule needs a `fault`")? {
        "delay" => Fault::Delay(Duration::from_millis(u64::from(number("ms", 100)?))),
        "fail" => Fault::Fail,
        "unheard" => Fault::Unheard,
        "drop_before" => Fault::DropBefore,
        "drop_after" => Fault::DropAfter,
        "race_wins" => race(Side::Wins),
        "race_loses" => race(Side::Loses),
        other => return Err(format!("unknown fault `{other}`")),
    };
    Ok(Rule {
        method: text("method").map(str::to_owned),
        path: text("path").unwrap_or_default().to_owned(),
        skip: number("skip", 0)?,
        count: number("count", 1)?,
        fault,
    })
}
