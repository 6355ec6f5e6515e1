//! The outcome of an operation: printed alike by the command that began it and by `operations wait`.

use hamlet_proto::{
    hamlet::instance::v1::{
        CleanSessionsResult, CreateInstanceResult, DeleteInstanceResult, Instance,
        OperationMetadata, PurgeOrphansResult, RegisterLink, RelayResult, RemovedCount, ResetLink,
    },
    unpack,
};

use super::operation;
use crate::{
    error::CommandError,
    fields::{
        changed::{Changed, describe_change},
        instance::describe_with,
    },
    flags::format::Format,
    follow::Succeeded,
    output::{self, say, table::facts, text::clean, time},
};

/// Prints the outcome of an operation.
///
/// # Errors
/// When an app was not installed, or something is left of a destroyed instance.
pub(crate) fn print(format: Format, succeeded: &Succeeded) -> Result<(), CommandError> {
    let metadata = operation::metadata(&succeeded.operation)?;
    say_durations(&metadata);
    let outcome = Outcome {
        kind: &metadata.kind,
        changed: Changed::of(&metadata),
        warnings: &metadata.warnings,
        only_checked: false,
    };
    outcome.print(format, succeeded)
}

/// Prints the outcome that a change of this kind would have.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_checked(
    format: Format,
    kind: &str,
    succeeded: &Succeeded,
) -> Result<(), CommandError> {
    let metadata = operation::metadata(&succeeded.operation)?;
    let outcome = Outcome {
        kind,
        changed: Changed::of(&metadata),
        warnings: &metadata.warnings,
        only_checked: true,
    };
    outcome.print(format, succeeded)
}

/// How long each step took, when the server was asked for a trace.
fn say_durations(metadata: &OperationMetadata) {
    for step in &metadata.steps {
        if let Some(took) = &step.duration {
            let took = operation::milliseconds(took);
            say(&format!("  {}: {took} ms", clean(&step.name)));
        }
    }
}

/// What was done, or would be done.
struct Outcome<'a> {
    /// The kind of the operation.
    kind: &'a str,
    /// The fields that a change sets or clears.
    changed: Changed<'a>,
    warnings: &'a [String],
    only_checked: bool,
}

impl Outcome<'_> {
    fn print(&self, format: Format, succeeded: &Succeeded) -> Result<(), CommandError> {
        let response = &succeeded.response;
        if let Some(result) = unpack::<CreateInstanceResult>(response)? {
            return self.created(format, &result);
        }
        if let Some(result) = unpack::<DeleteInstanceResult>(response)? {
            return self.destroyed(format, &result);
        }
        for warning in self.warnings {
            say(&format!("warning: {}", clean(warning)));
        }
        if let Some(instance) = unpack::<Instance>(response)? {
            // No field shows them.
            if self.kind == "tokens" {
                return output::one(format, &instance, &instance.name, || {
                    facts(&[(self.verb("tokens ended"), instance.domain.clone())])
                });
            }
            // A passphrase is no field; who has one shows in the state.
            let of_passphrase = ["password_defined".to_owned()];
            let changed = match self.kind {
                "passphrase" => Changed {
                    fields: &of_passphrase,
                    unchanged: &[],
                },
                _ => self.changed,
            };
            let verb = if changed.is_nothing() {
                self.verb_of_nothing()
            } else {
                self.verb("changed")
            };
            return output::one(format, &instance, &instance.name, || {
                describe_change(verb, &instance, changed)
            });
        }
        if let Some(link) = unpack::<RegisterLink>(response)? {
            return self.link(format, &link);
        }
        if let Some(link) = unpack::<ResetLink>(response)? {
            if self.only_checked && link.link.is_empty() {
                return output::one(format, &link, "", || {
                    "a link to choose a new passphrase would be made\n".to_owned()
                });
            }
            output::one(format, &link, &link.link, || {
                format!("{}\n", clean(&link.link))
            })?;
            if let Some(expires) = link.expire_time.as_ref().filter(|_| format.is_table()) {
                say(&format!("it works until {}", time::moment(Some(expires))));
            }
            return Ok(());
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
            return output::one(format, &result, &succeeded.operation.name, || {
                let mut known = self.removed(("", ""), &result.removed);
                if known.len() == 1 && self.only_checked {
                    known.push(("would be removed", "nothing".to_owned()));
                }
                facts(&known)
            });
        }
        if let Some(result) = unpack::<RelayResult>(response)? {
            let name = &succeeded.operation.name;
            return output::one(format, &result, name, || {
                let answered = match result.http_status {
                    0 => "nothing; look at the instance for what was done".to_owned(),
                    status => status.to_string(),
                };
                facts(&[
                    ("passed on to the admin backend", result.route.clone()),
                    ("answered", answered),
                ])
            });
        }
        operation::print(format, &succeeded.operation)
    }

    /// What was done, in a word or two; `usual` for kinds without words of their own.
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
            ("tokens", false) => "sessions and tokens ended",
            ("tokens", true) => "sessions and tokens would end",
            (_, true) => "would be changed",
            (_, false) => usual,
        }
    }

    /// What is said where the instance was already as the change wanted it.
    fn verb_of_nothing(&self) -> &'static str {
        match (self.kind, self.only_checked) {
            ("block", _) => "blocked already",
            ("unblock", _) => "was not blocked",
            (_, true) => "would not change",
            (_, false) => "unchanged",
        }
    }

    fn created(&self, format: Format, result: &CreateInstanceResult) -> Result<(), CommandError> {
        for warning in &result.warnings {
            say(&format!("warning: {}", clean(warning)));
        }
        for app in result.apps.iter().filter(|app| !app.error.is_empty()) {
            let verb = if self.only_checked {
                "cannot be"
            } else {
                "was not"
            };
            say(&format!(
                "warning: the app {} {verb} installed: {}",
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
            if self.only_checked {
                let apps = [("apps", apps.join(", "))];
                return describe_with(self.verb("created"), &instance, &apps);
            }
            facts(&[
                (self.verb("created"), instance.domain.clone()),
                ("locale", instance.locale.clone()),
                ("prefix", instance.prefix.clone()),
                ("apps", apps.join(", ")),
                ("register token", result.register_token.clone()),
                ("register link", result.register_link.clone()),
                ("link expires", time::moment(expires)),
            ])
        })?;
        let failed = result.apps.len() - apps.len();
        if failed == 0 {
            return Ok(());
        }
        let (verb, kept) = if self.only_checked {
            ("cannot be installed", "")
        } else {
            (
                "could not be installed",
                "; the instance is kept, and `hamlet apps install` puts them in later",
            )
        };
        Err(CommandError::Failed(format!(
            "{failed} of {} apps {verb}{kept}",
            result.apps.len()
        )))
    }

    fn destroyed(&self, format: Format, result: &DeleteInstanceResult) -> Result<(), CommandError> {
        let name = format!("instances/{}", result.domain);
        output::one(format, result, &name, || {
            let Some(purge) = &result.purge_time else {
                let destroyed = (self.verb("destroyed"), result.domain.as_str());
                let mut known = self.removed(destroyed, &result.removed);
                if !self.only_checked && result.leftovers.is_empty() {
                    known.push(("last look", "nothing is left".to_owned()));
                }
                if !result.abandoned_accounts.is_empty() {
                    let left = result.abandoned_accounts.join(", ");
                    known.push(("left elsewhere", left));
                }
                if let Some(when) = &result.last_look_time {
                    let found = match result.last_look_found.as_slice() {
                        [] => "nothing came back".to_owned(),
                        found => format!("removed again: {}", found.join(", ")),
                    };
                    let when = time::moment(Some(when));
                    known.push(("looked again", format!("{when}: {found}")));
                }
                return facts(&known);
            };
            let (verb, when) = if self.only_checked {
                ("would be deleted softly", "would be destroyed on")
            } else {
                ("deleted softly", "is destroyed on")
            };
            facts(&[
                (verb, result.domain.clone()),
                (when, time::moment(Some(purge))),
            ])
        })?;
        if result.leftovers.is_empty() {
            return Ok(());
        }
        Err(CommandError::Failed(format!(
            "something is left of {}: {}",
            result.domain,
            result.leftovers.join(", ")
        )))
    }

    fn link(&self, format: Format, link: &RegisterLink) -> Result<(), CommandError> {
        if self.only_checked && link.link.is_empty() {
            return output::one(format, link, "", || {
                "the register link would be renewed\n".to_owned()
            });
        }
        print_link(format, link)
    }

    /// The first line, then a line for each kind of thing that was removed.
    fn removed(
        &self,
        (verb, domain): (&'static str, &str),
        removed: &[RemovedCount],
    ) -> Vec<(&'static str, String)> {
        let word = if self.only_checked {
            "would be removed"
        } else {
            "removed"
        };
        let mut known = vec![(verb, domain.to_owned())];
        for removed in removed.iter().filter(|removed| removed.count > 0) {
            known.push((word, counted(removed)));
        }
        if known.len() == 1 && !self.only_checked {
            known.push((word, "nothing".to_owned()));
        }
        known
    }
}

/// A count with its noun: `19 databases`, `1 claim`.
fn counted(removed: &RemovedCount) -> String {
    let kind = match removed.count {
        1 => removed.kind.strip_suffix('s').unwrap_or(&removed.kind),
        _ => &removed.kind,
    };
    format!("{} {kind}", removed.count)
}

/// Prints a register link, and on standard error until when it works.
pub(crate) fn print_link(format: Format, link: &RegisterLink) -> Result<(), CommandError> {
    output::one(format, link, &link.link, || {
        format!("{}\n", clean(&link.link))
    })?;
    for warning in &link.warnings {
        say(&format!("warning: {}", clean(warning)));
    }
    if let Some(expires) = link.expire_time.as_ref().filter(|_| format.is_table()) {
        say(&format!("it works until {}", time::moment(Some(expires))));
    }
    Ok(())
}
