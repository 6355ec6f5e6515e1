//! The fields of an instance in the command line. What a field is, [`hamlet_proto::fields`] says; tests fail when the
//! flags and rows here do not fit to it.
//!
//! - [`instance`]: the flags that set fields, and how `instances show` prints them. A new field is added here.
//! - [`changed`]: how the outcome of a change is printed
//! - [`patch`]: the values that flags gave, and the mask of an update
//! - [`columns`]: what `--fields` takes, and the values it prints
//! - [`unset`]: what `--unset` takes
//! - [`help_order`]: the order of flags in help
//! - [`words`]: enums in words

pub(crate) mod changed;
pub(crate) mod columns;
pub(crate) mod help_order;
pub(crate) mod instance;
pub(crate) mod patch;
pub(crate) mod unset;
pub(crate) mod words;
