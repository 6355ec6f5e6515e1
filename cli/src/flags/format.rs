//! The format of the output.

use clap::ValueEnum;

use crate::error::CommandError;

/// How answers are printed. The comments of the values are help texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns or lines for people.
    Table,
    /// The same with more columns, where a list has more.
    Wide,
    /// A list as comma-separated values, with a header.
    Csv,
    /// The contract's JSON form: one document, or one line an item of a list.
    Json,
    /// The same as YAML.
    Yaml,
    /// The names alone, one a line.
    Name,
}

impl Format {
    /// This format, or JSON when `--json` was given.
    ///
    /// # Errors
    /// When `--json` and another format for programs were given.
    pub(crate) fn or_json(self, json: bool) -> Result<Self, CommandError> {
        match self {
            _ if !json => Ok(self),
            Self::Table | Self::Json => Ok(Self::Json),
            Self::Wide | Self::Csv | Self::Yaml | Self::Name => Err(CommandError::Usage(
                "--json and --output contradict each other; give one".to_owned(),
            )),
        }
    }

    /// Checks that one document can be printed in the format.
    ///
    /// # Errors
    /// When the format is for lists.
    pub(crate) fn check_single(self) -> Result<(), CommandError> {
        match self {
            Self::Csv => Err(CommandError::Usage(
                "--output csv is for lists; use table, json, yaml or name here".to_owned(),
            )),
            Self::Table | Self::Wide | Self::Json | Self::Yaml | Self::Name => Ok(()),
        }
    }

    /// Whether it is for people.
    pub(crate) const fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Checks that the format has room for chosen fields: `name` prints names alone, and `wide` chooses itself.
    ///
    /// # Errors
    /// When `--fields` was given with one of them.
    pub(crate) fn check_fields(self, fields_given: bool) -> Result<(), CommandError> {
        let contradicts = match self {
            Self::Name => "name",
            Self::Wide => "wide",
            Self::Table | Self::Csv | Self::Json | Self::Yaml => return Ok(()),
        };
        if fields_given {
            return Err(CommandError::Usage(format!(
                "--fields and --output {contradicts} contradict each other; give one"
            )));
        }
        Ok(())
    }
}
