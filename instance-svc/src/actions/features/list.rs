//! Reading the flags that apply to an instance.

use service_kit::contexts::{Contexts, DEFAULT};

use crate::{
    domain::{features::Sources, instance::InstanceDocument},
    store::{FlagsOf, Store},
};

/// The name of a context: instances that name none have the default one.
pub(crate) const fn context_name(given: &str) -> &str {
    if given.is_empty() { DEFAULT } else { given }
}

/// Reads what the sources say for an instance.
///
/// # Errors
/// When the database fails.
pub(crate) async fn list(
    store: &Store,
    contexts: &Contexts,
    instance: &InstanceDocument,
) -> Result<Sources, couch::Error> {
    let name = context_name(&instance.context);
    let (context, defaults) = tokio::try_join!(
        store.flags(FlagsOf::Context(name)),
        store.flags(FlagsOf::Everyone)
    )?;
    Ok(Sources {
        instance: instance.feature_flags().cloned().unwrap_or_default(),
        configured: contexts.get(name).features,
        context: context.map(|it| it.body).unwrap_or_default(),
        defaults: defaults.map(|it| it.body).unwrap_or_default(),
    })
}
