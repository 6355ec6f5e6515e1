//! How an owner authenticates.

use clap::ValueEnum;
use hamlet_proto::hamlet::instance::v1::instance;

/// How an owner authenticates. The comments of the values are help texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthMode {
    /// A passphrase.
    #[value(name = "basic")]
    Basic,
    /// A passphrase and a code sent by mail.
    #[value(name = "two_factor_mail")]
    TwoFactorMail,
    /// An OIDC provider, at other software: Hamlet asks for the passphrase alone.
    #[value(name = "two_factor_oidc")]
    TwoFactorOidc,
}

impl From<AuthMode> for instance::AuthMode {
    fn from(mode: AuthMode) -> Self {
        match mode {
            AuthMode::Basic => Self::Basic,
            AuthMode::TwoFactorMail => Self::TwoFactorMail,
            AuthMode::TwoFactorOidc => Self::TwoFactorOidc,
        }
    }
}
