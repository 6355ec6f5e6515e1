//! Errors, as a person reads them on standard error.

use serde_json::{Value, json};
use tonic::Code;
use tonic_types::{FieldViolation, StatusExt as _};

use crate::{
    argument_names::ArgumentNames,
    error::CommandError,
    flags::format::Format,
    output::{
        say,
        text::{clean, clean_json},
    },
};

/// Prints an error: one line, and one for each field that is invalid, by the argument that sets it. With `-o json`,
/// one JSON object on one line.
pub(crate) fn report(error: &CommandError, names: &ArgumentNames, format: Format) {
    if error.is_closed_output() {
        return;
    }
    if format == Format::Json {
        say(&clean_json(&document(error, names).to_string()));
        return;
    }
    for line in lines(error, names) {
        say(&clean(&line));
    }
}

/// The error of a command line that cannot be read, as the JSON of [`report`].
pub(crate) fn usage_document(message: &str) -> String {
    let document = json!({"error": {
        "code": name_of(Code::InvalidArgument),
        "reason": "USAGE",
        "message": message,
        "fieldViolations": [],
    }});
    clean_json(&document.to_string()).into_owned()
}

fn document(error: &CommandError, names: &ArgumentNames) -> Value {
    let (code, reason) = match error {
        CommandError::Refused(status) | CommandError::Ended(status) => (
            status.code(),
            status
                .get_details_error_info()
                .map(|info| info.reason)
                .unwrap_or_default(),
        ),
        CommandError::Usage(_) => (Code::InvalidArgument, "USAGE".to_owned()),
        CommandError::Unavailable(_) => (Code::Unavailable, "SERVER_UNAVAILABLE".to_owned()),
        CommandError::NotAllowed(_) => (Code::PermissionDenied, "NOT_ALLOWED".to_owned()),
        CommandError::Interrupted(_) => (Code::Cancelled, "INTERRUPTED".to_owned()),
        CommandError::NotFound(_) => (Code::NotFound, "NOT_FOUND".to_owned()),
        CommandError::Failed(_) => (Code::Unknown, "FAILED".to_owned()),
        CommandError::Output(_)
        | CommandError::Signal(_)
        | CommandError::Json(_)
        | CommandError::Answer(_) => (Code::Internal, "INTERNAL".to_owned()),
    };
    let violations: Vec<Value> = violations(error)
        .into_iter()
        .map(|violation| {
            json!({
                "argument": names.of_field(&violation.field),
                "description": violation.description,
                "field": violation.field,
            })
        })
        .collect();
    json!({"error": {
        "code": name_of(code),
        "reason": reason,
        "message": error.to_string(),
        "fieldViolations": violations,
    }})
}

/// The name of a code in `google.rpc.Code`.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for character in format!("{code:?}").chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

fn violations(error: &CommandError) -> Vec<FieldViolation> {
    match error {
        CommandError::Refused(status) | CommandError::Ended(status) => status
            .get_details_bad_request()
            .map(|request| request.field_violations)
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn lines(error: &CommandError, names: &ArgumentNames) -> Vec<String> {
    let message = error.to_string();
    let violations = violations(error);
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
    // The message of a request with several invalid fields repeats all violations.
    let plain: Vec<_> = invalid.iter().map(|(_, plain)| plain.as_str()).collect();
    let headline = if plain.len() > 1 && message.starts_with(&plain.join("; ")) {
        format!("{} values cannot be used", plain.len())
    } else {
        message
    };
    let mut lines = vec![format!("error: {headline}")];
    lines.extend(invalid.into_iter().map(|(line, _)| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::name_of;

    #[test]
    fn codes_have_the_names_of_the_contract() {
        assert_eq!(name_of(Code::Ok), "OK");
        assert_eq!(name_of(Code::NotFound), "NOT_FOUND");
        assert_eq!(name_of(Code::FailedPrecondition), "FAILED_PRECONDITION");
    }
}
