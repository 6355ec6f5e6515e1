//! Tests `hamlet-setup` as a one-shot container runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{PASSWORD, nodes::Nodes, run, single_node};

#[test]
fn secrets_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster-key");
    let first = run(["secrets", file.to_str().unwrap()]);
    assert_eq!(first.code, 0, "{first:?}");
    let secret = fs::read_to_string(&file).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let second = run(["secrets", file.to_str().unwrap()]);
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
    assert!(second.out.contains("kept"), "{second:?}");
    assert!(!format!("{first:?}{second:?}").contains(secret.trim()));
}

#[test]
fn a_secret_that_cannot_be_created_is_reported_in_one_line() {
    let told = run(["secrets", "/proc/nowhere/key"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.err.lines().count(), 1, "{told:?}");
    assert!(told.err.contains("/proc/nowhere/key"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_that_is_set_up_is_left_unchanged() {
    let node = single_node().await;
    let told = node.set_up([node.url.as_str()]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("set up already"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_in_one_line_and_not_printed() {
    let node = single_node().await;
    fs::write(&node.password_file, "something-else").unwrap();
    let told = node.set_up([node.url.as_str()]).await;
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.err.lines().count(), 1, "{told:?}");
    assert!(told.err.contains(&node.url), "{told:?}");
    assert!(told.err.contains("refuses the credentials"), "{told:?}");
    assert!(!format!("{told:?}").contains("something-else"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_password_file_is_named() {
    let node = single_node().await;
    fs::remove_file(&node.password_file).unwrap();
    let told = node.set_up([node.url.as_str()]).await;
    assert_eq!(told.code, 1, "{told:?}");
    let file = node.password_file.to_str().unwrap();
    assert!(told.err.contains(file), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_single_node_is_set_up_once() {
    let nodes = Nodes::new(1).await;
    let told = nodes.set_up().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("as a single node"), "{told:?}");
    let told = nodes.set_up().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(nodes.actions(), ["enable_single_node"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_new_nodes_become_a_cluster_once() {
    let nodes = Nodes::new(3).await;
    let told = nodes.set_up().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("3 nodes: a cluster now"), "{told:?}");
    assert!(!format!("{told:?}").contains(PASSWORD));
    let told = nodes.set_up().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("3 nodes: a cluster already"), "{told:?}");
    assert_eq!(nodes.actions(), ["add_node", "add_node", "finish_cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_cluster_setup_is_completed() {
    let nodes = Nodes::new(3).await;
    nodes.join(1);
    let told = nodes.set_up().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(nodes.actions(), ["add_node", "finish_cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_find_each_other_are_named() {
    let nodes = Nodes::new(3).await;
    nodes.cut_off(2);
    let told = nodes.set_up().await;
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.err.lines().count(), 1, "{told:?}");
    assert!(
        told.err.contains("does not see couchdb@127.0.0.3"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_given_to_every_node_and_to_the_file() {
    let nodes = Nodes::new(3).await;
    let told = nodes.renew_password().await;
    assert_eq!(told.code, 0, "{told:?}");
    let new = fs::read_to_string(&nodes.password_file).unwrap();
    assert_eq!(
        new.lines().count(),
        1,
        "the old password is not accepted any more"
    );
    let new = new.trim();
    assert_ne!(new, PASSWORD);
    assert_eq!(nodes.passwords(), [new, new, new]);
    assert!(!format!("{told:?}").contains(new));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_renewal_continues_with_its_password() {
    let nodes = Nodes::new(2).await;
    fs::write(&nodes.password_file, format!("the-new-one\n{PASSWORD}\n")).unwrap();
    let told = nodes.renew_password().await;
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(nodes.passwords(), ["the-new-one", "the-new-one"]);
    assert_eq!(
        fs::read_to_string(&nodes.password_file).unwrap(),
        "the-new-one\n"
    );
}
