//! What came of an operation: printed alike by the command that began it and by `operations wait`.

use hamlet_proto::{
    hamlet::instance::v1::{
        CleanSessionsResult, CreateInstanceResult, DeleteInstanceResult, Instance,
        OperationMetadata, PurgeOrphansResult, RegisterLink, RemovedCount,
    },
    unpack,
};

use super::{instances::show::describe, operations};
use crate::{
    args::Format,
    failure::{Failure, say},
    operation::Ended,
    output,
    table::facts,
    text::clean,
};

/// Prints what came of an operation.
///
/// # Errors
/// When not all came of it that was asked for.
pub(super) fn print(format: Format, ended: &Ended) -> Result<(), Failure> {
    let metadata: OperationMetadata = match &ended.operation.metadata {
        Some(metadata) => unpack(metadata)?.unwrap_or_default(),
        None => OperationMetadata::default(),
    };
    tell_durations(&metadata);
    let done = Done {
        kind: &metadata.kind,
        only_checked: false,
    };
    done.print(format, ended)
}

/// Prints what would come of a change of this kind.
///
/// # Errors
/// When it cannot be printed.
pub(super) fn print_checked(format: Format, kind: &str, ended: &Ended) -> Result<(), Failure> {
    let done = Done {
        kind,
        only_checked: true,
    };
    done.print(format, ended)
}

/// How long steps took, where a trace was asked for.
fn tell_durations(metadata: &OperationMetadata) {
    for step in &metadata.steps {
        if let Some(took) = &step.duration {
            let took = operations::milliseconds(took);
            say(&format!("  {}: {took} ms", clean(&step.name)));
        }
    }
}

/// What was done, or would be.
struct Done<'a> {
    kind: &'a str,
    only_checked: bool,
}

impl Done<'_> {
    fn print(&self, format: Format, ended: &Ended) -> Result<(), Failure> {
        let response = &ended.response;
        if let Some(result) = unpack::<CreateInstanceResult>(response)? {
            return self.created(format, &result);
        }
        if let Some(result) = unpack::<DeleteInstanceResult>(response)? {
            return self.destroyed(format, &result);
        }
        if let Some(instance) = unpack::<Instance>(response)? {
            return output::one(format, &instance, &instance.name, || {
                describe(self.verb("changed"), &instance)
            });
        }
        if let Some(link) = unpack::<RegisterLink>(response)? {
            return self.link(format, &link);
        }
        if let Some(result) = unpack::<CleanSessionsResult>(response)? {
            let name = format!("instances/{}", result.domain);
            return output::one(format, &result, &name, || {
                facts(&self.removed(
                    (self.verb("sessions ended"), &result.domain),
                    &result.removed,
                ))
            });
        }
        if let Some(result) = unpack::<PurgeOrphansResult>(response)? {
            return output::one(format, &result, &ended.operation.name, || {
                facts(&self.removed(("", ""), &result.removed))
            });
        }
        operations::show(format, &ended.operation)
    }

    /// What was done, in a word; `usual` for kinds that have none of their own.
    fn verb(&self, usual: &'static str) -> &'static str {
        match (self.kind, self.only_checked) {
            ("create", false) => "created",
            ("create", true) => "would be created",
            ("block", false) => "blocked",
            ("block", true) => "would be blocked",
            ("unblock", false) => "unblocked",
            ("unblock", true) => "would be unblocked",
            ("delete", false) => "deleted softly",
            ("delete", true) => "would be deleted softly",
            ("destroy", false) => "destroyed",
            ("destroy", true) => "would be destroyed",
            ("undelete", false) => "brought back",
            ("undelete", true) => "would be brought back",
            ("passphrase", false) => "passphrase set",
            ("passphrase", true) => "passphrase would be set",
            ("sessions", false) => "sessions ended",
            ("sessions", true) => "sessions would end",
            (_, true) => "would be changed",
            (_, false) => usual,
        }
    }

    fn created(&self, format: Format, result: &CreateInstanceResult) -> Result<(), Failure> {
        for warning in &result.warnings {
            say(&format!("warning: {}", clean(warning)));
        }
        for app in result.apps.iter().filter(|app| !app.error.is_empty()) {
            say(&format!(
                "warning: the app {} was not installed: {}",
                clean(&app.source),
                clean(&app.error)
            ));
        }
        let instance = result.instance.clone().unwrap_or_default();
        let installed = result.apps.iter().filter(|app| app.error.is_empty());
        let apps: Vec<String> = installed
            .map(|app| format!("{} {}", app.slug, app.version))
            .collect();
        let expires = instance.register_expire_time.as_ref();
        output::one(format, result, &instance.name, || {
            facts(&[
                (self.verb("created"), instance.domain.clone()),
                ("locale", instance.locale.clone()),
                ("prefix", instance.prefix.clone()),
                ("apps", apps.join(", ")),
                ("register token", result.register_token.clone()),
                ("register link", result.register_link.clone()),
                (
                    "link expires",
                    expires.map(ToString::to_string).unwrap_or_default(),
                ),
            ])
        })?;
        let failed = result.apps.len() - apps.len();
        if failed == 0 {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "{failed} of {} apps could not be installed; the instance is kept",
            result.apps.len()
        )))
    }

    fn destroyed(&self, format: Format, result: &DeleteInstanceResult) -> Result<(), Failure> {
        let name = format!("instances/{}", result.domain);
        output::one(format, result, &name, || {
            let Some(purge) = &result.purge_time else {
                let destroyed = (self.verb("destroyed"), result.domain.as_str());
                let mut known = self.removed(destroyed, &result.removed);
                if !self.only_checked && result.leftovers.is_empty() {
                    known.push(("last look", "nothing is left".to_owned()));
                }
                return facts(&known);
            };
            let (verb, when) = if self.only_checked {
                ("would be deleted softly", "would be destroyed on")
            } else {
                ("deleted softly", "is destroyed on")
            };
            facts(&[(verb, result.domain.clone()), (when, purge.to_string())])
        })?;
        if result.leftovers.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "something is left of {}: {}",
            result.domain,
            result.leftovers.join(", ")
        )))
    }

    fn link(&self, format: Format, link: &RegisterLink) -> Result<(), Failure> {
        if self.only_checked && link.link.is_empty() {
            return output::one(format, link, "", || {
                "the register link would be renewed\n".to_owned()
            });
        }
        print_link(format, link)
    }

    /// What was removed, by kind, below a line of its own about whose it was.
    fn removed(
        &self,
        (verb, whose): (&'static str, &str),
        removed: &[RemovedCount],
    ) -> Vec<(&'static str, String)> {
        let word = if self.only_checked {
            "would be removed"
        } else {
            "removed"
        };
        let mut known = vec![(verb, whose.to_owned())];
        for removed in removed.iter().filter(|removed| removed.count > 0) {
            known.push((word, counted(removed)));
        }
        if known.len() == 1 && !self.only_checked {
            known.push((word, "nothing".to_owned()));
        }
        known
    }
}

/// A number of things of one kind: `19 databases`, `1 claim`.
fn counted(removed: &RemovedCount) -> String {
    let kind = match removed.count {
        1 => removed.kind.strip_suffix('s').unwrap_or(&removed.kind),
        _ => &removed.kind,
    };
    format!("{} {kind}", removed.count)
}

/// Prints a register link alone, and beside the data until when it works.
///
/// # Errors
/// When it cannot be printed.
pub(super) fn print_link(format: Format, link: &RegisterLink) -> Result<(), Failure> {
    output::one(format, link, &link.link, || {
        format!("{}\n", clean(&link.link))
    })?;
    if let Some(expires) = link
        .expire_time
        .as_ref()
        .filter(|_| format == Format::Table)
    {
        say(&format!("it works until {expires}"));
    }
    Ok(())
}
