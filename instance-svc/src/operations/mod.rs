//! Operations: nothing half-made, nothing half-gone.
//!
//! - [`engine`] accepts, drives, takes over and shows operations; it knows no kind of them
//! - a kind is a room of its own: [`create`], [`destroy`], [`change`] and [`orphans`]
//! - [`taking`] lets one operation at a time work on an instance that exists
//!
//! Deciding is pure and lies in [`crate::domain::operation`].

pub mod change;
mod claims;
pub mod create;
pub mod destroy;
pub mod engine;
pub(crate) mod holdings;
pub mod orphans;
mod peers;
pub(crate) mod sealing;
pub(crate) mod taking;

pub use engine::{Settings, failpoints};
pub use peers::Peers;
pub use sealing::Sealing;

use engine::register_kinds;

register_kinds! {
    /// What an operation does, and what came of that so far.
    pub enum Work;
    /// The kinds of operations.
    pub struct Kinds;
    /// Makes an instance.
    Create(create: create::Creation) = "create",
    /// Destroys one.
    Destroy(destroy: destroy::Destruction) = "destroy",
    /// Changes one.
    Change(change: change::Changing) = "change",
    /// Removes what belongs to no instance.
    PurgeOrphans(orphans: orphans::OrphanRemoval) = "purge_orphans",
}

/// An operation of any kind.
pub type Operation = crate::domain::operation::Operation<Work>;

/// The engine that drives all kinds.
pub type Engine = engine::Engine<Kinds>;
