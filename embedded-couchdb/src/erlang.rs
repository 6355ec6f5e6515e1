//! Erlang terms, from which CouchDB computes revision ids and index names, and which it prints in some error
//! messages.
//!
//! The external term format is documented in Erlang's manual (`erl_ext_dist`). Revision ids and index names
//! equal those of CouchDB. So a database that is replicated to a cluster keeps them, and the same edit on both
//! sides is no conflict.

use std::{borrow::Cow, cmp::Ordering, fmt::Write as _};

use md5::{Digest as _, Md5};

use crate::{json::Json, numbers};

/// An encoder of Erlang terms.
pub(crate) struct Term(Vec<u8>);

impl Term {
    pub(crate) fn new() -> Self {
        Self(vec![131])
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn length(&mut self, length: usize) {
        // Lengths fit 32 bits because bodies are limited to megabytes.
        self.0
            .extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }

    pub(crate) fn atom(&mut self, name: &str) -> &mut Self {
        self.0.push(100);
        self.0
            .extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.push(109);
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn tuple(&mut self, arity: u8) -> &mut Self {
        self.0.extend_from_slice(&[104, arity]);
        self
    }

    /// The head of a list. The caller writes `length` elements and `nil`.
    pub(crate) fn list(&mut self, length: usize) -> &mut Self {
        self.0.push(108);
        self.length(length);
        self
    }

    pub(crate) fn nil(&mut self) -> &mut Self {
        self.0.push(106);
        self
    }

    pub(crate) fn int(&mut self, n: i64) -> &mut Self {
        if let Ok(small) = u8::try_from(n) {
            self.0.extend_from_slice(&[97, small]);
        } else if let Ok(middle) = i32::try_from(n) {
            self.0.push(98);
            self.0.extend_from_slice(&middle.to_be_bytes());
        } else {
            self.magnitude(n < 0, &n.unsigned_abs().to_le_bytes());
        }
        self
    }

    fn magnitude(&mut self, negative: bool, little_endian: &[u8]) {
        let used = little_endian
            .iter()
            .rposition(|b| *b != 0)
            .map_or(1, |at| at + 1);
        match u8::try_from(used) {
            Ok(length) => self.0.extend_from_slice(&[110, length]),
            Err(_) => {
                self.0.push(111);
                self.length(used);
            }
        }
        self.0.push(u8::from(negative));
        self.0.extend(little_endian.iter().take(used));
    }

    fn big(&mut self, digits: &str) {
        let (negative, digits) = digits
            .strip_prefix('-')
            .map_or((false, digits), |rest| (true, rest));
        /// As many digits as a limb has for sure.
        const AT_ONCE: usize = 18;
        let mut limbs: Vec<u64> = vec![0];
        for piece in digits.as_bytes().chunks(AT_ONCE) {
            let (mut factor, mut carry) = (1_u128, 0_u128);
            for digit in piece {
                factor *= 10;
                carry = carry * 10 + u128::from(digit.saturating_sub(b'0'));
            }
            for limb in &mut limbs {
                let value = u128::from(*limb) * factor + carry;
                *limb = (value & u128::from(u64::MAX)) as u64;
                carry = value >> 64;
            }
            if carry > 0 {
                limbs.push((carry & u128::from(u64::MAX)) as u64);
            }
        }
        let bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        self.magnitude(negative, &bytes);
    }

    pub(crate) fn json(&mut self, value: &Json) -> &mut Self {
        match value {
            Json::Null => {
                self.atom("null");
            }
            Json::Bool(true) => {
                self.atom("true");
            }
            Json::Bool(false) => {
                self.atom("false");
            }
            Json::Int(n) => {
                self.int(*n);
            }
            Json::Big(digits) => self.big(digits),
            Json::Float(x) => {
                self.0.push(70);
                self.0.extend_from_slice(&x.to_be_bytes());
            }
            Json::Str(s) => {
                self.binary(s.as_bytes());
            }
            Json::Arr(items) => self.array(items),
            Json::Obj(members) => {
                self.tuple(1);
                self.members(members);
            }
        }
        self
    }

    /// A property list, without the tuple around the members of an object.
    pub(crate) fn members(&mut self, members: &[(String, Json)]) -> &mut Self {
        if members.is_empty() {
            return self.nil();
        }
        self.list(members.len());
        for (key, value) in members {
            self.tuple(2);
            self.binary(key.as_bytes());
            self.json(value);
        }
        self.nil()
    }

    fn array(&mut self, items: &[Json]) {
        if items.is_empty() {
            self.nil();
            return;
        }
        // Erlang encodes a list of bytes as a string.
        let bytes: Option<Vec<u8>> = items
            .iter()
            .map(|item| item.as_i64().and_then(|n| u8::try_from(n).ok()))
            .collect();
        if let Some(bytes) = bytes
            && let Ok(length) = u16::try_from(bytes.len())
        {
            self.0.push(107);
            self.0.extend_from_slice(&length.to_be_bytes());
            self.0.extend_from_slice(&bytes);
            return;
        }
        self.list(items.len());
        for item in items {
            self.json(item);
        }
        self.nil();
    }
}

/// The input of the computation of a revision id.
pub(crate) struct Edit<'a> {
    pub(crate) deleted: bool,
    /// The position and the id of the parent revision.
    pub(crate) parent: Option<(u64, &'a str)>,
    /// The members of the document, without those that begin with `_`.
    pub(crate) body: &'a [(String, Json)],
    /// The name, content type and MD5 of each attachment, in the order of the document.
    pub(crate) attachments: Vec<(&'a str, &'a str, Cow<'a, [u8]>)>,
    /// Whether the edit is of a tombstone, which it does not name. CouchDB then knows only how many attachments there
    /// are.
    pub(crate) is_revival: bool,
}

/// The id of the revision of an edit, without the position.
pub(crate) fn revision_id(edit: &Edit<'_>) -> String {
    let mut term = Term::new();
    term.list(5)
        .atom(if edit.deleted { "true" } else { "false" });
    match edit.parent {
        None => {
            term.int(0).int(0);
        }
        Some((position, id)) => {
            term.int(i64::try_from(position).unwrap_or(i64::MAX));
            match hex::decode(id) {
                Ok(raw) if raw.len() == 16 => term.binary(&raw),
                _ => term.binary(id.as_bytes()),
            };
        }
    }
    term.tuple(1).members(edit.body);
    if edit.attachments.is_empty() {
        term.nil();
    } else {
        term.list(edit.attachments.len());
        for (name, content_type, digest) in edit.attachments.iter().rev() {
            term.tuple(3);
            if edit.is_revival {
                term.atom("undefined").atom("undefined").atom("undefined");
            } else {
                term.binary(name.as_bytes())
                    .binary(content_type.as_bytes())
                    .binary(digest);
            }
        }
        term.nil();
    }
    term.nil();
    hex::encode(Md5::digest(term.bytes()))
}

/// What stands for the revision `0-number` of a local document with these members: CouchDB's ETag of it, in quotes.
pub(crate) fn local_etag(number: i64, body: &[(String, Json)]) -> String {
    let mut term = Term::new();
    term.tuple(3)
        .int(0)
        .binary(number.to_string().as_bytes())
        .tuple(1)
        .members(body);
    etag(&term.bytes())
}

/// An ETag that stands for some bytes, in quotes and in CouchDB's form.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let mut hash = twox_hash::XxHash3_128::oneshot(bytes);
    let mut digits = Vec::new();
    while hash > 0 {
        // The remainder is less than 36.
        let digit = u32::try_from(hash % 36).unwrap_or_default();
        digits.extend(char::from_digit(digit, 36));
        hash /= 36;
    }
    let digits: String = digits.into_iter().rev().collect();
    format!("\"{}\"", digits.to_uppercase())
}

/// Puts texts in the order in which Erlang's module `sets` lists them, up to eighty.
pub(crate) fn order_as_set(texts: &mut [String]) {
    /// The number of places that a set has at first.
    const PLACES: u32 = 16;
    // Texts with the same place stay in their order.
    texts.sort_by_key(|text| phash(text.as_bytes()) % PLACES);
}

/// The hash of a binary that Erlang calls `phash`.
fn phash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0_u32, |hash, byte| {
        hash.wrapping_mul(268_440_163)
            .wrapping_add(u32::from(*byte))
    });
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hash.wrapping_mul(268_436_141).wrapping_add(length)
}

/// The order of Erlang's terms: numbers, then atoms (`false`, `null`, `true`), tuples (objects), lists, and binaries
/// (strings) by their bytes.
pub(crate) fn compare(a: &Json, b: &Json) -> Ordering {
    fn rank(value: &Json) -> u8 {
        match value {
            Json::Int(_) | Json::Big(_) | Json::Float(_) => 0,
            Json::Bool(false) => 1,
            Json::Null => 2,
            Json::Bool(true) => 3,
            Json::Obj(_) => 4,
            Json::Arr(_) => 5,
            Json::Str(_) => 6,
        }
    }
    match (a, b) {
        (Json::Str(a), Json::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Json::Arr(a), Json::Arr(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| compare(a, b));
            let first = differing.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Json::Obj(a), Json::Obj(b)) => {
            let differing = a.iter().zip(b).map(|((a_key, a), (b_key, b))| {
                a_key
                    .as_bytes()
                    .cmp(b_key.as_bytes())
                    .then_with(|| compare(a, b))
            });
            let first = differing.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ if rank(a) == 0 && rank(b) == 0 => numbers::compare(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// A value in the format of Erlang's `~w`, for error messages.
pub(crate) fn printed(value: &Json) -> String {
    let mut out = String::new();
    print(value, &mut out, &|s, out| {
        out.push_str("<<");
        for (n, byte) in s.bytes().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}{byte}", if n > 0 { "," } else { "" });
        }
        out.push_str(">>");
    });
    out
}

/// A value in the format of Erlang's `~p`, without its line breaks.
pub(crate) fn printed_readably(value: &Json) -> String {
    let mut out = String::new();
    print(value, &mut out, &|s, out| {
        out.push_str("<<");
        if !s.is_empty() {
            let _ = write!(out, "{s:?}");
        }
        out.push_str(">>");
    });
    out
}

/// Appends a value, with strings as `binary` appends them.
fn print(value: &Json, out: &mut String, binary: &dyn Fn(&str, &mut String)) {
    match value {
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Big(_) | Json::Float(_) => {
            value.write(out);
        }
        Json::Str(s) => binary(s, out),
        Json::Arr(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                print(item, out, binary);
            }
            out.push(']');
        }
        Json::Obj(members) => {
            out.push_str("{[");
            for (n, (key, value)) in members.iter().enumerate() {
                out.push_str(if n > 0 { ",{" } else { "{" });
                binary(key, out);
                out.push(',');
                print(value, out, binary);
                out.push('}');
            }
            out.push_str("]}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Edit, Term, local_etag, order_as_set, printed, revision_id};
    use crate::json::Json;

    fn first(body: &str) -> String {
        let Json::Obj(members) = Json::parse(body.as_bytes()).unwrap() else {
            unreachable!("test bodies are objects")
        };
        revision_id(&Edit {
            deleted: false,
            parent: None,
            body: &members,
            attachments: vec![],
            is_revival: false,
        })
    }

    #[test]
    fn revisions_equal_those_of_couchdb_3() {
        assert_eq!(first("{}"), "967a00dff5e02add41819138abb3284d");
        assert_eq!(first(r#"{"a":1}"#), "23202479633c2b380f79507a776743d5");
        assert_eq!(first(r#"{"a":7}"#), "c9823f8c56f541d5e31deddea0f5075b");
        assert_eq!(
            first(r#"{"type":"file","name":"x","size":10}"#),
            "fd754bb2588d2094cda8313751f663b9"
        );
    }

    #[test]
    fn large_integers_are_encoded_by_their_bytes() {
        let encoded = |text: &str| {
            let mut term = Term::new();
            term.json(&Json::parse(text.as_bytes()).unwrap());
            hex::encode(term.bytes())
        };
        assert_eq!(encoded("18446744073709551615"), "836e0800ffffffffffffffff");
        assert_eq!(
            encoded("18446744073709551616"),
            "836e0900000000000000000001"
        );
        assert_eq!(
            encoded("-340282366920938463463374607431768211457"),
            "836e11010100000000000000000000000000000001"
        );
    }

    #[test]
    fn etags_of_local_documents_equal_those_of_couchdb_3() {
        let Json::Obj(body) = Json::parse(br#"{"a":1}"#).unwrap() else {
            unreachable!("an object")
        };
        assert_eq!(local_etag(1, &body), "\"E2CJHHK88Y34QMT29KIZUBZMY\"");
    }

    #[test]
    fn sets_are_listed_as_erlang_does() {
        let mut letters: Vec<String> = ('a'..='z').map(String::from).collect();
        order_as_set(&mut letters);
        assert_eq!(letters.concat(), "kpeujzodtiyncshxmbrgwlaqfv");
    }

    #[test]
    fn terms_are_printed_as_in_couchdbs_error_messages() {
        let value = Json::parse(br#"{"a":["b",1,null]}"#).unwrap();
        assert_eq!(printed(&value), "{[{<<97>>,[<<98>>,1,null]}]}");
    }
}
