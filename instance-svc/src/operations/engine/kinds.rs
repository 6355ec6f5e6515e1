//! Combines several kinds into one type that an engine can drive.
//!
//! `register_kinds!` generates an enum of their work and a struct of the kinds, each with one `match` that
//! binds an operation to its kind. All further calls go through [`Bound`].

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use prost_types::Any;

use super::kind::{
    Afterwards, Detail, Due, Early, EarlyFuture, Kind, LookFuture, Looked, Report, StepFuture,
    Task, nothing,
};
use crate::{
    domain::{
        operation::{Envelope, Operation, Phase, StepFacts, Work},
        time::Time,
    },
    error::Error,
};

/// The kinds that an engine drives. Implemented by `register_kinds!`.
pub trait Kinds: Clone + fmt::Debug + Send + Sync + 'static {
    /// The work of all of them.
    type Work: Work;

    /// Binds an operation to its kind.
    fn bind<'a>(
        &'a self,
        id: &'a str,
        operation: &'a Operation<Self::Work>,
    ) -> Box<dyn Bound<'a, Self::Work> + 'a>;
}

/// The work of all kinds, which may hold that of kind `W`.
pub trait Holds<W> {
    /// The work of kind `W`, if this is of that kind.
    fn held_mut(&mut self) -> Option<&mut W>;
}

/// An operation bound to its kind. Each method is that of [`Kind`] with the same name.
pub trait Bound<'a, A>: Send + Sync {
    /// Whether it waits for a turn.
    fn takes_a_turn(&self) -> bool;
    /// How long it may keep failing before it is unwound; `None` for no limit.
    fn patience(&self) -> Option<Duration>;
    /// Does the step at a position, or undoes it.
    fn perform(&self, position: usize, undo: bool) -> StepFuture<'a, A>;
    /// Makes a head start in parallel with the write that accepts the operation.
    fn begin_early(&self) -> EarlyFuture<'a, A>;
    /// What is to be done after an end in this phase.
    fn afterwards(&self, end: Phase) -> Afterwards;
    /// Cleans up after an end that is written and reported.
    fn tidy(&self) -> BoxFuture<'a, ()>;
    /// Looks once more at an ended operation.
    fn look_again(&self) -> LookFuture<'a, A>;
    /// What is to be done when an ended operation falls due.
    fn fall_due(&self, now: Time) -> BoxFuture<'a, Result<Due<A>, Error>>;
    /// The response of an operation that succeeded.
    fn respond(&self, detail: Detail) -> BoxFuture<'a, Result<Any, Error>>;
}

/// A task of one kind, bound to it.
#[derive(Debug)]
pub struct BoundTo<'a, K: Kind> {
    /// The kind.
    pub kind: &'a K,
    /// The task.
    pub task: Task<'a, K::Work>,
}

impl<'a, K> Bound<'a, K::All> for BoundTo<'a, K>
where
    K: Kind,
    K::All: Holds<K::Work>,
{
    fn takes_a_turn(&self) -> bool {
        K::TAKES_A_TURN
    }

    fn patience(&self) -> Option<Duration> {
        self.kind.patience(self.task)
    }

    fn perform(&self, position: usize, undo: bool) -> StepFuture<'a, K::All> {
        let Some(step) = K::STEPS.get(position) else {
            // The positions come from the same table, so there is always a step.
            return Box::pin(std::future::ready(Ok(nothing())));
        };
        let done = step.call(self.kind, self.task, undo);
        Box::pin(async move { Ok(lift_report(done.await?)) })
    }

    fn begin_early(&self) -> EarlyFuture<'a, K::All> {
        let begun = self.kind.begin_early(self.task);
        Box::pin(async move {
            let early = begun.await?;
            Some(Box::new(LiftedEarly(early)) as Box<dyn Early<K::All>>)
        })
    }

    fn afterwards(&self, end: Phase) -> Afterwards {
        K::afterwards(self.task, end)
    }

    fn tidy(&self) -> BoxFuture<'a, ()> {
        self.kind.tidy(self.task)
    }

    fn look_again(&self) -> LookFuture<'a, K::All> {
        let looked = self.kind.look_again(self.task);
        Box::pin(async move {
            Ok(match looked.await? {
                Looked::Over(report) => Looked::Over(lift_report(report)),
                Looked::Again(pause) => Looked::Again(pause),
            })
        })
    }

    fn fall_due(&self, now: Time) -> BoxFuture<'a, Result<Due<K::All>, Error>> {
        self.kind.fall_due(self.task, now)
    }

    fn respond(&self, detail: Detail) -> BoxFuture<'a, Result<Any, Error>> {
        self.kind.respond(self.task, detail)
    }
}

/// Converts a report on the work of one kind into one on the work of all kinds.
fn lift_report<A: Holds<W>, W: 'static>(report: Report<W>) -> Report<A> {
    Box::new(move |all| {
        if let Some(work) = all.held_mut() {
            report(work);
        }
    })
}

/// A head start of one kind as one of all kinds.
struct LiftedEarly<W>(Box<dyn Early<W>>);

impl<A: Holds<W>, W> Early<A> for LiftedEarly<W> {
    fn keep(self: Box<Self>, envelope: &mut Envelope, all: &mut A) {
        if let Some(work) = all.held_mut() {
            self.0.keep(envelope, work);
        }
    }

    fn give_back(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.0.give_back()
    }
}

/// The work of one kind, as the decisions on the envelope see it.
#[derive(Debug)]
pub struct Described<'a, K: Kind>(pub &'a K::Work);

/// [`Work`] without what the generated enum itself answers.
pub trait Describe {
    /// See [`Work::kind`].
    fn kind(&self) -> &'static str;
    /// See [`Work::step`].
    fn step(&self, position: usize) -> Option<StepFacts>;
    /// See [`Work::reversible_steps`].
    fn reversible_steps(&self) -> usize;
    /// See [`Work::refuses_cancel`].
    fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str>;
    /// See [`Work::is_traced`].
    fn is_traced(&self) -> bool;
}

impl<K: Kind> Describe for Described<'_, K> {
    fn kind(&self) -> &'static str {
        K::name(self.0)
    }

    fn step(&self, position: usize) -> Option<StepFacts> {
        K::STEPS.get(position).map(|step| step.facts(self.0))
    }

    fn reversible_steps(&self) -> usize {
        K::reversible_steps(self.0)
    }

    fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str> {
        K::refuses_cancel(self.0, irreversible)
    }

    fn is_traced(&self) -> bool {
        K::is_traced(self.0)
    }
}

/// A kind as described to what covers every kind.
#[derive(Clone, Debug)]
pub struct KindFacts {
    /// The stored name of the kind.
    pub name: &'static str,
    /// Its names in the contract.
    pub contract_names: &'static [&'static str],
    /// The names of its steps, in order.
    pub steps: Vec<&'static str>,
}

impl KindFacts {
    /// The facts of a kind.
    #[must_use]
    pub fn of<K: Kind>(name: &'static str) -> Self {
        Self {
            name,
            contract_names: K::NAMES,
            steps: K::STEPS.iter().map(super::kind::Step::name).collect(),
        }
    }
}

/// Generates an enum of the work of some kinds, and a struct of these kinds that an engine drives.
///
/// The string beside a kind is its stored name; it must never change.
macro_rules! register_kinds {
    (
        $(#[$work_doc:meta])* $work_vis:vis enum $Work:ident;
        $(#[$kinds_doc:meta])* $kinds_vis:vis struct $Kinds:ident;
        $( $(#[$doc:meta])* $Variant:ident($field:ident: $Kind:ty) = $name:literal, )+
    ) => {
        $(#[$work_doc])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(tag = "kind")]
        $work_vis enum $Work {
            $(
                $(#[$doc])*
                #[serde(rename = $name)]
                $Variant(<$Kind as $crate::operations::engine::Kind>::Work),
            )+
        }

        $(#[$kinds_doc])*
        #[derive(Clone, Debug)]
        $kinds_vis struct $Kinds {
            $( $(#[$doc])* $kinds_vis $field: $Kind, )+
        }

        impl $Work {
            /// Every kind that is registered.
            #[must_use]
            $work_vis fn kinds() -> Vec<$crate::operations::engine::KindFacts> {
                vec![ $( $crate::operations::engine::KindFacts::of::<$Kind>($name), )+ ]
            }

            fn describe(&self) -> Box<dyn $crate::operations::engine::Describe + '_> {
                match self {
                    $( Self::$Variant(work) => Box::new($crate::operations::engine::Described::<$Kind>(work)), )+
                }
            }
        }

        impl $crate::domain::operation::Work for $Work {
            fn registered_name(&self) -> &'static str {
                match self { $( Self::$Variant(_) => $name, )+ }
            }

            fn kind(&self) -> &'static str {
                self.describe().kind()
            }

            fn step(&self, position: usize) -> Option<$crate::domain::operation::StepFacts> {
                self.describe().step(position)
            }

            fn reversible_steps(&self) -> usize {
                self.describe().reversible_steps()
            }

            fn refuses_cancel(&self, irreversible: bool) -> Option<&'static str> {
                self.describe().refuses_cancel(irreversible)
            }

            fn is_traced(&self) -> bool {
                self.describe().is_traced()
            }
        }

        $(
            impl $crate::operations::engine::Holds<<$Kind as $crate::operations::engine::Kind>::Work> for $Work {
                fn held_mut(
                    &mut self,
                ) -> Option<&mut <$Kind as $crate::operations::engine::Kind>::Work> {
                    #[allow(irrefutable_let_patterns, reason = "there may be one kind alone")]
                    if let Self::$Variant(work) = self { Some(work) } else { None }
                }
            }
        )+

        impl $crate::operations::engine::Kinds for $Kinds {
            type Work = $Work;

            fn bind<'a>(
                &'a self,
                id: &'a str,
                operation: &'a $crate::domain::operation::Operation<$Work>,
            ) -> Box<dyn $crate::operations::engine::Bound<'a, $Work> + 'a> {
                let envelope = &operation.envelope;
                match &operation.work {
                    $( $Work::$Variant(work) => Box::new($crate::operations::engine::BoundTo {
                        kind: &self.$field,
                        task: $crate::operations::engine::Task { id, envelope, work },
                    }), )+
                }
            }
        }
    };
}

pub(crate) use register_kinds;
