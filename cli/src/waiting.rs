//! What a terminal shows while somebody waits: a spinner, what is at work, and for how long. The line is gone at the end.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(120);
/// Whoever waits shorter than this needs no line.
const PATIENCE: Duration = Duration::from_millis(400);

/// The line. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Line(ProgressBar);

impl Line {
    /// `None` when standard error is no terminal.
    pub(crate) fn begin() -> Option<Self> {
        io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let line = ProgressBar::new_spinner().with_style(style);
            line.enable_steady_tick(TICK);
            Self(line)
        })
    }

    /// Says what is at work.
    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// Prints a line that stays, above this one.
    pub(crate) fn print_above(&self, text: &str) {
        self.0.println(text);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Does some work, and shows what it is when it takes long.
pub(crate) async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep(PATIENCE) => {}
    }
    let line = Line::begin();
    if let Some(line) = &line {
        // What is not drawn yet has waited already.
        line.0.set_elapsed(PATIENCE);
        line.say(what.to_owned());
    }
    work.await
}
