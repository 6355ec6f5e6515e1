//! Answers that several tests give.

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{Instance, OperationMetadata, instance, operation_metadata::Phase},
    pack,
};
use prost::{Message, Name};
use serde_json::Value;
use test_kit::fake::{Script, WatchEnd};

use super::program::Server;

/// An instance, as lists show it.
pub(crate) fn instance(domain: &str) -> Instance {
    Instance {
        name: format!("instances/{domain}"),
        domain: domain.to_owned(),
        locale: "fr".to_owned(),
        prefix: "cozy00".to_owned(),
        state: instance::State::Onboarding.into(),
        indexes_version: 38,
        disk_quota_bytes: 10_000_000_000,
        etag: "etag-1".to_owned(),
        ..Instance::default()
    }
}

/// An operation of this kind at work on `bob.example`.
pub(crate) fn running(kind: &str) -> Operation {
    Operation {
        name: "operations/op-1".to_owned(),
        metadata: Some(pack(&OperationMetadata {
            kind: kind.to_owned(),
            domain: "bob.example".to_owned(),
            phase: Phase::Running.into(),
            ..OperationMetadata::default()
        })),
        ..Operation::default()
    }
}

/// The same at its end.
pub(crate) fn ended<M: Message + Name>(kind: &str, result: &M) -> Operation {
    Operation {
        done: true,
        result: Some(operation::Result::Response(pack(result))),
        ..running(kind)
    }
}

/// What a server answers that only checks.
pub(crate) fn checked<M: Message + Name>(result: &M) -> Operation {
    Operation {
        done: true,
        result: Some(operation::Result::Response(pack(result))),
        ..Operation::default()
    }
}

/// A server that knows `bob.example`, and on which any change of this kind ends so, any number of times.
pub(crate) fn changing<M: Message + Name>(kind: &str, result: &M) -> Server {
    Server::start(Script {
        accepted: running(kind),
        checked: Some(checked(result)),
        watches: (0..20)
            .map(|_| (vec![running(kind), ended(kind, result)], WatchEnd::Stop))
            .collect(),
        operations: vec![ended(kind, result)],
        instances: vec![instance("bob.example")],
        ..Script::default()
    })
}

/// One document a line.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
