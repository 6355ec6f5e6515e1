//! Enums in words.

use hamlet_proto::hamlet::instance::v1::{
    Instance,
    instance::{AuthMode, State},
};

/// A state in one word.
pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Creating => "creating",
        State::Onboarding => "onboarding",
        State::Onboarded => "onboarded",
        State::Pending => "pending",
        State::Blocked => "blocked",
        State::Deleting => "deleting",
        State::Deleted => "deleted",
    }
}

/// Whether the owner has chosen a passphrase; empty for an instance that does not exist yet.
pub(crate) fn owner(instance: &Instance) -> &'static str {
    match instance.state() {
        State::Creating => "",
        _ if instance.onboarding_finished || instance.password_defined == Some(true) => "arrived",
        _ => "waiting",
    }
}

/// How the owner authenticates; by a passphrase unless the server says otherwise.
pub(crate) const fn auth_mode(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Unspecified | AuthMode::Basic => "basic",
        AuthMode::TwoFactorMail => "two_factor_mail",
        AuthMode::TwoFactorOidc => "two_factor_oidc",
    }
}
