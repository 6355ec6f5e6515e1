//! Every input that is kept for the fuzz targets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::{fs, path::Path};

use gateway::fuzzing;

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in fs::read_dir(corpus).unwrap() {
        let target = target.unwrap();
        let run: fn(&[u8]) = match target.file_name().to_str().unwrap() {
            "grpc_timeout" => fuzzing::grpc_timeout,
            "host" => fuzzing::host,
            "forwarded" => fuzzing::forwarded,
            "proxy_protocol" => fuzzing::proxy_protocol,
            other => panic!("{other} is no target"),
        };
        let mut inputs = 0;
        for input in fs::read_dir(target.path()).unwrap() {
            run(&fs::read(input.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{target:?} is empty");
    }
}
