//! What apps may not come from: folders and addresses that the configuration does not allow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::os::unix::fs::symlink;

use apps_svc::SourceFlags;
use support::{World, fixtures};
use tonic::Code;

#[tokio::test]
async fn a_folder_outside_of_the_allowed_ones_is_refused_whether_it_exists_or_not() {
    let root = tempfile::tempdir().unwrap();
    symlink(fixtures(), root.path().join("link")).unwrap();
    let world = World::with_sources(SourceFlags {
        app_roots: vec![root.path().to_owned()],
        ..SourceFlags::default()
    })
    .await;
    let mut told = Vec::new();
    for folder in [
        "/etc",
        "/nowhere/at/all",
        &format!("{}/../../etc", root.path().display()),
        &format!("{}/link", root.path().display()),
        &format!("{}-other", root.path().display()),
    ] {
        let refused = world
            .install(&format!("file://{folder}"))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{folder}");
        told.push(refused.message().to_owned());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("source: is in none of the folders"),
        "{told:?}"
    );
    world.assert_untouched().await;
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_before_anything_is_sent() {
    let world = World::with_sources(SourceFlags::default()).await;
    let port = world
        .registry
        .file("")
        .rsplit_once(':')
        .unwrap()
        .1
        .to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let source = format!("http://{host}:{port}home.tar");
        let (reason, message) = world.refused(&source).await;
        assert_eq!(reason, "INVALID_FIELD", "{host}: {message}");
        assert!(
            message.contains("has no public address"),
            "{host}: {message}"
        );
    }
    assert_eq!(world.registry.asked().await, Vec::<String>::new());
    // The registry of the configuration may be anywhere, and so may its own archives.
    assert_eq!(world.install("home").await.unwrap().slug, "home");
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_address_before_it() {
    let world = World::with_sources(SourceFlags {
        app_networks: vec!["127.0.0.1/32".parse().unwrap()],
        ..SourceFlags::default()
    })
    .await;
    let source = world.registry.file("away/home.tar");
    let (reason, message) = world.refused(&source).await;
    assert_eq!(reason, "INVALID_FIELD", "{message}");
    assert!(
        message.contains("it redirects to an address that is not public"),
        "{message}"
    );
    assert_eq!(world.registry.asked().await, ["/away/home.tar"]);
}

#[tokio::test]
async fn a_long_source_is_repeated_in_part_only() {
    let world = World::with_sources(SourceFlags::default()).await;
    for source in [
        format!("file://host/{}", "é".repeat(3000)),
        format!("ftp://{}", "a".repeat(6000)),
        "x".repeat(6000),
    ] {
        let refused = world.install(&source).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(
            refused.message().len() < 1100,
            "{}",
            refused.message().len()
        );
    }
}
