//! The engine alone, with a toy kind. The engine knows no real one.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use couch::Clusters;
use futures::future::BoxFuture;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use test_kit::{database::Server, eventually};
use tokio_util::sync::CancellationToken;

use super::{
    Accepted, Afterwards, Detail, Engine, Kind, LookFuture, Looked, Settings, Step, StepError,
    StepFuture, Task,
    failpoints::{Failpoints, Order},
    nothing, register_kinds,
};
use crate::{
    clock::Clock,
    domain::operation::{Envelope, Operation, OperationFailure, Phase, Subject},
    error::Error,
    store::{OperationLog, Store},
};

/// A toy kind: it stacks blocks and takes them down again.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacking {
    /// What was done, in order.
    done: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct StackWork {
    /// The step that always fails for good; empty for none.
    stumbling_block: String,
    /// The height of the stack.
    #[serde(default)]
    height: u32,
}

impl Stacking {
    fn stack<'a>(
        &'a self,
        block: &'static str,
        task: Task<'a, StackWork>,
    ) -> StepFuture<'a, StackWork> {
        Box::pin(async move {
            if task.work.stumbling_block == block {
                return Err(StepError::Never(OperationFailure {
                    code: 9,
                    reason: "STUMBLED".to_owned(),
                    message: block.to_owned(),
                }));
            }
            self.note(task, block);
            Ok(Box::new(|work: &mut StackWork| work.height += 1) as _)
        })
    }

    fn unstack<'a>(
        &'a self,
        block: &'static str,
        task: Task<'a, StackWork>,
    ) -> StepFuture<'a, StackWork> {
        self.note(task, &format!("not {block}"));
        Box::pin(std::future::ready(Ok(nothing())))
    }

    fn note(&self, task: Task<'_, StackWork>, what: &str) {
        self.done
            .lock()
            .unwrap()
            .push(format!("{}: {what}", task.id));
    }
}

impl Kind for Stacking {
    type Work = StackWork;
    type All = ToyWork;

    const STEPS: &'static [Step<Self>] = &[
        Step::<Self>::new("one", |it, task| it.stack("one", task))
            .undone_by(|it, task| it.unstack("one", task)),
        Step::<Self>::new("two", |it, task| it.stack("two", task))
            .undone_by(|it, task| it.unstack("two", task)),
        Step::<Self>::new("three", |it, task| it.stack("three", task)).written_before(),
    ];

    const TAKES_A_TURN: bool = true;

    const NAMES: &'static [&'static str] = &["stack"];

    fn name(_: &StackWork) -> &'static str {
        "stack"
    }

    fn reversible_steps(_: &StackWork) -> usize {
        2
    }

    fn refuses_cancel(_: &StackWork, irreversible: bool) -> Option<&'static str> {
        irreversible.then_some("it is too high")
    }

    fn patience(&self, _: Task<'_, StackWork>) -> Option<Duration> {
        None
    }

    fn afterwards(task: Task<'_, StackWork>, _: Phase) -> Afterwards {
        if task.envelope.taken_over {
            Afterwards::LookAgain
        } else {
            Afterwards::Nothing
        }
    }

    fn tidy<'a>(&'a self, task: Task<'a, StackWork>) -> BoxFuture<'a, ()> {
        self.note(task, "tidied");
        Box::pin(std::future::ready(()))
    }

    fn look_again<'a>(&'a self, task: Task<'a, StackWork>) -> LookFuture<'a, StackWork> {
        self.note(task, "looked at");
        Box::pin(std::future::ready(Ok(Looked::Over(nothing()))))
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, StackWork>,
        _: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        let height = task.work.height;
        Box::pin(async move {
            Ok(Any {
                type_url: "toy".to_owned(),
                value: height.to_be_bytes().to_vec(),
            })
        })
    }
}

register_kinds! {
    /// The work of toys.
    pub(super) enum ToyWork;
    /// All toys.
    pub(super) struct Toys;
    /// Stacks blocks.
    Stack(stacking: Stacking) = "stack",
}

/// A database with engines on it.
struct Playground {
    log: OperationLog<ToyWork>,
    toys: Toys,
    _server: Server,
}

impl Playground {
    async fn new() -> Self {
        let server = Server::empty().await;
        let couch: Clusters = server.couch().into();
        Store::new(couch.clone()).unwrap().prepare().await.unwrap();
        Self {
            log: OperationLog::new(&couch).unwrap(),
            toys: Toys {
                stacking: Stacking::default(),
            },
            _server: server,
        }
    }

    /// Starts a replica that obeys `failpoints`.
    fn engine(&self, name: &str, failpoints: Failpoints) -> Engine<Toys> {
        let settings = Settings {
            lease: Duration::from_millis(600),
            scan_every: Duration::from_millis(50),
            look_again_after: Duration::from_millis(100),
            turns: 1,
            failpoints,
            ..Settings::new(name)
        };
        let stop = CancellationToken::new();
        let engine = Engine::new(self.log.clone(), self.toys.clone(), settings, stop);
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        engine
    }

    fn done(&self) -> Vec<String> {
        self.toys.stacking.done.lock().unwrap().clone()
    }

    /// Waits until the operation has ended, its follow-up is done, and it needs no further look.
    async fn end_of(&self, id: &str) -> Operation<ToyWork> {
        let tidied = format!("{id}: tidied");
        eventually(&format!("the end of {id}"), async || {
            let now = self.log.read(id).await.unwrap().unwrap().body;
            let is_over = now.phase.is_end() && !now.open && self.done().contains(&tidied);
            is_over.then_some(now)
        })
        .await
    }
}

fn stack(stumbling_block: &str) -> Operation<ToyWork> {
    let now = Clock::system().now();
    Operation {
        envelope: Envelope::new(Subject::default(), "mac".to_owned(), now),
        work: ToyWork::Stack(StackWork {
            stumbling_block: stumbling_block.to_owned(),
            height: 0,
        }),
    }
}

async fn accept(engine: &Engine<Toys>, id: &str, operation: Operation<ToyWork>) {
    let checked = std::future::ready(Ok(Vec::new()));
    let accepted = engine.accept(id.to_owned(), operation, checked).await;
    assert!(matches!(accepted, Ok(Accepted::Operation { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_done_in_order_and_their_results_are_stored() {
    let playground = Playground::new().await;
    let engine = playground.engine("a", Failpoints::default());
    accept(&engine, "x", stack("")).await;
    let ended = playground.end_of("x").await;
    assert_eq!(ended.phase, Phase::Succeeded);
    assert_eq!(
        playground.done(),
        ["x: one", "x: two", "x: three", "x: tidied"]
    );
    let response = engine.respond("x", &ended, Detail::Whole).await.unwrap();
    assert_eq!(response.value, 3_u32.to_be_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_undone_in_reverse_when_one_fails_for_good() {
    let playground = Playground::new().await;
    let engine = playground.engine("a", Failpoints::default());
    accept(&engine, "x", stack("two")).await;
    let ended = playground.end_of("x").await;
    assert_eq!(ended.phase, Phase::Failed);
    assert_eq!(ended.error.clone().unwrap().reason, "STUMBLED");
    assert_eq!(
        playground.done(),
        ["x: one", "x: not two", "x: not one", "x: tidied"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over_from_a_dead_one_and_looks_once_more() {
    let playground = Playground::new().await;
    let dying = Failpoints::new(|_, at| {
        if at.step.step == "two" {
            Order::Die
        } else {
            Order::Go
        }
    });
    let mortal = playground.engine("mortal", dying);
    accept(&mortal, "x", stack("")).await;
    let _heir = playground.engine("heir", Failpoints::default());
    let ended = playground.end_of("x").await;
    assert_eq!(ended.phase, Phase::Succeeded);
    assert!(ended.taken_over);
    let done = playground.done();
    // Both replicas may do the later look.
    let position = |what: &str| done.iter().position(|done| done == what).unwrap();
    assert!(position("x: three") < position("x: tidied"), "{done:?}");
    assert!(position("x: tidied") < position("x: looked at"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_wait_for_their_turn() {
    let playground = Playground::new().await;
    let slow = Failpoints::new(|_, _| {
        std::thread::sleep(Duration::from_millis(10));
        Order::Go
    });
    let engine = playground.engine("a", slow);
    accept(&engine, "x", stack("")).await;
    accept(&engine, "y", stack("")).await;
    playground.end_of("y").await;
    let done = playground.done();
    let end_of_x = done.iter().position(|done| done == "x: three").unwrap();
    let begin_of_y = done.iter().position(|done| done == "y: one").unwrap();
    assert!(end_of_x < begin_of_y, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_with_other_arguments_is_refused_and_refused_operations_are_removed() {
    let playground = Playground::new().await;
    let engine = playground.engine("a", Failpoints::default());
    accept(&engine, "x", stack("")).await;
    let mut other = stack("two");
    "another mac".clone_into(&mut other.arguments_mac);
    let checked = std::future::ready(Ok(Vec::new()));
    let reused = engine.accept("x".to_owned(), other, checked).await;
    assert!(matches!(reused, Ok(Accepted::Reused)));
    let refusal = std::future::ready(Err(Error::NoSuchInstance("a block".to_owned())));
    let refused = engine.accept("y".to_owned(), stack(""), refusal).await;
    assert!(matches!(refused, Err(Error::NoSuchInstance(_))));
    assert!(playground.log.read("y").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_an_unknown_kind_is_left_alone() {
    let playground = Playground::new().await;
    let engine = playground.engine("a", Failpoints::default());
    let unknown = serde_json::json!({
        "kind": "juggle", "instance": "", "domain": "", "prefix": "", "arguments_mac": "", "phase": "running",
        "step": 0, "open": true, "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": "2026-01-01T00:00:00.000000Z",
    });
    playground.log.write_raw("juggling", &unknown).await;
    accept(&engine, "x", stack("")).await;
    assert_eq!(playground.end_of("x").await.phase, Phase::Succeeded);
    assert_eq!(playground.log.open().await.unwrap().len(), 0);
    let kinds = ToyWork::kinds();
    assert_eq!(kinds.first().unwrap().steps, ["one", "two", "three"]);
}
