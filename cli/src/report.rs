//! Errors, as a person reads them on standard error.

use tonic_types::StatusExt as _;

use crate::{argument_names::ArgumentNames, error::CommandError, output::say, output::text::clean};

/// Prints an error: one line, and one for each field that is invalid, by the argument that sets it.
pub(crate) fn report(error: &CommandError, names: &ArgumentNames) {
    if error.is_closed_output() {
        return;
    }
    for line in lines(error, names) {
        say(&clean(&line));
    }
}

fn lines(error: &CommandError, names: &ArgumentNames) -> Vec<String> {
    let message = error.to_string();
    let violations = match error {
        CommandError::Refused(status) => status
            .get_details_bad_request()
            .map(|request| request.field_violations)
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let invalid: Vec<_> = violations
        .iter()
        .map(|violation| {
            let (field, why) = (&violation.field, &violation.description);
            let plain = format!("{field}: {why}");
            match names.of_field(field) {
                Some(argument) => (format!("{argument} ({field}): {why}"), plain),
                None => (plain.clone(), plain),
            }
        })
        .collect();
    // The message of a request with one invalid field repeats the violation.
    if let [(line, plain)] = invalid.as_slice()
        && *plain == message
    {
        return vec![format!("error: {line}")];
    }
    let mut lines = vec![format!("error: {message}")];
    lines.extend(invalid.into_iter().map(|(line, _)| format!("  {line}")));
    lines
}
