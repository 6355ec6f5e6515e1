//! Aligned columns.

use std::io::{self, IsTerminal as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::text::clean;

/// Rows of cells, printed page by page: a list of any length needs the memory of one page. Widths of columns only
/// grow.
#[derive(Debug)]
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    /// The width that lines may have; cells are cut so that they fit.
    fit: Option<usize>,
    /// Whether the last column goes on in further lines instead of being cut.
    has_sentences: bool,
}

/// The gap between two columns.
const GAP: usize = 2;

/// No column is cut below this width: `onboarding` and `onboarded` have to differ.
const NARROWEST: usize = 11;

/// The width of the terminal; `None` when standard output is none.
pub(crate) fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A text of at most `width` columns; what is cut is shown as an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if short.width() + character.width().unwrap_or(0) + 1 > width {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

/// A text in lines of at most `width` columns, broken between words; a longer word is a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Table {
    /// A table with these columns. The header is printed only `with_header`.
    pub(crate) fn new(columns: &[&str], with_header: bool) -> Self {
        let mut table = Self {
            widths: vec![0; columns.len()],
            rows: Vec::new(),
            fit: None,
            has_sentences: false,
        };
        if with_header {
            table.push(columns.iter().map(|name| name.to_uppercase()).collect());
        }
        table
    }

    /// The table with lines of at most this width.
    pub(crate) fn fitting(self, width: Option<usize>) -> Self {
        Self { fit: width, ..self }
    }

    /// The table, whose last column is a sentence that is not cut.
    pub(crate) fn with_sentences(self) -> Self {
        Self {
            has_sentences: true,
            ..self
        }
    }

    /// The widths of the columns. Where a line would be too long, the widest give way, except the first one: it says what
    /// the row is about, and is copied into the next command. Where one of its cells is very long, that row alone is longer
    /// than the others. Where many columns cannot fit even so, they are cut all the same.
    fn fitted(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        let Some(most) = self.fit else {
            return widths;
        };
        let gaps = GAP * widths.len().saturating_sub(1);
        let is_alone = widths.len() == 1;
        if let Some(first) = widths.first_mut().filter(|_| !is_alone) {
            *first = (*first).min(most / 2);
        }
        while widths.iter().sum::<usize>() + gaps > most {
            match widths.iter_mut().skip(1).max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        widths
    }

    /// Adds a row. An empty cell becomes `-`, so that programs can count columns.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        let row: Vec<String> = cells
            .into_iter()
            .map(|cell| {
                if cell.is_empty() {
                    "-".to_owned()
                } else {
                    clean(&cell).into_owned()
                }
            })
            .collect();
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(row);
    }

    /// Removes the rows that were added since the last call, as aligned lines.
    pub(crate) fn take(&mut self) -> String {
        let mut text = String::new();
        let widths = self.fitted();
        for row in self.rows.drain(..) {
            let last = row.len().saturating_sub(1);
            let before: usize = widths.iter().take(last).map(|width| width + GAP).sum();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = match self.fit {
                    Some(_) if column == last && self.has_sentences => {
                        wrapped(cell, *width).join(&format!("\n{}", " ".repeat(before)))
                    }
                    Some(_) if column > 0 => cut(cell, *width),
                    _ => cell.clone(),
                };
                text.push_str(&cell);
                if column < last {
                    let gap = width.saturating_sub(cell.width()) + GAP;
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Lines of a name and a value; those with an empty value are left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    lines(facts.iter().filter(|(_, value)| !value.is_empty()))
}

/// Lines of a name and a value; an empty value is a dash.
pub(crate) fn all_facts(facts: &[(&str, String)]) -> String {
    lines(facts.iter())
}

fn lines<'a>(facts: impl Iterator<Item = &'a (&'a str, String)>) -> String {
    let mut table = Table::new(&["", ""], false);
    for (name, value) in facts {
        table.push(vec![(*name).to_owned(), value.clone()]);
    }
    table.take()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use unicode_width::UnicodeWidthStr as _;

    use super::{Table, all_facts, facts};

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(&["a", "b"], false);
        table.push(vec!["日本".to_owned(), "x".to_owned()]);
        table.push(vec!["abc".to_owned(), String::new()]);
        assert_eq!(table.take(), "日本  x\nabc   -\n");
        table.push(vec!["d".to_owned(), "e".to_owned()]);
        assert_eq!(table.take(), "d     e\n", "a later page keeps the width");
    }

    #[test]
    fn at_a_terminal_the_widest_columns_give_way() {
        let mut table = Table::new(&["a", "b", "c"], false).fitting(Some(40));
        table.push(vec![
            "a-long-name".to_owned(),
            "x".repeat(40),
            "日本".repeat(10),
        ]);
        let line = table.take();
        assert!(line.starts_with("a-long-name  xxxxxx"), "{line}");
        assert_eq!(line.matches('…').count(), 2, "{line}");
        assert!(line.trim_end().width() <= 40, "{line}");
    }

    #[test]
    fn one_long_name_does_not_stop_the_cutting_of_the_others() {
        let mut table = Table::new(&["a", "b"], false).fitting(Some(30));
        table.push(vec![
            "a-name-of-more-than-thirty-columns".to_owned(),
            "x".repeat(30),
        ]);
        table.push(vec!["short".to_owned(), "x".repeat(30)]);
        let text = table.take();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("a-name-of-more-than-thirty-columns  "),
            "{text}"
        );
        assert!(lines[1].width() <= 30, "{text}");
        assert_eq!(text.matches('…').count(), 2, "{text}");
    }

    #[test]
    fn a_sentence_goes_on_below_itself() {
        let mut table = Table::new(&["a", "b"], false)
            .fitting(Some(24))
            .with_sentences();
        table.push(vec![
            "backend".to_owned(),
            "it does not answer: connection refused".to_owned(),
        ]);
        assert_eq!(
            table.take(),
            "backend  it does not\n         answer:\n         connection\n         refused\n"
        );
    }

    #[test]
    fn many_columns_are_cut_even_where_they_cannot_fit() {
        let mut table = Table::new(&["a"; 12], false).fitting(Some(80));
        table.push((0..12).map(|_| "x".repeat(20)).collect());
        assert_eq!(table.take().matches('…').count(), 11);
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let text = facts(&[("name", "a\nb".to_owned()), ("empty", String::new())]);
        assert_eq!(text, "name  a\\u{a}b\n");
        assert_eq!(all_facts(&[("empty", String::new())]), "empty  -\n");
    }
}
