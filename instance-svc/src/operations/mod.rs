//! Operations: all changes that touch more than one document. An operation is completed or undone, never left
//! in between.
//!
//! - [`engine`] accepts, drives, takes over and shows operations; it knows none of their kinds
//! - each kind has a module: [`create`], [`destroy`], [`change`], [`orphans`] and [`relay`]
//! - [`taking`] ensures that one operation at a time works on an existing instance
//!
//! The decisions are pure functions in [`crate::domain::operation`].

pub mod backend;
pub mod change;
pub(crate) mod claims;
pub mod create;
pub mod destroy;
pub mod engine;
pub(crate) mod holdings;
mod looks;
pub mod orphans;
mod peers;
pub mod relay;
pub(crate) mod sealing;
pub(crate) mod taking;

pub use engine::{Settings, failpoints};
pub use peers::Peers;
pub use sealing::Sealing;

use engine::register_kinds;

register_kinds! {
    /// What an operation does, and its results so far.
    pub enum Work;
    /// The kinds of operations.
    pub struct Kinds;
    /// Creates an instance.
    Create(create: create::Creation) = "create",
    /// Destroys an instance.
    Destroy(destroy: destroy::Destruction) = "destroy",
    /// Changes an instance.
    Change(change: change::Changing) = "change",
    /// Removes what belongs to no instance.
    PurgeOrphans(orphans: orphans::OrphanRemoval) = "purge_orphans",
    /// Holds an instance while the original is asked.
    Relay(relay: relay::Relay) = "relay",
}

/// An operation of any kind.
pub type Operation = crate::domain::operation::Operation<Work>;

/// The engine that drives all kinds.
pub type Engine = engine::Engine<Kinds>;
