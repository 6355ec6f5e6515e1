//! What is printed: data on standard output, everything else on standard error.

mod csv;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;

use std::io::{self, IsTerminal as _, Write as _};

use hamlet_proto::json::to_json;
use prost::{Message, Name};
use serde_json::Value;

use self::{
    table::Table,
    text::{clean, clean_json, is_unclean},
};
use crate::{error::CommandError, flags::format::Format};

/// Some fields of a message, by the names of their columns. A field can be there twice.
pub(crate) type FieldValues = [(&'static str, Value)];

/// Prints a line for a person on standard error.
pub(crate) fn say(line: &str) {
    // When standard error is closed, the line has no reader.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a text unchanged on standard output.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one message: its `name`, the text of `table`, or its JSON or YAML.
pub(crate) fn one<M: Message + Name>(
    format: Format,
    message: &M,
    name: &str,
    table: impl FnOnce() -> String,
) -> Result<(), CommandError> {
    match format {
        // These formats do not need the message's JSON.
        Format::Table | Format::Wide | Format::Csv | Format::Name => {
            document(format, &Value::Null, name, table)
        }
        Format::Json | Format::Yaml => document(format, &to_json(message)?, name, table),
    }
}

/// Prints one document that is no message of the contracts, as [`one`] does.
pub(crate) fn document(
    format: Format,
    document: &Value,
    name: &str,
    table: impl FnOnce() -> String,
) -> Result<(), CommandError> {
    match format {
        Format::Table | Format::Wide => print(&table()),
        Format::Csv => format.check_single(),
        Format::Name => print(&format!("{}\n", clean(name))),
        // A single document is indented, so that people can read it too.
        Format::Json => print(&indented(document)),
        Format::Yaml => print(&yaml(document)?),
    }
}

/// The object of some fields and their values.
pub(crate) fn object(values: &FieldValues) -> Value {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The value of a column as a cell of a table, in the form in which flags take it. Null is empty.
pub(crate) fn cell(column: &str, value: &Value) -> String {
    let below = |value| cell(column, value);
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(below).collect::<Vec<_>>().join(","),
        Value::Object(pairs) => {
            let separator = if column == "labels" { '=' } else { ':' };
            pairs
                .iter()
                .map(|(key, value)| format!("{key}{separator}{}", below(value)))
                .collect::<Vec<_>>()
                .join(",")
        }
        other => other.to_string(),
    }
}

/// The value of a column as a cell of a CSV. A map is JSON: its values may hold every character that could separate them.
fn csv_cell(column: &str, value: &Value) -> String {
    match value {
        Value::Object(pairs) if pairs.is_empty() => String::new(),
        Value::Object(_) => value.to_string(),
        other => cell(column, other),
    }
}

fn indented(document: &Value) -> String {
    let text = serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string());
    let lines: Vec<_> = text.lines().map(clean_json).collect();
    format!("{}\n", lines.join("\n"))
}

fn yaml(document: &Value) -> Result<String, CommandError> {
    let text = serde_saphyr::to_string(document)
        .map_err(|error| CommandError::Failed(format!("the answer has no YAML form: {error}")))?;
    if text.lines().any(is_unclean) {
        // serde-saphyr does not escape characters that reverse the direction of text. JSON is YAML, and escapes them.
        return Ok(indented(document));
    }
    Ok(if text.ends_with('\n') {
        text
    } else {
        format!("{text}\n")
    })
}

/// Prints a list page by page.
pub(crate) struct ListPrinter {
    format: Format,
    table: Table,
    /// The header of a CSV, until it is printed.
    header: Vec<String>,
    items: usize,
}

impl ListPrinter {
    /// A list with these columns.
    pub(crate) fn new(format: Format, columns: &[&str]) -> Self {
        Self {
            format,
            // Programs read rows without a header, and whole cells.
            table: Table::new(columns, format.is_table() && io::stdout().is_terminal())
                .fitting(table::width()),
            header: columns.iter().map(|name| (*name).to_owned()).collect(),
            items: 0,
        }
    }

    /// The list, whose last column is a sentence: at a terminal it goes on in further lines, and nothing is cut off it.
    pub(crate) fn with_sentences(mut self) -> Self {
        self.table = self.table.with_sentences();
        self
    }

    /// Ends the list: says at a terminal when there was nothing in it.
    pub(crate) fn end(mut self, nothing: &str) -> Result<(), CommandError> {
        self.flush()?;
        if self.format == Format::Csv {
            self.print_header()?;
            return Ok(());
        }
        if self.items == 0 && io::stdout().is_terminal() {
            say(nothing);
        }
        Ok(())
    }

    /// Prints the header of a CSV, once.
    fn print_header(&mut self) -> Result<(), CommandError> {
        let header = std::mem::take(&mut self.header);
        if header.is_empty() {
            return Ok(());
        }
        print(&csv::record(&header))
    }

    /// Prints a record of a CSV, after the header.
    fn print_record(&mut self, cells: &[String]) -> Result<(), CommandError> {
        self.print_header()?;
        if io::stdout().is_terminal() {
            let cells: Vec<_> = cells.iter().map(|cell| clean(cell).into_owned()).collect();
            return print(&csv::record(&cells));
        }
        print(&csv::record(cells))
    }

    /// Adds an item. In a table it is printed by the next [`flush`](Self::flush), in other formats at once.
    pub(crate) fn push<M: Message + Name>(
        &mut self,
        message: &M,
        name: &str,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CommandError> {
        self.push_document(|| Ok(to_json(message)?), name, cells)
    }

    /// As [`push`](Self::push), with a value in the JSON form that is no field of the message.
    pub(crate) fn push_with<M: Message + Name>(
        &mut self,
        key: &str,
        value: &str,
        message: &M,
        name: &str,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CommandError> {
        let document = || {
            let mut document = to_json(message)?;
            if let Value::Object(fields) = &mut document {
                fields.insert(key.to_owned(), value.into());
            }
            Ok(document)
        };
        self.push_document(document, name, cells)
    }

    fn push_document(
        &mut self,
        document: impl FnOnce() -> Result<Value, CommandError>,
        name: &str,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), CommandError> {
        self.items += 1;
        match self.format {
            Format::Table | Format::Wide => {
                self.table.push(cells());
                Ok(())
            }
            Format::Csv => self.print_record(&cells()),
            Format::Name => print(&format!("{}\n", clean(name))),
            Format::Json => print(&format!("{}\n", clean_json(&document()?.to_string()))),
            Format::Yaml => print(&format!("---\n{}", yaml(&document()?)?)),
        }
    }

    /// Adds an item of which only some fields are wanted. It has no name.
    pub(crate) fn push_values(&mut self, values: &FieldValues) -> Result<(), CommandError> {
        self.items += 1;
        let cells = || {
            values
                .iter()
                .map(|(name, value)| cell(name, value))
                .collect()
        };
        match self.format {
            Format::Table | Format::Wide | Format::Name => {
                self.table.push(cells());
                Ok(())
            }
            Format::Csv => {
                let cells: Vec<_> = values
                    .iter()
                    .map(|(name, value)| csv_cell(name, value))
                    .collect();
                self.print_record(&cells)
            }
            Format::Json => {
                let line = object(values).to_string();
                print(&format!("{}\n", clean_json(&line)))
            }
            Format::Yaml => print(&format!("---\n{}", yaml(&object(values))?)),
        }
    }

    /// Prints the rows of the table that were added since the last time.
    pub(crate) fn flush(&mut self) -> Result<(), CommandError> {
        print(&self.table.take())
    }
}
