//! What happens to a request at each door.

mod admin;
mod public;

pub(crate) use self::{admin::AdminDoor, public::PublicDoor};
