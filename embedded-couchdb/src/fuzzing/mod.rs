//! What the fuzz targets in `fuzz/` and the replay of their corpus call.
//!
//! Each function takes any bytes and asserts properties of a part that reads input from outside. It panics when one does
//! not hold. No part of the server calls these functions.

mod json;
mod multipart;
mod revision_tree;
mod selector;
mod view_keys;

pub use self::{
    json::json, multipart::multipart, revision_tree::revision_tree, selector::selector,
    view_keys::view_keys,
};

use crate::json::Json;

/// The lines that are JSON, at most `most`.
fn json_lines(bytes: &[u8], most: usize) -> impl Iterator<Item = Json> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| Json::parse(line).ok())
        .take(most)
}
