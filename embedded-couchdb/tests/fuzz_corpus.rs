//! The corpus of each fuzz target holds what the target asserts, and so do random bytes. `.ci/fuzz` searches for more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

#[path = "../fuzz/reference.rs"]
mod reference;

use std::{
    collections::BTreeSet,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use embedded_couchdb::fuzzing;
use proptest::prelude::*;

type Target = fn(&[u8]);

/// The targets, each by its name.
const TARGETS: [(&str, Target); 5] = [
    ("json", reference::json),
    ("multipart", fuzzing::multipart),
    ("revision_tree", fuzzing::revision_tree),
    ("selector", fuzzing::selector),
    ("view_keys", fuzzing::view_keys),
];

/// The largest file of a corpus, in bytes.
const LARGEST: usize = 4096;

fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[test]
fn every_file_of_the_corpus_passes() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz.join("corpus")).unwrap(), expected);
    let programs = names(&fuzz.join("fuzz_targets")).unwrap();
    let programs = programs
        .iter()
        .map(|file| file.replace(".rs", ""))
        .collect();
    assert_eq!(expected, programs, "a target is not replayed here");
    for (target, run) in TARGETS {
        let corpus = fuzz.join("corpus").join(target);
        for name in names(&corpus).unwrap() {
            let bytes = fs::read(corpus.join(&name)).unwrap();
            assert!(bytes.len() <= LARGEST, "{target}/{name} is too large");
            let passed = catch_unwind(AssertUnwindSafe(|| run(&bytes)));
            assert!(passed.is_ok(), "{target}/{name}");
        }
    }
}

/// Bytes in which something of the formats may be.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{},:\"0-9eE.+a-f\\\\u \n-]{0,80}".prop_map(String::into_bytes),
        "multipart/related; boundary=b\n(--b|\r\n|\\{\"_attachments\":\\{\\}\\}|--|[a-z:]{1,3}){0,16}"
            .prop_map(String::into_bytes),
        "(\\{\"(a|b|\\$(and|or|not|gt|eq|in|exists))\":(1|\\[1\\]|null|\\{\\}|true)\\}\n?){1,6}"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_pass(bytes in bytes()) {
        for (_, run) in TARGETS {
            run(&bytes);
        }
    }
}
