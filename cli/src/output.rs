//! What is printed on standard output.

use std::io::{self, IsTerminal as _, Write as _};

use hamlet_proto::json::to_json;
use prost::{Message, Name};
use serde_json::Value;

use crate::{
    args::Format,
    failure::Failure,
    fields::{Field, cell},
    table::Table,
    text::{clean, clean_json, is_unclean},
};

/// Prints a text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one message: as `people` shows it, or in the form that programs read.
pub(crate) fn one<M: Message + Name>(
    format: Format,
    message: &M,
    name: &str,
    people: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match format {
        // Only the forms for programs need the message's own form.
        Format::Table | Format::Name => document(format, &Value::Null, name, people),
        Format::Json | Format::Yaml => document(format, &to_json(message)?, name, people),
    }
}

/// Prints one document that is no message.
pub(crate) fn document(
    format: Format,
    document: &Value,
    name: &str,
    people: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match format {
        Format::Table => print(&people()),
        Format::Name => print(&format!("{}\n", clean(name))),
        Format::Json => {
            // One document, spread out for those who read it all the same.
            print(&spread_out(document))
        }
        Format::Yaml => print(&yaml(document)?),
    }
}

/// The object of some fields and their values.
pub(crate) fn object(fields: &[&Field], values: &[Value]) -> Value {
    fields
        .iter()
        .zip(values)
        .map(|(field, value)| (field.name.to_owned(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn spread_out(document: &Value) -> String {
    let text = serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string());
    let lines: Vec<_> = text.lines().map(clean_json).collect();
    format!("{}\n", lines.join("\n"))
}

fn yaml(document: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(document)
        .map_err(|error| Failure::Failed(format!("the answer has no YAML form: {error}")))?;
    if text.lines().any(is_unclean) {
        // YAML lets through what reverses the direction of text. JSON is YAML too, and has escapes for it.
        return Ok(spread_out(document));
    }
    Ok(if text.ends_with('\n') {
        text
    } else {
        format!("{text}\n")
    })
}

/// A list that comes page by page.
pub(crate) struct List {
    format: Format,
    table: Table,
}

impl List {
    /// A list with these columns.
    pub(crate) fn new(format: Format, columns: &[&str]) -> Self {
        Self {
            format,
            // Programs read rows alone.
            table: Table::new(columns, io::stdout().is_terminal()),
        }
    }

    /// Adds an item; it is printed with its page.
    pub(crate) fn push<M: Message + Name>(
        &mut self,
        message: &M,
        name: &str,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                self.table.push(cells());
                Ok(())
            }
            Format::Name => print(&format!("{}\n", clean(name))),
            Format::Json => print(&format!("{}\n", clean_json(&to_json(message)?.to_string()))),
            Format::Yaml => print(&format!("---\n{}", yaml(&to_json(message)?)?)),
        }
    }

    /// Adds an item of which only some fields are wanted. It has no name.
    pub(crate) fn push_values(
        &mut self,
        fields: &[&Field],
        values: &[Value],
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Name => {
                self.table.push(values.iter().map(cell).collect());
                Ok(())
            }
            Format::Json => {
                let line = object(fields, values).to_string();
                print(&format!("{}\n", clean_json(&line)))
            }
            Format::Yaml => print(&format!("---\n{}", yaml(&object(fields, values))?)),
        }
    }

    /// Prints what has not been printed yet.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        print(&self.table.take())
    }
}
