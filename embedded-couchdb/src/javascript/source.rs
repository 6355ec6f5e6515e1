//! Sources of functions in design documents.
//!
//! CouchDB takes a function without a name as a statement: `function (doc) { … }`, also after other statements. ECMAScript
//! has only function expressions without names, so parentheses make one of each such statement.

/// The source with parentheses around each function without a name that stands where a statement begins.
pub(crate) fn as_expressions(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len() + 2);
    let mut copied = 0;
    let mut at = 0;
    // Whether a statement can begin here, outside of all brackets.
    let mut at_statement = true;
    let mut depth = 0_usize;
    while at < bytes.len() {
        if let Some(end) = skipped(bytes, at) {
            if !matches!(bytes.get(at..at + 2), Some(b"//" | b"/*")) {
                at_statement = false;
            }
            at = end;
            continue;
        }
        let byte = bytes.get(at).copied().unwrap_or_default();
        if at_statement && depth == 0 && is_function(bytes, at) {
            out.push_str(source.get(copied..at).unwrap_or_default());
            out.push('(');
            let Some(end) = end_of_function(bytes, at) else {
                // A brace is missing: the engine says so.
                out.push_str(source.get(at..).unwrap_or_default());
                return out;
            };
            out.push_str(source.get(at..end).unwrap_or_default());
            out.push_str(");");
            copied = end;
            at = end;
            continue;
        }
        match byte {
            b'{' | b'(' | b'[' => {
                depth += 1;
                at_statement = false;
            }
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                at_statement = byte == b'}' && depth == 0;
            }
            b';' | b'\n' => at_statement = depth == 0,
            _ if byte.is_ascii_whitespace() => {}
            _ => at_statement = false,
        }
        at += 1;
    }
    out.push_str(source.get(copied..).unwrap_or_default());
    out
}

/// Whether `function (` begins here.
fn is_function(bytes: &[u8], at: usize) -> bool {
    const WORD: &[u8] = b"function";
    let Some(rest) = bytes.get(at..).and_then(|rest| rest.strip_prefix(WORD)) else {
        return false;
    };
    rest.iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'(')
}

/// The place after the body of the function that begins at `start`.
fn end_of_function(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if let Some(end) = skipped(bytes, at) {
            at = end;
            continue;
        }
        match bytes.get(at)? {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The place after the comment, the string or the regular expression that begins here.
fn skipped(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = match rest {
        [b'/', b'/', ..] => rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len()),
        [b'/', b'*', ..] => rest
            .windows(2)
            .skip(2)
            .position(|pair| pair == b"*/")
            .map_or(rest.len(), |place| place + 4),
        [quote @ (b'"' | b'\'' | b'`'), ..] => quoted(rest, *quote),
        [b'/', ..] if begins_regex(bytes.get(..at)?) => regex(rest),
        _ => return None,
    };
    Some(at + length)
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match *byte {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether a slash after this text begins a regular expression: a division follows a value.
fn begins_regex(before: &[u8]) -> bool {
    let last = before.iter().rev().find(|byte| !byte.is_ascii_whitespace());
    match last {
        None => true,
        Some(byte) => {
            let word: Vec<u8> = before
                .iter()
                .rev()
                .skip_while(|byte| byte.is_ascii_whitespace())
                .take_while(|byte| byte.is_ascii_alphabetic())
                .copied()
                .collect();
            word == b"nruter"
                || word == b"foepyt"
                || !(byte.is_ascii_alphanumeric() || b"_$)]}".contains(byte))
        }
    }
}

fn regex(text: &[u8]) -> usize {
    let mut at = 1;
    let mut in_class = false;
    while let Some(byte) = text.get(at) {
        match *byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'/' if !in_class => return at + 1,
            // A regular expression ends on its line: this was none.
            b'\n' => return 1,
            _ => {}
        }
        at += 1;
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::as_expressions;

    #[test]
    fn functions_without_names_become_expressions() {
        for (source, wanted) in [
            ("function(d) { a }", "(function(d) { a });"),
            (
                "var x = 1; function (d) {}",
                "var x = 1; (function (d) {});",
            ),
            ("// c\nfunction(d) {};", "// c\n(function(d) {});;"),
            (
                "function() {} function() {}",
                "(function() {}); (function() {});",
            ),
            ("function(d) { '}' }", "(function(d) { '}' });"),
            (
                "function(d) { return /}/.test(d) }",
                "(function(d) { return /}/.test(d) });",
            ),
            ("function(d, e = {}) {}", "(function(d, e = {}) {});"),
        ] {
            assert_eq!(as_expressions(source), wanted);
        }
    }

    #[test]
    fn other_sources_stay_as_they_are() {
        for source in [
            "(function(d) {})",
            "d => emit(d)",
            "function name(d) {}",
            "var f = function(d) {}; f",
            "'function(d) {}'",
            "",
        ] {
            assert_eq!(as_expressions(source), source);
        }
    }

    proptest! {
        #[test]
        fn any_source_keeps_its_text(source in "(function ?\\(|[(){};'\"/* \\na\\\\]){0,30}") {
            let without = |text: &str| text.replace(['(', ')', ';'], "");
            prop_assert_eq!(without(&as_expressions(&source)), without(&source));
        }
    }
}
