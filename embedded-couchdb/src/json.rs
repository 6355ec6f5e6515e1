//! JSON as CouchDB handles it: members keep their order, integers have any size, the last of two equal keys
//! wins.
//!
//! `serde_json` converts large integers to floats, which would change documents and their revision ids.

use std::fmt::{self, Write as _};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A larger integer: its digits, with a leading `-` if negative.
    Big(String),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string.
    Str(String),
    /// An array.
    Arr(Vec<Json>),
    /// An object with its members in order.
    Obj(Vec<(String, Json)>),
}

/// The text is not valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at byte {at}")]
pub(crate) struct Invalid {
    /// The offset of the error, in bytes.
    pub at: usize,
}

/// The deepest nesting that is accepted, so that a hostile document cannot overflow the stack.
const MAX_DEPTH: u32 = 1000;

/// The longest integer that is accepted, in digits. Computing a revision id of one takes quadratic time.
const MAX_DIGITS: usize = 100_000;

impl Json {
    /// Parses `text`, which must be one JSON value.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Invalid> {
        let mut parser = Parser { text, at: 0 };
        parser.space();
        let value = parser.value(0)?;
        parser.space();
        if parser.at == text.len() {
            Ok(value)
        } else {
            Err(parser.invalid())
        }
    }

    /// The value of a member, if this is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Obj(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The string, if this is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Json::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The integer, if this is one of 64 bits.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub(crate) fn as_arr(&self) -> Option<&[Json]> {
        match self {
            Json::Arr(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if this is an object.
    pub(crate) fn as_obj(&self) -> Option<&[(String, Json)]> {
        match self {
            Json::Obj(members) => Some(members),
            _ => None,
        }
    }

    /// Appends the compact text to `out`.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Int(n) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{n}");
            }
            Json::Big(digits) => out.push_str(digits),
            Json::Float(x) => write_float(*x, out),
            Json::Str(s) => write_string(s, out),
            Json::Arr(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Obj(members) => {
                out.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

impl From<&str> for Json {
    fn from(s: &str) -> Self {
        Json::Str(s.to_owned())
    }
}

impl From<String> for Json {
    fn from(s: String) -> Self {
        Json::Str(s)
    }
}

impl From<bool> for Json {
    fn from(b: bool) -> Self {
        Json::Bool(b)
    }
}

impl From<i64> for Json {
    fn from(n: i64) -> Self {
        Json::Int(n)
    }
}

impl From<u64> for Json {
    fn from(n: u64) -> Self {
        i64::try_from(n).map_or_else(|_| Json::Big(n.to_string()), Json::Int)
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Json::Arr(items)
    }
}

/// An object with these members.
pub(crate) fn obj<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Obj(
        members
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
    )
}

/// Appends a quoted string.
pub(crate) fn write_string(s: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in s.bytes().enumerate() {
        let escape: &str = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        // Escaped bytes are ASCII, so both offsets are character boundaries.
        out.push_str(s.get(plain..at).unwrap_or_default());
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04X}");
        } else {
            out.push_str(escape);
        }
        plain = at + 1;
    }
    out.push_str(s.get(plain..).unwrap_or_default());
    out.push('"');
}

/// Appends a float with the fewest digits that parse to the same value, and always with a fraction or an
/// exponent. The exponent begins where CouchDB's does.
fn write_float(x: f64, out: &mut String) {
    if x == 0.0 {
        out.push_str("0.0");
    } else if (1e-6..1e21).contains(&x.abs()) {
        let _ = write!(out, "{x}");
        if x.fract() == 0.0 {
            out.push_str(".0");
        }
    } else {
        let text = format!("{x:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                let _ = write!(out, "{digits}e+{exponent}");
            }
            _ => out.push_str(&text),
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn invalid(&self) -> Invalid {
        Invalid { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Invalid> {
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word.as_bytes()))
        {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.invalid())
        }
    }

    fn value(&mut self, depth: u32) -> Result<Json, Invalid> {
        if depth > MAX_DEPTH {
            return Err(self.invalid());
        }
        match self.peek() {
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => self.string().map(Json::Str),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.invalid()),
        }
    }

    fn array(&mut self, depth: u32) -> Result<Json, Invalid> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Arr(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Arr(items));
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Json, Invalid> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Obj(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.invalid());
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.invalid());
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            members.push((key, value));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Obj(last_of_equal_keys(members)));
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn string(&mut self) -> Result<String, Invalid> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|b| b != b'"' && b != b'\\' && b >= 0x20)
            {
                self.at += 1;
            }
            bytes.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(bytes).map_err(|_| self.invalid());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    let mut buffer = [0; 4];
                    bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Invalid> {
        let c = self.peek().ok_or_else(|| self.invalid())?;
        self.at += 1;
        Ok(match c {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                if (0xd800..0xdc00).contains(&high) {
                    self.word("\\u", Json::Null)?;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.invalid());
                    }
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    char::from_u32(code).ok_or_else(|| self.invalid())?
                } else {
                    char::from_u32(high).ok_or_else(|| self.invalid())?
                }
            }
            _ => return Err(self.invalid()),
        })
    }

    fn hex4(&mut self) -> Result<u32, Invalid> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .ok_or_else(|| self.invalid())?;
        let mut code = 0;
        for digit in digits {
            let value = char::from(*digit)
                .to_digit(16)
                .ok_or_else(|| self.invalid())?;
            code = code * 16 + value;
        }
        self.at += 4;
        Ok(code)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Json, Invalid> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek();
        let count = self.digits();
        if count == 0 || (count > 1 && first == Some(b'0')) {
            return Err(self.invalid());
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            whole = false;
            if self.digits() == 0 {
                return Err(self.invalid());
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            whole = false;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.invalid());
            }
        }
        let text = self
            .text
            .get(start..self.at)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .ok_or_else(|| self.invalid())?;
        if whole && count > MAX_DIGITS {
            return Err(self.invalid());
        }
        if whole {
            return Ok(text
                .parse()
                .map_or_else(|_| Json::Big(text.to_owned()), Json::Int));
        }
        match text.parse::<f64>() {
            Ok(x) if is_zero_to_couchdb(text) => Ok(Json::Float(0.0_f64.copysign(x))),
            Ok(x) if x.is_finite() => Ok(Json::Float(x)),
            _ => Err(self.invalid()),
        }
    }
}

/// Whether CouchDB reads a number as zero that has no fraction and a very small exponent. Its revision would be another
/// one.
fn is_zero_to_couchdb(text: &str) -> bool {
    let exponent = text.split_once(['e', 'E']).map(|(digits, exponent)| {
        (
            digits.contains('.'),
            exponent.parse::<i64>().unwrap_or(i64::MIN),
        )
    });
    matches!(exponent, Some((false, ..=-324))) && text.contains('-')
}

/// CouchDB keeps the last of two members with one key.
fn last_of_equal_keys(members: Vec<(String, Json)>) -> Vec<(String, Json)> {
    // Most objects are small: a set would cost more than the linear search.
    let repeated = if members.len() <= 16 {
        members
            .iter()
            .enumerate()
            .any(|(n, (key, _))| members.iter().skip(n + 1).any(|(k, _)| k == key))
    } else {
        let mut seen = std::collections::HashSet::new();
        members.iter().any(|(key, _)| !seen.insert(key.as_str()))
    };
    if !repeated {
        return members;
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<(String, Json)> = members
        .into_iter()
        .rev()
        .filter(|(key, _)| seen.insert(key.clone()))
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Json;

    fn round(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn order_and_large_numbers_are_preserved() {
        let text = r#"{"z":1,"a":[true,null,-0.5],"n":123456789012345678901234567890}"#;
        assert_eq!(round(text), text);
    }

    #[test]
    fn the_last_of_equal_keys_is_kept() {
        assert_eq!(round(r#"{"a":1,"b":2,"a":3}"#), r#"{"b":2,"a":3}"#);
    }

    #[test]
    fn only_necessary_characters_are_escaped() {
        assert_eq!(
            round(r#""\u00e9\ud83d\ude00\/\u0001\n""#),
            "\"é😀/\\u0001\\n\""
        );
    }

    #[test]
    fn floats_have_couchdbs_form() {
        assert_eq!(
            round("[1e16,1e20,-1E20,1e21,1.5e-5,1e-6,1e-7,1e0,-0.0]"),
            "[10000000000000000.0,100000000000000000000.0,-100000000000000000000.0,1e+21,0.000015,0.000001,1e-7,1.0,0.0]"
        );
    }

    #[test]
    fn an_integer_of_too_many_digits_is_refused() {
        assert!(Json::parse("9".repeat(100_000).as_bytes()).is_ok());
        assert!(Json::parse("9".repeat(100_001).as_bytes()).is_err());
    }

    #[test]
    fn invalid_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "01",
            "1.",
            "nul",
            "\"\\ud800\"",
            "{\"a\"}",
            "1 2",
            "{'a':1}",
            "\"\u{1}\"",
            "1e999",
        ] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
        assert!(Json::parse("[".repeat(5000).as_bytes()).is_err());
    }
}
