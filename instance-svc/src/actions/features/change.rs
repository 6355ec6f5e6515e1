//! Changing the flags of a context or of all instances. One document is replaced, so a change is made whole or not at
//! all; of changes at the same moment, each is made after the other.

use couch::Exchange;

use crate::{
    domain::{
        features::{self, Flags, Share},
        spec::InvalidField,
    },
    error::Error,
    store::{FlagsOf, Store},
};

/// A change of flags.
#[derive(Debug, Default)]
pub(crate) struct FlagsChange {
    /// The flags to set. Those of a context are lists of [`Share`].
    pub(crate) set: Flags,
    /// The names of flags to remove.
    pub(crate) removed: Vec<String>,
}

impl FlagsChange {
    fn check(&self) -> Result<(), Vec<InvalidField>> {
        let set = self.set.keys().map(|name| ("flags", name));
        let removed = self.removed.iter().map(|name| ("removed", name));
        let wrong: Vec<InvalidField> = set
            .chain(removed)
            .filter_map(|(field, name)| {
                let wrong = features::check_name(name).err()?;
                let field = field.to_owned();
                Some(InvalidField { field, wrong })
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// The shares of a flag as they are stored.
///
/// # Errors
/// Names the flag, and says what is wrong with its shares.
pub(crate) fn stored_shares(name: &str, shares: &[Share]) -> Result<serde_json::Value, Error> {
    features::check_shares(shares).map_err(|wrong| InvalidField {
        field: format!("flags.{name}"),
        wrong,
    })?;
    Ok(serde_json::to_value(shares)?)
}

/// Makes the change. Returns the flags after it.
///
/// # Errors
/// A name that is none, too many flags; the database fails.
pub(crate) async fn change(
    store: &Store,
    of: FlagsOf<'_>,
    change: FlagsChange,
    validate_only: bool,
) -> Result<Flags, Error> {
    change.check()?;
    loop {
        let (flags, rev) = store
            .flags(of)
            .await?
            .map(|found| (found.body, found.rev))
            .unzip();
        let flags = flags.unwrap_or_default();
        let changed = features::change(&flags, change.set.clone(), &change.removed);
        if changed.len() > features::MOST {
            return Err(InvalidField {
                field: "flags".to_owned(),
                wrong: format!("would be more than {} flags; remove others", features::MOST),
            }
            .into());
        }
        if validate_only || changed == flags {
            return Ok(changed);
        }
        match store.write_flags(of, rev.as_ref(), &changed).await? {
            Exchange::Won(_) => return Ok(changed),
            Exchange::Lost => {}
        }
    }
}
