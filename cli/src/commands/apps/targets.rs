//! The instances whose apps a command changes: one, or all.

use std::ops::ControlFlow;

use hamlet_proto::hamlet::{
    apps::v1::{App, app},
    instance::v1::instance::State,
};

use crate::{
    calls,
    error::CommandError,
    output::{ListPrinter, say, text::clean},
    session::Session,
};

/// The domains of all instances.
pub(in crate::commands) async fn all_domains(
    session: &Session,
) -> Result<Vec<String>, CommandError> {
    let mut domains = Vec::new();
    calls::each_page(session, false, |instances| {
        // One that is being created or destroyed cannot be changed.
        let settled = instances
            .into_iter()
            .filter(|instance| !matches!(instance.state(), State::Creating | State::Deleting));
        domains.extend(settled.map(|instance| instance.domain));
        ControlFlow::Continue(())
    })
    .await?;
    Ok(domains)
}

/// Waits for a change of an app of an instance. When Ctrl-C ends that, or the server is lost, it says how to find out what
/// became of the change.
///
/// # Errors
/// Those of the change; [`CommandError::Interrupted`] after Ctrl-C.
pub(super) async fn watched<T>(
    domain: &str,
    kind: app::Kind,
    is_dry_run: bool,
    change: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let outcome = tokio::select! {
        biased;
        outcome = change => outcome,
        signal = tokio::signal::ctrl_c() => {
            signal.map_err(CommandError::Signal)?;
            Err(CommandError::Interrupted("stopped".to_owned()))
        }
    };
    if is_dry_run {
        return outcome;
    }
    let group = if kind == app::Kind::Konnector {
        "konnectors"
    } else {
        "apps"
    };
    let hint = format!(
        "it may be at work all the same: look with `hamlet {group} ls {domain}`, or give the same command again"
    );
    outcome.map_err(|error| match error {
        CommandError::Interrupted(why) => CommandError::Interrupted(format!("{why}; {hint}")),
        CommandError::Unavailable(why) => CommandError::Unavailable(format!("{why}; {hint}")),
        other => other,
    })
}

/// What is said of an app after a call that changes it.
pub(crate) struct Words {
    /// Where it would be changed.
    pub(crate) would: &'static str,
    /// Where it was changed.
    pub(crate) done: &'static str,
    /// Where nothing was to change.
    pub(crate) unchanged: &'static str,
    /// Whether nothing is changed at all.
    pub(crate) is_dry_run: bool,
    /// The kind of the app.
    pub(crate) kind: app::Kind,
}

impl Words {
    fn of(&self, app: &App) -> String {
        if !app.available_version.is_empty() {
            return format!("{} waits for the owner", app.available_version);
        }
        let words = match app.unchanged {
            Some(true) => self.unchanged,
            _ if self.is_dry_run => self.would,
            Some(false) => self.done,
            // A server of another version does not say it.
            None => return app.state.clone(),
        };
        words.to_owned()
    }
}

/// Changes the apps of instances one after the other, and prints a line for each. `change` returns `None` where there is
/// nothing to change, since the instance does not have the app. When it fails for one instance, it goes
/// on with the next.
///
/// # Errors
/// When it failed for any of them, with its own error if there is only one; when there was nothing to change in all.
pub(crate) async fn change_each(
    domains: &[String],
    list: &mut ListPrinter,
    words: &Words,
    change: impl AsyncFn(&str) -> Result<Option<App>, CommandError>,
) -> Result<(), CommandError> {
    let (mut failed, mut changed) = (0, 0);
    for domain in domains {
        match watched(domain, words.kind, words.is_dry_run, change(domain)).await {
            Ok(None) => {}
            Ok(Some(app)) => {
                changed += 1;
                let name = format!("{domain}/apps/{}", app.slug);
                list.push_with("domain", domain, &app, &name, || {
                    vec![
                        domain.clone(),
                        app.slug.clone(),
                        app.version.clone(),
                        words.of(&app),
                    ]
                })?;
                list.flush()?;
            }
            Err(error @ CommandError::Interrupted(_)) => return Err(error),
            Err(error) if domains.len() == 1 => return Err(error),
            Err(error) => {
                failed += 1;
                say(&format!("{}: {}", clean(domain), clean(&error.to_string())));
            }
        }
    }
    match failed {
        0 if domains.is_empty() => Err(CommandError::NotFound(
            "there are no instances; nothing was changed".to_owned(),
        )),
        0 if changed == 0 => Err(CommandError::NotFound(
            "no instance has it; nothing was changed".to_owned(),
        )),
        0 => Ok(()),
        _ => Err(CommandError::Failed(format!(
            "it failed for {failed} of {} instances",
            domains.len()
        ))),
    }
}

/// The columns of [`change_each`].
pub(crate) const COLUMNS: [&str; 4] = ["domain", "slug", "version", "state"];
