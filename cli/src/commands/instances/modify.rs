//! `hamlet instances modify`.

use clap::{Args, Command};

use crate::{
    calls::update_instance,
    error::CommandError,
    fields::{
        help_order::sort_flags,
        instance::FieldFlags,
        patch::{Patch, set},
        unset,
    },
    flags::{global::GlobalFlags, target::Target},
    session::Session,
    values,
};

/// Change an instance. Only what is named changes.
///
/// A flag gives a value, --unset clears one.
#[derive(Args, Debug)]
#[command(
    defer(adapt_fields),
    visible_alias = "update",
    after_help = "Examples:\n  hamlet instances modify bob.localhost:8080 --locale fr --tz Europe/Paris\n  hamlet instances modify bob.localhost:8080 \\\n      --settings context:foo,offer:premium --unset phone,settings.partner\n  hamlet instances modify bob.localhost:8080 --blocked \\\n      --blocking-reason PAYMENT_FAILED\n  hamlet instances modify bob.localhost:8080 --lock"
)]
pub(crate) struct Modify {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    fields: FieldFlags,
    /// Refuse access, or give it again with --blocked=false.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          hide_possible_values = true)]
    blocked: Option<bool>,
    /// Why access is refused: LOGIN_FAILED, PAYMENT_FAILED, UNKNOWN or a reason of your own.
    #[arg(long, value_name = "REASON", value_parser = values::names::not_empty)]
    blocking_reason: Option<String>,
    /// Take away the flag with which other software began to destroy it: only --deleting=false.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "false",
          value_parser = only_false)]
    deleting: Option<bool>,
    /// Refuse to destroy it until it is unlocked.
    #[arg(long, conflicts_with = "unlock")]
    lock: bool,
    /// Let it be destroyed again.
    #[arg(long)]
    unlock: bool,
    /// Let the owner log in. There is no way back.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true",
          value_parser = only_true)]
    onboarding_finished: Option<bool>,
    /// What to clear, by the names of the flags, separated by commas: email, tz, disk-quota, domain-aliases, settings,
    /// settings.KEY, …
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = unset::parse)]
    unset: Vec<String>,
}

/// What differs in a change from [`FieldFlags`].
fn adapt_fields(command: Command) -> Command {
    let command = command
        .mut_arg("domain_aliases", |flag| {
            flag.help("All its other domains, separated by commas")
        })
        .mut_arg("magic_link", |flag| {
            flag.help("Let the owner log in by a link in a mail, or not")
        })
        .mut_arg("no_auto_update", |flag| {
            flag.help("Leave apps at their version instead of updating them, or not")
        })
        .mut_arg("settings", |flag| {
            flag.help(
                "Further settings, KEY:VALUE, several separated by commas; other settings stay as they are. As in the \
                 original, context, locale, uuid, oidc_id, tos, tos_latest, auto_update and auth_mode set the field of \
                 that name",
            )
        });
    sort_flags(command, &["etag", "dry-run", "request-id"], &["unset"])
}

impl Modify {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        if self.blocking_reason.is_some() && self.blocked == Some(false) {
            return Err(CommandError::Usage(
                "--blocked=false and --blocking-reason contradict each other: the reason ends with the block; give one"
                    .to_owned(),
            ));
        }
        let (target, Patch { instance, paths }) = self.into_patch()?;
        if paths.is_empty() {
            return Err(CommandError::Usage(
                "nothing is to change; give at least one flag, such as --locale fr or --unset email"
                    .to_owned(),
            ));
        }
        update_instance(&session, global.output, target, instance, paths).await
    }

    /// What changes of which instance: the values that were given, and the fields to clear.
    pub(crate) fn into_patch(self) -> Result<(Target, Patch), CommandError> {
        let mut patch = self.fields.into_patch()?;
        set!(patch.blocked = self.blocked);
        set!(patch.blocking_reason = self.blocking_reason);
        set!(patch.deleting = self.deleting);
        set!(patch.locked = (self.lock || self.unlock).then_some(self.lock));
        set!(patch.onboarding_finished = self.onboarding_finished);
        patch.sort_paths();
        for path in self.unset {
            check_overlap(&path, &patch.paths)?;
            patch.paths.push(path);
        }
        Ok((self.target, patch))
    }
}

/// Checks that a path to clear is neither set nor cleared already, as a whole or by a key.
fn check_overlap(cleared: &str, paths: &[String]) -> Result<(), CommandError> {
    let is_within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let Some(path) = paths
        .iter()
        .find(|path| is_within(path, cleared) || is_within(cleared, path))
    else {
        return Ok(());
    };
    let name = if cleared.contains('.') {
        cleared
    } else {
        unset::flag(cleared)
    };
    Err(CommandError::Usage(format!(
        "--{} and --unset {name} contradict each other; give one",
        unset::flag(path)
    )))
}

fn only_false(text: &str) -> Result<bool, String> {
    match text {
        "false" => Ok(false),
        _ => Err(
            "the flag can only be taken away: write --deleting=false. To destroy the instance use `hamlet instances \
             destroy`"
                .to_owned(),
        ),
    }
}

fn only_true(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        _ => Err("it can only be set: write --onboarding-finished".to_owned()),
    }
}
