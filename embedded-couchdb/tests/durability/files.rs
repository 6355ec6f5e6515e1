//! Attachments whose data follows from their name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use test_kit::dice::Rng;

pub(crate) const KIND: &str = "image/png";

pub(crate) fn name(writer: usize, n: u64) -> String {
    format!("{writer}-{n}")
}

/// From a few bytes to a few pages of the store; now and then many.
pub(crate) fn data(writer: usize, n: u64) -> Vec<u8> {
    let length = if n.is_multiple_of(32) {
        70_000
    } else {
        usize::try_from(n * 977 % 4000).unwrap()
    };
    let mut data = vec![0; length];
    Rng::with_seed(n << 8 | writer as u64).fill(&mut data);
    data
}

pub(crate) fn data_of(name: &str) -> Vec<u8> {
    let (writer, n) = name.split_once('-').unwrap();
    data(writer.parse().unwrap(), n.parse().unwrap())
}

pub(crate) fn inline(writer: usize, n: u64) -> Value {
    json!({"content_type": KIND, "data": STANDARD.encode(data(writer, n))})
}
