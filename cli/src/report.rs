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
        text::{clean, clean_json, shortened},
        time,
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
        say(&clean(&time::in_message(&line)));
    }
}

/// The error of a command line that cannot be read, as the JSON of [`report`].
///
/// `arguments` are those that are to blame.
pub(crate) fn usage_document(message: &str, arguments: &[String]) -> String {
    let violations: Vec<Value> = arguments
        .iter()
        .map(|argument| json!({"argument": argument, "description": message, "field": Value::Null}))
        .collect();
    let document = json!({"error": {
        "code": name_of(Code::InvalidArgument),
        "reason": "USAGE",
        "message": message,
        "fieldViolations": violations,
    }});
    clean_json(&document.to_string()).into_owned()
}

/// What is wrong with a command line, in one line: the first part of what clap prints. How the command is used follows
/// there.
pub(crate) fn usage_message(printed: &str) -> String {
    let wrong = printed.split("\n\n").next().unwrap_or(printed);
    let mut lines = wrong.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // What is missing stands in lines of its own.
    let rest: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    if rest.is_empty() {
        return first.to_owned();
    }
    format!("{first} {}", rest.join(", "))
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
    let of_usage = match error {
        CommandError::Usage(message) => blamed(message),
        _ => None,
    };
    let violations: Vec<Value> = violations(error)
        .into_iter()
        .map(|violation| {
            let wrong = Wrong::new(&violation, names);
            json!({
                "argument": wrong.argument,
                "description": wrong.why,
                "field": violation.field,
            })
        })
        .chain(of_usage)
        .collect();
    json!({"error": {
        "code": name_of(code),
        "reason": reason,
        "message": headline(error, names),
        "fieldViolations": violations,
    }})
}

/// The argument with which a message of this program begins, as in `DOMAIN: is empty`, as a violation.
fn blamed(message: &str) -> Option<Value> {
    let (argument, why) = message.split_once(": ")?;
    let is_value = |text: &str| {
        !text.is_empty() && text.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
    };
    (argument.starts_with("--") || is_value(argument))
        .then(|| json!({"argument": argument, "description": why, "field": Value::Null}))
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

/// A field that cannot be used, in the words of the command line.
struct Wrong {
    /// The path of the field in the contract.
    field: String,
    /// The argument that sets it; `None` when the command has none.
    argument: Option<String>,
    why: String,
}

/// The field of a violation that stands for those that had no room.
const CUT: &str = "…";

/// What the contract calls otherwise than the command line does.
const PHRASES: [(&str, &str); 2] = [
    (
        "has a field of its own: use --",
        "has a flag of its own: use --",
    ),
    (
        "the next_page_token of the page before",
        "the one that the list before ended with",
    ),
];

impl Wrong {
    fn new(violation: &FieldViolation, names: &ArgumentNames) -> Self {
        let (field, why) = of_argument(&violation.field, &violation.description);
        let mut why = names.in_words(why);
        for (contract, here) in PHRASES {
            why = why.replace(contract, here);
        }
        Self {
            argument: names.of_field(&field),
            field,
            why,
        }
    }

    fn line(&self) -> String {
        let Self { field, why, .. } = self;
        match &self.argument {
            None if field == CUT => why.clone(),
            Some(argument) => format!("{argument} ({field}): {why}"),
            None => format!("{field}: {why}"),
        }
    }
}

/// The field that is meant by a violation, and why. One of a mask or of a filter names it in its description.
fn of_argument<'a>(field: &str, why: &'a str) -> (String, &'a str) {
    let within = match field {
        "update_mask" => why
            .strip_prefix('"')
            .and_then(|rest| rest.split_once("\" "))
            .map(|(path, why)| (format!("instance.{path}"), why)),
        "filter" => why
            .split_once(": ")
            .map(|(name, why)| (name.to_owned(), why)),
        _ => None,
    };
    within.unwrap_or_else(|| (field.to_owned(), why))
}

/// What is told first: in one line, without the invalid fields where there are several.
fn headline(error: &CommandError, names: &ArgumentNames) -> String {
    told(error, names).0
}

fn lines(error: &CommandError, names: &ArgumentNames) -> Vec<String> {
    let (headline, wrong) = told(error, names);
    let mut lines = vec![format!("error: {headline}")];
    lines.extend(wrong.iter().map(|wrong| format!("  {}", wrong.line())));
    lines
}

/// The first line, and the fields that it does not name.
fn told(error: &CommandError, names: &ArgumentNames) -> (String, Vec<Wrong>) {
    let (headline, wrong) = told_in_full(error, names);
    (shortened(&headline).into_owned(), wrong)
}

fn told_in_full(error: &CommandError, names: &ArgumentNames) -> (String, Vec<Wrong>) {
    let message = error.to_string();
    let violations = violations(error);
    let wrong: Vec<_> = violations
        .iter()
        .map(|violation| Wrong::new(violation, names))
        .collect();
    if let ([wrong], [violation]) = (wrong.as_slice(), violations.as_slice()) {
        // The message of a request with one invalid field repeats the violation, or tells more.
        let repeats = message.starts_with(&format!("{}: ", violation.field));
        let line = match &wrong.argument {
            Some(argument) if !repeats => format!("{argument}: {message}"),
            _ => wrong.line(),
        };
        return (line, Vec::new());
    }
    // The message of a request with several invalid fields repeats all violations, of which the server may cut some.
    let repeats = violations
        .first()
        .is_some_and(|first| message.starts_with(&format!("{}: ", first.field)));
    let told = violations.iter().filter(|it| it.field != CUT).count();
    let headline = match repeats {
        true if told < violations.len() => format!("more than {told} values cannot be used"),
        true => format!("{told} values cannot be used"),
        false => message,
    };
    (headline, wrong)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::{name_of, usage_message};

    #[test]
    fn what_is_wrong_with_a_command_line_is_told_in_one_line() {
        let printed = "error: the following required arguments were not provided:\n  <DOMAIN>\n  --locale <LANGUAGE>\n\n\
                       Usage: hamlet\n";
        assert_eq!(
            usage_message(printed),
            "the following required arguments were not provided: <DOMAIN>, --locale <LANGUAGE>"
        );
        assert_eq!(usage_message("error: unknown\n\nUsage: x"), "unknown");
    }

    #[test]
    fn codes_have_the_names_of_the_contract() {
        assert_eq!(name_of(Code::Ok), "OK");
        assert_eq!(name_of(Code::NotFound), "NOT_FOUND");
        assert_eq!(name_of(Code::FailedPrecondition), "FAILED_PRECONDITION");
    }
}
