//! Model-based test: after random edits, deletions, replicated revisions, attachments and changes of users, every way of
//! reading must agree with a simple model of a database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod database;
mod document;
mod reading;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod users;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::{
    prelude::any,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use support::Embedded;

use crate::database::Model;

/// Each document has its number as key; the sum of the values tells which documents there are, and `files` has a row for
/// each attachment.
const BY_N: &str = "function (doc) { emit(doc.n === undefined ? null : doc.n, doc.n === undefined ? 1 : doc.n * doc.n); }";
const FILES: &str = "function (doc) { for (var name in doc._attachments || {}) { \
    emit([doc._attachments[name].content_type, name], doc._attachments[name].length); } }";

/// What only an administrator may write.
const FORBIDDEN: i64 = 4;
const VALIDATE: &str = "function (doc, old, who) { \
    if (doc.n === 4 && who.roles.indexOf('_admin') < 0) { throw({forbidden: 'not four'}); } }";

#[test]
fn the_server_agrees_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Embedded::start());
    let client = &server.client;
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let case = AtomicU64::new(0);
    TestRunner::new(config)
        .run(&(any::<bool>(), steps::steps()), |(validates, steps)| {
            runtime.block_on(async {
                let db = client.fresh("model").await;
                let index = json!({"index": {"fields": ["n"]}, "ddoc": "by-n"});
                client
                    .post(&format!("{db}/_index"), &index)
                    .await
                    .expect(200);
                let case = case.fetch_add(1, Ordering::Relaxed);
                let mut design = json!({"views": {
                    "by_n": {"map": BY_N, "reduce": "_sum"},
                    "files": {"map": FILES, "reduce": "_count"},
                }});
                if validates {
                    design["validate_doc_update"] = VALIDATE.into();
                }
                client
                    .put(&format!("{db}/_design/model"), &design)
                    .await
                    .expect(201);
                let mut model = Model::new(case, validates);
                for step in &steps {
                    model.apply(client, &db, step).await;
                }
                model.check(client, &db).await;
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(server.stop());
}

/// `PROPTEST_CASES`, or as many as take some seconds.
fn cases() -> u32 {
    let given = std::env::var("PROPTEST_CASES").ok();
    given.map_or(48, |cases| {
        cases.parse().expect("PROPTEST_CASES is a number")
    })
}
