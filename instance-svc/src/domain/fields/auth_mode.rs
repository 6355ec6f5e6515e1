//! `auth_mode`: how the owner authenticates.

use hamlet_proto::hamlet::instance::v1 as pb;
use serde::{Deserialize, Serialize};

use super::{Documents, rule};
use crate::domain::spec::InvalidField;

/// How the owner authenticates. Documents hold a number.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(from = "i64", into = "i64")]
pub enum AuthMode {
    /// With a passphrase.
    #[default]
    Basic,
    /// With a passphrase and a code sent by mail.
    TwoFactorMail,
    /// With a passphrase and an OIDC provider.
    TwoFactorOidc,
    /// A number that other software wrote. It is kept, and shown as [`Self::Basic`].
    Unknown(i64),
}

impl AuthMode {
    /// Whether the passphrase alone does not open the instance. A provider is asked instead of the passphrase, if at all.
    #[must_use]
    pub const fn needs_code(self) -> bool {
        matches!(self, Self::TwoFactorMail | Self::Unknown(_))
    }

    /// Whether it is the default, which documents leave out.
    #[must_use]
    pub fn is_basic(&self) -> bool {
        *self == Self::Basic
    }
}

impl From<i64> for AuthMode {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Basic,
            1 => Self::TwoFactorMail,
            2 => Self::TwoFactorOidc,
            other => Self::Unknown(other),
        }
    }
}

impl From<AuthMode> for i64 {
    fn from(mode: AuthMode) -> Self {
        match mode {
            AuthMode::Basic => 0,
            AuthMode::TwoFactorMail => 1,
            AuthMode::TwoFactorOidc => 2,
            AuthMode::Unknown(number) => number,
        }
    }
}

pub(super) struct Rule;

impl rule::Rule for Rule {
    type Value = AuthMode;

    fn path(&self) -> &'static str {
        "auth_mode"
    }

    fn ask(&self, message: &pb::Instance) -> Result<AuthMode, InvalidField> {
        use pb::instance::AuthMode as Shown;
        match Shown::try_from(message.auth_mode) {
            Ok(Shown::Unspecified | Shown::Basic) => Ok(AuthMode::Basic),
            Ok(Shown::TwoFactorMail) => Ok(AuthMode::TwoFactorMail),
            Ok(Shown::TwoFactorOidc) => Ok(AuthMode::TwoFactorOidc),
            Err(_) => Err(rule::Rule::invalid(
                self,
                format!(
                    "{} is no mode; use BASIC, TWO_FACTOR_MAIL or TWO_FACTOR_OIDC",
                    message.auth_mode
                ),
            )),
        }
    }

    fn write(&self, mode: AuthMode, documents: &mut Documents) {
        documents.instance.auth_mode = mode;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        use pb::instance::AuthMode as Shown;
        message.set_auth_mode(match documents.instance.auth_mode {
            AuthMode::Basic | AuthMode::Unknown(_) => Shown::Basic,
            AuthMode::TwoFactorMail => Shown::TwoFactorMail,
            AuthMode::TwoFactorOidc => Shown::TwoFactorOidc,
        });
    }
}
