//! Fault injection, for tests of clients.
//!
//! A rule selects requests by method and path and says what happens to them. Rules are added in the process
//! by a [`Faults`] handle or over HTTP by `PUT /_hamlet/faults`, which exists only if the configuration has a
//! handle.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Method;

use crate::json::Json;

/// A fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is delayed by this time.
    Delay(Duration),
    /// The request is not executed. The response is 500.
    Fail,
    /// The request is not executed. The response is 404 for the database, as from a node of a cluster that
    /// does not know a new database yet.
    Unheard,
    /// The request is not executed, and the connection is closed without a response.
    DropBefore,
    /// The request is executed and committed, and the connection is closed without a response.
    DropAfter,
    /// The write of a document is stored together with a conflicting leaf. The response is 202.
    Race(Race),
}

/// A race of two writers, as it can happen on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Race {
    /// Whether the leaf of the request becomes the winner.
    pub ours: Side,
    /// The document of the other writer, as JSON without `_id` and `_rev`. `None` stands for the document of
    /// the request with `"other_writer": true`.
    pub other: Option<String>,
}

/// Which leaf becomes the winner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The leaf of the request.
    Wins,
    /// The leaf of the other writer.
    Loses,
}

/// A fault and the requests that it affects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The method of the requests; `None` for any.
    pub method: Option<String>,
    /// A part of the path of the requests, as sent; empty for any.
    pub path: String,
    /// How many matching requests are executed normally first.
    pub skip: u32,
    /// How many matching requests are affected after that.
    pub count: u32,
    /// The fault.
    pub fault: Fault,
}

impl Rule {
    /// Affects the next matching request.
    pub fn once(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            skip: 0,
            count: 1,
            fault,
        }
    }

    /// Affects every matching request.
    pub fn always(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            count: u32::MAX,
            ..Self::once(method, path, fault)
        }
    }

    /// Skips this many matching requests first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Affects this many matching requests.
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

/// The active rules. Clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Faults").field(&self.lock().rules).finish()
    }
}

/// The effect on one request.
pub(crate) enum Effect {
    Normal,
    Drop,
    DropAfter,
    Fail,
    Unheard,
    Race(Race),
}

impl Faults {
    /// Without rules.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. The first matching rule applies.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How many requests have been affected so far.
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

    /// Applies the rules to a request: sleeps for a delay and returns any other effect.
    pub(crate) async fn apply(&self, method: &Method, path: &str) -> Effect {
        if path.starts_with("/_hamlet/") {
            return Effect::Normal;
        }
        match self.next(method, path) {
            None => Effect::Normal,
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Effect::Normal
            }
            Some(Fault::Fail) => Effect::Fail,
            Some(Fault::Unheard) => Effect::Unheard,
            Some(Fault::DropBefore) => Effect::Drop,
            Some(Fault::DropAfter) => Effect::DropAfter,
            Some(Fault::Race(race)) => Effect::Race(race),
        }
    }

    /// Replaces the rules by the JSON
    /// `[{"method":"PUT","path":"/db/","skip":0,"count":1,"fault":"race_loses"}, …]`, where the fault
    /// is `delay` (with `ms`), `fail`, `unheard`, `drop_before`, `drop_after`, `race_wins` or `race_loses`
    /// (with an optional `other`).
    pub(crate) fn replace_from_json(&self, json: &Json) -> Result<(), String> {
        let list = json.as_arr().ok_or("the rules must be an array")?;
        let rules = list.iter().map(parse_rule).collect::<Result<Vec<_>, _>>()?;
        self.lock().rules = rules;
        Ok(())
    }
}

fn parse_rule(json: &Json) -> Result<Rule, String> {
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
