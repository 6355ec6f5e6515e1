//! The values that flags gave to the fields of an instance.

use std::collections::HashMap;

use hamlet_proto::{fields::by_path, hamlet::instance::v1::Instance};

use crate::error::CommandError;

/// Values for some fields of an instance.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    /// The values; every other field is empty.
    pub(crate) instance: Instance,
    /// The paths of the fields that have a value, for the mask of an update.
    pub(crate) paths: Vec<String>,
}

impl Patch {
    /// Names the keys of a map that a flag gave, and no others: an update leaves other keys as they are.
    ///
    /// # Errors
    /// When a key is given twice.
    pub(crate) fn name_keys(
        &mut self,
        path: &str,
        pairs: Vec<(String, String)>,
    ) -> Result<HashMap<String, String>, CommandError> {
        let mut map = HashMap::new();
        for (key, value) in pairs {
            self.paths.push(format!("{path}.{key}"));
            if map.insert(key.clone(), value).is_some() {
                let flag = by_path(path).and_then(|field| field.flag);
                return Err(CommandError::Usage(format!(
                    "--{}: {key} is given twice; give it once",
                    flag.unwrap_or(path)
                )));
            }
        }
        Ok(map)
    }

    /// Sorts the paths: whole fields by name, then keys of maps.
    pub(crate) fn sort_paths(&mut self) {
        self.paths
            .sort_by_cached_key(|path| (path.contains('.'), path.clone()));
    }
}

/// `set!(patch.field = given)` sets a field of a [`Patch`] when `given` is `Some`, and names its path.
macro_rules! set {
    ($patch:ident.$field:ident = $given:expr) => {
        if let Some(value) = $given {
            $patch.instance.$field = value;
            $patch.paths.push(stringify!($field).to_owned());
        }
    };
}

/// `set_keys!(patch.field = pairs)` sets keys of a field that is a map, and names their paths.
macro_rules! set_keys {
    ($patch:ident.$field:ident = $pairs:expr) => {
        $patch.instance.$field = $patch.name_keys(stringify!($field), $pairs)?;
    };
}

pub(crate) use {set, set_keys};
