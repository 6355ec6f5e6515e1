//! Medians, ratios and the output.

use std::{thread, time::Duration};

use crate::{
    load::{Figures, Outcome},
    proxies::OURS,
};

/// How much is measured.
pub(crate) struct Size {
    /// How often the load goes to each proxy.
    pub(crate) rounds: usize,
    /// The messages of the long stream, each way.
    pub(crate) messages: usize,
    /// How many hosts the calls go round over.
    pub(crate) instances: usize,
    /// How many hosts they go round over in the comparison with one.
    pub(crate) crowd: usize,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
    /// What the names of the loads have to contain.
    pub(crate) only: String,
}

/// What each runner needs for one load.
pub(crate) struct Row {
    load: String,
    cells: Vec<(String, Outcome)>,
}

impl Row {
    /// The median of each number over the rounds.
    pub(crate) fn new(load: &str, outcomes: impl Iterator<Item = (String, Vec<Outcome>)>) -> Self {
        Self {
            load: load.to_owned(),
            cells: outcomes
                .map(|(label, outcomes)| (label, median(&outcomes)))
                .collect(),
        }
    }

    /// Prints a line for each runner, with what `ours` takes of it.
    pub(crate) fn print(&self, ours: &str) {
        println!("\n{}", self.load);
        println!("               CPU µs a call   calls/s    p50 ms    p99 ms  p99.9 ms");
        for (label, outcome) in &self.cells {
            match outcome {
                Outcome::NotForwarded(status) => {
                    println!("  {label:12} not forwarded yet: answered with {status}");
                }
                Outcome::Measured(its) => {
                    let ratio = self
                        .ratio(ours, label)
                        .filter(|_| label != ours)
                        .map_or(String::new(), |ratio| {
                            format!("   {ours} takes {ratio:.2} of its CPU time")
                        });
                    println!(
                        "  {label:12} {:13.2} {:9.0} {:9.3} {:9.3} {:9.3}{ratio}",
                        its.processor, its.rate, its.p50, its.p99, its.p999
                    );
                }
            }
        }
    }

    fn figures(&self, label: &str) -> Option<Figures> {
        let (_, outcome) = self.cells.iter().find(|(its, _)| its == label)?;
        match outcome {
            Outcome::Measured(figures) => Some(*figures),
            Outcome::NotForwarded(_) => None,
        }
    }

    /// The processor time of `one`, relative to that of `other`.
    fn ratio(&self, one: &str, other: &str) -> Option<f64> {
        Some(self.figures(one)?.processor / self.figures(other)?.processor)
    }
}

fn median(outcomes: &[Outcome]) -> Outcome {
    let mut runs = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Measured(figures) => runs.push(*figures),
            Outcome::NotForwarded(_) => return *outcome,
        }
    }
    let of = |number: fn(&Figures) -> f64| {
        let mut numbers: Vec<f64> = runs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    };
    Outcome::Measured(Figures {
        processor: of(|run| run.processor),
        rate: of(|run| run.rate),
        p50: of(|run| run.p50),
        p99: of(|run| run.p99),
        p999: of(|run| run.p999),
    })
}

/// Prints under which conditions the numbers arise.
pub(crate) fn begin(size: &Size, missing: &[&str]) {
    let processors = thread::available_parallelism().map_or(0, usize::from);
    println!(
        "CPUs: {processors}, shared by proxy, load and upstream; rounds: {}, {:?} each after {:?} of warm-up; instances: {}",
        size.rounds, size.length, size.warm_up, size.instances
    );
    for name in missing {
        println!("{name} is left out: it is not installed");
    }
}

/// Prints a line for each load: the processor time of each proxy, and that of ours relative to the others.
pub(crate) fn summary(rows: &[Row], others: &[&str]) {
    if !rows.is_empty() {
        println!("\nCPU µs a call, and ours relative to the others");
    }
    for row in rows {
        let cells = row.cells.iter().map(|(label, outcome)| match outcome {
            Outcome::Measured(its) => format!("{label} {:.2}", its.processor),
            Outcome::NotForwarded(_) => format!("{label} not forwarded yet"),
        });
        let ratios = others.iter().filter_map(|other| {
            let ratio = row.ratio(OURS, other)?;
            Some(format!("{OURS}/{other} {ratio:.2}"))
        });
        let cells: Vec<String> = cells.chain(ratios).collect();
        println!("  {}: {}", row.load, cells.join(", "));
    }
}
