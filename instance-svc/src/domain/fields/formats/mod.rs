//! What the values of single fields look like. Each check says what is wrong with a value, and what would
//! be right; naming the field is its caller's business.

pub mod email;
pub mod id;
pub mod phone;
pub mod setting;
pub mod sponsorship;
pub mod text;
pub mod timezone;
