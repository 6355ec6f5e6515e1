//! The mails that owners get, and how many of each.

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailKind {
    /// A link to choose a new passphrase.
    Reset,
    /// The hint for the passphrase.
    Hint,
    /// A code with which a login goes on.
    Code,
    /// A code with which the passphrase is changed.
    PassphraseCode,
    /// A code that proves that the mail of the address is read.
    Confirmation,
    /// A link that logs in.
    MagicLink,
    /// Somebody has logged in from a new browser.
    NewLogin,
    /// The mail address was changed, or the second factor was turned off.
    Changed,
    /// The link to choose the first passphrase.
    Register,
}

impl MailKind {
    /// Its name in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Hint => "hint",
            Self::Code => "code",
            Self::PassphraseCode => "passphrase_code",
            Self::Confirmation => "confirmation",
            Self::MagicLink => "magic_link",
            Self::NewLogin => "new_login",
            Self::Changed => "changed",
            Self::Register => "register",
        }
    }

    /// The key of its texts.
    pub(crate) const fn texts(self) -> &'static str {
        match self {
            Self::Reset => "mail_reset",
            Self::Hint => "mail_hint",
            Self::Code => "mail_code",
            Self::PassphraseCode => "mail_passphrase_code",
            Self::Confirmation => "mail_confirm",
            Self::MagicLink => "mail_magic",
            Self::NewLogin => "mail_login",
            Self::Changed => "mail_changed",
            Self::Register => "mail_register",
        }
    }

    /// Whether a stranger causes it. Somebody who has shown a passphrase or has a session causes the others.
    pub(super) const fn is_for_strangers(self) -> bool {
        matches!(
            self,
            Self::Reset | Self::Hint | Self::MagicLink | Self::Register
        )
    }

    /// How many an instance gets in an hour.
    pub(crate) const fn an_hour(self) -> u32 {
        match self {
            // As many as in the original.
            Self::Hint | Self::Register => 2,
            Self::Reset | Self::Confirmation => 5,
            Self::Code
            | Self::PassphraseCode
            | Self::MagicLink
            | Self::NewLogin
            | Self::Changed => 10,
        }
    }

    /// How many of these the strangers of one network cause in an hour for an instance. Whoever wants to keep an owner from
    /// links that log in needs more than one network.
    pub(super) const fn of_a_network(self) -> u32 {
        match self {
            Self::MagicLink => 3,
            _ => self.an_hour(),
        }
    }
}
