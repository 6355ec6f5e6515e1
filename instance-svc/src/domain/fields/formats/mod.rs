//! Formats of single values. Each check says what is wrong with a value and what would be valid; the caller
//! adds the name of the field.

pub mod app;
pub mod email;
pub mod id;
pub mod phone;
pub mod setting;
pub mod sponsorship;
pub mod text;
pub mod timezone;
