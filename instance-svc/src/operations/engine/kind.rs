//! The interface between the engine and a kind of operation: a table of steps and some functions.
//!
//! A kind lies in a module of its own and implements [`Kind`]. `register_kinds!` combines several kinds into
//! what one engine drives: [`Kinds`](super::kinds::Kinds).

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use prost_types::Any;
use serde::{Serialize, de::DeserializeOwned};

use super::StepError;
use crate::{
    domain::{
        operation::{Envelope, Operation, Phase, StepFacts, Work},
        time::Time,
    },
    error::Error,
};

/// One operation as its kind sees it.
#[derive(Debug)]
pub struct Task<'a, W> {
    /// The operation's id.
    pub id: &'a str,
    /// The part that is the same for every kind.
    pub envelope: &'a Envelope,
    /// What the operation does, and its results so far.
    pub work: &'a W,
}

impl<W> Clone for Task<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Task<'_, W> {}

/// What a completed step wants written into the work.
pub type Report<W> = Box<dyn FnOnce(&mut W) + Send>;

/// A report that changes nothing.
#[must_use]
pub fn nothing<W>() -> Report<W> {
    Box::new(|_| {})
}

/// A step in progress.
pub type StepFuture<'a, W> = BoxFuture<'a, Result<Report<W>, StepError>>;

/// Does or undoes a step. It may be called any number of times, and by two owners at once.
pub(crate) type Perform<K> =
    for<'a> fn(&'a K, Task<'a, <K as Kind>::Work>) -> StepFuture<'a, <K as Kind>::Work>;

/// One row of a kind's table of steps.
#[derive(Debug)]
pub struct Step<K: Kind> {
    name: &'static str,
    perform: Perform<K>,
    undo: Option<Perform<K>>,
    is_written_before: fn(&K::Work) -> bool,
    only_looks: bool,
    is_abandoned_on_cancel: bool,
}

impl<K: Kind> Step<K> {
    /// A step without an undo, and without a write before it.
    #[must_use]
    pub const fn new(name: &'static str, perform: Perform<K>) -> Self {
        Self {
            name,
            perform,
            undo: None,
            is_written_before: |_| false,
            only_looks: false,
            is_abandoned_on_cancel: false,
        }
    }

    /// Adds the function that undoes the step.
    #[must_use]
    pub const fn undone_by(self, undo: Perform<K>) -> Self {
        Self {
            undo: Some(undo),
            ..self
        }
    }

    /// Has the operation written before this step.
    #[must_use]
    pub const fn written_before(self) -> Self {
        self.written_before_if(|_| true)
    }

    /// Has the operation written before this step if its work says so.
    #[must_use]
    pub const fn written_before_if(self, is_written_before: fn(&K::Work) -> bool) -> Self {
        Self {
            is_written_before,
            ..self
        }
    }

    /// Declares that the step changes nothing.
    #[must_use]
    pub const fn only_looks(self) -> Self {
        Self {
            only_looks: true,
            ..self
        }
    }

    /// Declares that the step may be abandoned when the operation is cancelled.
    #[must_use]
    pub const fn abandoned_on_cancel(self) -> Self {
        Self {
            is_abandoned_on_cancel: true,
            ..self
        }
    }

    /// Its name, as callers see it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the decisions on the envelope need to know.
    #[must_use]
    pub fn facts(&self, work: &K::Work) -> StepFacts {
        StepFacts {
            name: self.name,
            is_undone: self.undo.is_some(),
            is_written_before: (self.is_written_before)(work),
            only_looks: self.only_looks,
            is_abandoned_on_cancel: self.is_abandoned_on_cancel,
        }
    }

    /// Does or undoes the step.
    pub(super) fn call<'a>(
        &self,
        kind: &'a K,
        task: Task<'a, K::Work>,
        undo: bool,
    ) -> StepFuture<'a, K::Work> {
        let call = if undo { self.undo } else { Some(self.perform) };
        match call {
            Some(call) => call(kind, task),
            None => Box::pin(std::future::ready(Ok(nothing()))),
        }
    }
}

/// The position of a step in a table.
///
/// # Panics
/// When the table has no step of that name. Use it in constants, where the panic is an error of compilation.
#[must_use]
#[expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler alone, where a panic is an error of compilation"
)]
pub(crate) const fn position_of<K: Kind>(name: &str) -> usize {
    let mut position = 0;
    while position < K::STEPS.len() {
        let (found, wanted) = (K::STEPS[position].name.as_bytes(), name.as_bytes());
        let mut same = 0;
        while same < found.len() && same < wanted.len() && found[same] == wanted[same] {
            same += 1;
        }
        if same == found.len() && same == wanted.len() {
            return position;
        }
        position += 1;
    }
    panic!("no step of this kind has that name")
}

/// What is to be done after the end of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Nothing,
    /// Something may appear after the end, made by a second owner or brought back by a node of the database:
    /// [`Kind::look_again`].
    LookAgain,
    /// Work falls due at this time: [`Kind::fall_due`].
    FallsDue(Time),
}

/// What came of looking once more at an ended operation.
pub enum Looked<W> {
    /// There is nothing left to do. The report is written into the work.
    Over(Report<W>),
    /// It has to be looked at again, not before this time has passed.
    Again(Duration),
}

/// A later look at an ended operation.
pub type LookFuture<'a, W> = BoxFuture<'a, Result<Looked<W>, StepError>>;

/// What is to be done for an ended operation that has fallen due.
#[derive(Debug)]
pub enum Due<W> {
    /// It is looked at again later.
    Wait,
    /// There is nothing left to do for it.
    Close,
    /// This operation is accepted, unless it was accepted before.
    Begin {
        /// Its id.
        id: String,
        /// The operation.
        operation: Box<Operation<W>>,
    },
}

/// How much of an operation's outcome is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All of it. Documents may be read for it.
    Whole,
    /// Only what the operation itself holds, as lists show it.
    Listed,
}

/// What a kind has done in parallel with the write that accepts an operation, before the outcome of that write
/// is known.
pub trait Early<W>: Send {
    /// The operation is accepted: the head start counts, unless it took too long.
    fn keep(self: Box<Self>, envelope: &mut Envelope, work: &mut W);

    /// The operation is not driven by this process: undoes the head start.
    fn give_back(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A head start, if there is one.
pub type EarlyFuture<'a, W> = BoxFuture<'a, Option<Box<dyn Early<W>>>>;

/// A kind of operation.
pub trait Kind: Clone + fmt::Debug + Send + Sync + 'static {
    /// What an operation of this kind does, and its results.
    type Work: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The work of all kinds that are driven together with this one.
    type All: Work;

    /// The steps, in order.
    const STEPS: &'static [Step<Self>];

    /// Whether it waits for a turn. The number of turns is limited.
    const TAKES_A_TURN: bool = false;

    /// The names that [`Self::name`] gives.
    const NAMES: &'static [&'static str];

    /// Its name, as callers see it.
    fn name(work: &Self::Work) -> &'static str;

    /// How many of the first steps can be undone.
    fn reversible_steps(work: &Self::Work) -> usize;

    /// Why a running operation cannot be cancelled; `None` when it can.
    fn refuses_cancel(work: &Self::Work, irreversible: bool) -> Option<&'static str>;

    /// Whether to record how long each step took.
    fn is_traced(_work: &Self::Work) -> bool {
        false
    }

    /// How long it may keep failing before it is unwound; `None` for no limit.
    fn patience(&self, task: Task<'_, Self::Work>) -> Option<Duration>;

    /// Makes a head start in parallel with the write that accepts the operation.
    fn begin_early<'a>(&'a self, _task: Task<'a, Self::Work>) -> EarlyFuture<'a, Self::Work> {
        Box::pin(std::future::ready(None))
    }

    /// What is to be done after an end in this phase.
    fn afterwards(_task: Task<'_, Self::Work>, _end: Phase) -> Afterwards {
        Afterwards::Nothing
    }

    /// Cleans up after an end that is written and reported. Nobody waits for it, and it may be skipped: the
    /// next operation on the instance does the same.
    fn tidy<'a>(&'a self, _task: Task<'a, Self::Work>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Looks once more at an ended operation.
    ///
    /// # Errors
    /// When it has to be looked at again soon.
    fn look_again<'a>(&'a self, _task: Task<'a, Self::Work>) -> LookFuture<'a, Self::Work> {
        Box::pin(std::future::ready(Ok(Looked::Over(nothing()))))
    }

    /// What is to be done when an ended operation falls due.
    ///
    /// # Errors
    /// When it cannot be decided now. The engine asks again later.
    fn fall_due<'a>(
        &'a self,
        _task: Task<'a, Self::Work>,
        _now: Time,
    ) -> BoxFuture<'a, Result<Due<Self::All>, Error>> {
        Box::pin(std::future::ready(Ok(Due::Close)))
    }

    /// The response of an operation that succeeded.
    ///
    /// # Errors
    /// The response may need documents of the instance; reading them may fail.
    fn respond<'a>(
        &'a self,
        task: Task<'a, Self::Work>,
        detail: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>>;
}
