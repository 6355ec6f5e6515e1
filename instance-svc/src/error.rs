//! The errors of the instance service, and the statuses that callers see.

use std::time::Duration;

use identity::grant;
use service_kit::{
    json_api,
    status::{ServiceError, StatusBuilder, is_transient, reasons, to_status},
};
use tonic::{Code, Status};

use crate::domain::{
    account::Account,
    bearer,
    holder::Holder,
    operation::OperationFailure,
    passphrase::{credentials::DeriveError, register::Refused},
    record::Refusal,
    sealed,
    spec::InvalidField,
};

/// An error of the instance service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request cannot be used.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// Several fields of the request cannot be used.
    #[error("{}", list(.0))]
    Fields(Vec<InvalidField>),
    /// A passphrase is too easy to guess.
    #[error(transparent)]
    WeakPassphrase(InvalidField),
    /// No instance has this name.
    #[error("no instance is called {0}; `hamlet instances ls` shows those that exist")]
    NoSuchInstance(String),
    /// An instance has this host, and another port.
    #[error("no instance is called {given}; write {own}, which has that host")]
    OtherPort {
        /// What was given.
        given: String,
        /// The instance's own name.
        own: String,
    },
    /// No operation has this name.
    #[error(
        "no operation is called {0}; operations are removed some time after their end, and `hamlet operations ls` shows those \
         that are there"
    )]
    NoSuchOperation(String),
    /// No context has the name.
    #[error("no context is called {0}; `hamlet contexts ls` shows those that exist")]
    NoSuchContext(String),
    /// The name is an alias where the main domain is needed.
    #[error("{alias} is an alias of {domain}; name the main domain")]
    Alias {
        /// What was given.
        alias: String,
        /// The main domain.
        domain: String,
    },
    /// A name belongs to an instance, or is being claimed.
    #[error("the name {name} is taken {by}")]
    NameTaken {
        /// The name.
        name: String,
        /// By what.
        by: Holder,
    },
    /// Another operation has the instance.
    #[error(
        "operations/{operation} is at work on {domain}; `hamlet operations wait {operation}` follows it to its end"
    )]
    Busy {
        /// The instance's domain.
        domain: String,
        /// The operation's id.
        operation: String,
    },
    /// The state of the instance does not allow it.
    #[error("{domain} {why}{}", way_out(domain, *.why))]
    Refused {
        /// The instance's domain.
        domain: String,
        /// Why not.
        why: Refusal,
    },
    /// The instance has accounts that would be left at other services.
    #[error(
        "{domain} has accounts that only their konnectors can delete at the other service: {}; let the original destroy \
         the instance (admin-backend), or go on without (`hamlet instances destroy {domain} --force`)",
        list(accounts)
    )]
    Accounts {
        /// The instance's domain.
        domain: String,
        /// The accounts.
        accounts: Vec<Account>,
    },
    /// The operation cannot be cancelled, or not any more.
    #[error("operations/{operation} cannot be cancelled: {why}")]
    NotCancellable {
        /// The operation's id.
        operation: String,
        /// Why not.
        why: &'static str,
    },
    /// The operation has ended already.
    #[error("operations/{0} has ended; there is nothing to try again")]
    OperationEnded(String),
    /// The operation has not ended yet, or is to be looked at once more.
    #[error("operations/{operation} cannot be forgotten: {why}")]
    NotForgettable {
        /// The operation's id.
        operation: String,
        /// Why not.
        why: &'static str,
    },
    /// The request id was used for something else.
    #[error("the request id was used with other arguments; make a new one")]
    RequestIdReused,
    /// The instance changed since it was read.
    #[error(
        "{0} has changed since it was read; `hamlet instances show {0}` tells its present etag"
    )]
    EtagMismatch(String),
    /// The instance has no register token.
    #[error(
        "{0} has no register link: its owner has chosen a passphrase already, or logs in without one; `hamlet \
         instances set-passphrase {0}` sets another one"
    )]
    NoRegisterToken(String),
    /// No CouchDB server of the configuration takes new instances.
    #[error(
        "no couch cluster takes new instances; set instance_creation = true for one of [[couch-clusters]]"
    )]
    NoOpenCluster,
    /// The time of the register token has passed.
    #[error(
        "the register link of {0} has expired; `hamlet instances register-link {0} --rotate` makes a new one"
    )]
    RegisterLinkExpired(String),
    /// A register token does not open an instance.
    #[error("{}", refusal_of(*.0))]
    RegisterToken(Refused),
    /// A token does not open what was asked for.
    #[error("{}", token_refusal_of(*.0))]
    Token(bearer::Refused),
    /// The owner has not chosen a passphrase yet.
    #[error(
        "the owner of {0} has not chosen a passphrase yet; `hamlet instances register-link {0}` prints the link for that"
    )]
    NotOnboarded(String),
    /// The passphrase is not that of the instance.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Somebody has tried too many passphrases.
    #[error("there were too many tries; wait {} s, then try again", wait.as_secs() + 1)]
    TooManyTries {
        /// How long to wait.
        wait: Duration,
    },
    /// An OAuth client gets no token.
    #[error(transparent)]
    Grant(#[from] grant::Refused),
    /// Too many OAuth clients have registered themselves within an hour.
    #[error(
        "too many programs were registered here in an hour; wait {} s, then try again",
        wait.as_secs() + 1
    )]
    TooManyClients {
        /// How long to wait.
        wait: Duration,
    },
    /// The instance asks for more than a passphrase.
    #[error(
        "{0} asks for a second factor, which cannot be checked here; `hamlet instances auth-mode {0} basic` asks for \
         the passphrase alone"
    )]
    SecondFactor(String),
    /// No mail reaches the owner.
    #[error(
        "no mail can be sent to the owner of {0}: the context has no mail server, or the owner no mail address; whoever \
         runs this installation can help"
    )]
    NoMail(String),
    /// Too many mails wait for the mail server.
    #[error("too many mails are waiting to be sent, so this one is not; try again in a moment")]
    MailBusy,
    /// A code from a mail is needed, too.
    #[error("a code that is sent by mail is needed, too; ask for one, and send it as well")]
    CodeNeeded,
    /// The code is not that of the mail.
    #[error("the code is wrong; take the one of the newest mail")]
    WrongCode,
    /// No code can be right any more.
    #[error("the code was used already, is too old, or was wrong too often; ask for another one")]
    DeadCode,
    /// A link by mail opens nothing.
    #[error("the link was used already, or is too old; ask for another one")]
    DeadLink,
    /// The token is that of an app without permissions, because it is not installed.
    #[error("no permission doc for {slug}")]
    NoPermissions {
        /// The app or konnector.
        slug: String,
    },
    /// The configuration forbids creating and destroying instances, and says why.
    #[error(
        "adding and destroying instances is disabled here: {0} (HAMLET_DISABLE_INSTANCES_ADD_RM is set)"
    )]
    Disabled(String),
    /// Instances of other software are not known yet, or one is not adopted yet.
    #[error(
        "instances that other software made are still being read; try again in a moment (`hamlet status` shows how \
         many are left)"
    )]
    NewcomersUnknown,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] couch::Error),
    /// Another service could not do its part.
    #[error("another service could not do its part: {}", .0.message())]
    Service(#[from] Status),
    /// The system has no randomness to give.
    #[error("the system has no randomness to give")]
    Randomness(#[from] getrandom::Error),
    /// An app is not installed.
    #[error(
        "no app or konnector {slug} is installed on {domain}; `hamlet apps ls {domain}` shows what is"
    )]
    NoSuchApp {
        /// What was asked for.
        slug: String,
        /// The instance's domain.
        domain: String,
    },
    /// There is no such OAuth client.
    #[error("{domain} has no OAuth client {id}; register it first")]
    NoSuchClient {
        /// What was asked for.
        id: String,
        /// The instance's domain.
        domain: String,
    },
    /// The instance has no key for tokens of that kind.
    #[error("{0} has no key that could sign such a token")]
    NoTokenKey(String),
    /// An operation that was waited for could not do what was asked.
    #[error("{}", .0.message)]
    Ended(OperationFailure),
    /// Too many passphrases are being hashed.
    #[error("too many passphrases are being hashed right now; try again in a moment")]
    Hashing,
    /// A passphrase could not be hashed.
    #[error("the passphrase could not be hashed")]
    Derive(#[from] DeriveError),
    /// The secret values that an operation carries cannot be read.
    #[error(transparent)]
    Sealed(#[from] sealed::Error),
    /// A document cannot be read or written as JSON.
    #[error("a document cannot be read or written as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<Vec<InvalidField>> for Error {
    fn from(mut fields: Vec<InvalidField>) -> Self {
        match (fields.pop(), fields.is_empty()) {
            (Some(only), true) => Self::Field(only),
            (last, _) => {
                fields.extend(last);
                Self::Fields(fields)
            }
        }
    }
}

impl Error {
    /// This refusal together with further invalid fields of the same request, so that all are told at once. Invalid
    /// fields come before every other reason.
    #[must_use]
    pub(crate) fn with_fields(self, more: Vec<InvalidField>) -> Self {
        if more.is_empty() {
            return self;
        }
        let mut fields = match self {
            Self::Field(field) | Self::WeakPassphrase(field) => vec![field],
            Self::Fields(fields) => fields,
            _ => Vec::new(),
        };
        fields.extend(more);
        fields.into()
    }
}

/// The command that helps when the state of an instance does not allow something.
fn way_out(domain: &str, why: Refusal) -> String {
    match why {
        Refusal::Locked => format!(": `hamlet instances modify {domain} --unlock`"),
        Refusal::Deleted => format!(": `hamlet instances undelete {domain}`"),
        Refusal::NotDeleted | Refusal::NotDue => String::new(),
    }
}

fn list(items: &[impl ToString]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join("; ")
}

impl ServiceError for Error {
    fn status(&self) -> StatusBuilder {
        let (code, reason) = match self {
            Self::Field(InvalidField { field, wrong }) => {
                return StatusBuilder::invalid_field(field, wrong.clone());
            }
            Self::WeakPassphrase(InvalidField { field, wrong }) => {
                return StatusBuilder::new(
                    Code::InvalidArgument,
                    reasons::PASSPHRASE_WEAK,
                    self.to_string(),
                )
                .field(field, wrong.clone());
            }
            Self::Fields(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|field| (field.field.as_str(), field.wrong.as_str()));
                return StatusBuilder::invalid_fields(fields);
            }
            Self::Database(error) => return database_kit::status(error),
            Self::Ended(failure) => (Code::from_i32(failure.code), failure.reason.as_str()),
            Self::NoSuchInstance(_) | Self::OtherPort { .. } => {
                (Code::NotFound, "INSTANCE_NOT_FOUND")
            }
            Self::NoSuchOperation(_) => (Code::NotFound, "OPERATION_NOT_FOUND"),
            Self::NoSuchContext(_) => (Code::NotFound, "CONTEXT_NOT_FOUND"),
            Self::Alias { .. } => (Code::InvalidArgument, "NAME_IS_ALIAS"),
            Self::NameTaken { .. } => (Code::AlreadyExists, "NAME_TAKEN"),
            Self::Busy { .. } => (Code::Aborted, "INSTANCE_BUSY"),
            Self::Refused { why, .. } => (Code::FailedPrecondition, reason_of(*why)),
            Self::Accounts { .. } => (Code::FailedPrecondition, reasons::ACCOUNTS_LEFT),
            Self::NotCancellable { .. } => (Code::FailedPrecondition, "NOT_CANCELLABLE"),
            Self::OperationEnded(_) => (Code::FailedPrecondition, "OPERATION_ENDED"),
            Self::NotForgettable { .. } => (Code::FailedPrecondition, "NOT_FORGETTABLE"),
            Self::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::EtagMismatch(_) => (Code::Aborted, "ETAG_MISMATCH"),
            Self::NoRegisterToken(_) => (Code::FailedPrecondition, "NO_REGISTER_TOKEN"),
            Self::NoOpenCluster => (Code::FailedPrecondition, "NO_OPEN_CLUSTER"),
            Self::RegisterLinkExpired(_) => (Code::FailedPrecondition, "REGISTER_LINK_EXPIRED"),
            Self::RegisterToken(why) => (Code::PermissionDenied, token_reason(*why)),
            Self::Token(why) => match why {
                bearer::Refused::Missing => (Code::Unauthenticated, reasons::TOKEN_MISSING),
                bearer::Refused::Wrong => (Code::Unauthenticated, reasons::TOKEN_WRONG),
                bearer::Refused::Expired => (Code::Unauthenticated, reasons::TOKEN_EXPIRED),
                bearer::Refused::Scope => (Code::PermissionDenied, reasons::TOKEN_SCOPE),
            },
            Self::NotOnboarded(_) => (Code::FailedPrecondition, "NOT_ONBOARDED"),
            Self::WrongPassphrase => (Code::PermissionDenied, "PASSPHRASE_WRONG"),
            Self::TooManyTries { .. } => (Code::ResourceExhausted, "TOO_MANY_TRIES"),
            Self::Grant(_) => (Code::InvalidArgument, "GRANT_REFUSED"),
            Self::TooManyClients { .. } => (Code::ResourceExhausted, "TOO_MANY_CLIENTS"),
            Self::SecondFactor(_) => (Code::Unimplemented, "NOT_BUILT_YET"),
            Self::NoMail(_) => (Code::FailedPrecondition, "NO_MAIL"),
            Self::MailBusy => (Code::Unavailable, "MAIL_BUSY"),
            Self::CodeNeeded => (Code::PermissionDenied, "CODE_NEEDED"),
            Self::WrongCode => (Code::PermissionDenied, "CODE_WRONG"),
            Self::DeadCode => (Code::PermissionDenied, "CODE_DEAD"),
            Self::DeadLink => (Code::PermissionDenied, "LINK_DEAD"),
            Self::NoPermissions { .. } => (Code::NotFound, "APP_NOT_INSTALLED"),
            Self::Disabled(_) => (Code::PermissionDenied, "DISABLED"),
            Self::Service(status) if is_transient(status) => {
                (Code::Unavailable, "SERVICE_UNAVAILABLE")
            }
            Self::Service(_) => (Code::Internal, "SERVICE_REFUSED"),
            Self::Randomness(_) => (Code::Internal, "NO_RANDOMNESS"),
            Self::NoSuchApp { .. } => (Code::NotFound, "APP_NOT_FOUND"),
            Self::NoSuchClient { .. } => (Code::NotFound, "OAUTH_CLIENT_NOT_FOUND"),
            Self::NoTokenKey(_) => (Code::FailedPrecondition, "NO_TOKEN_KEY"),
            Self::NewcomersUnknown => (Code::Unavailable, "INSTANCES_BEING_READ"),
            Self::Hashing => (Code::ResourceExhausted, "HASHING_BUSY"),
            Self::Derive(_) => (Code::Internal, "NOT_HASHED"),
            Self::Sealed(_) => (Code::Internal, "SEAL_UNREADABLE"),
            Self::Json(_) => (Code::Internal, "CORRUPT_DOCUMENT"),
        };
        let status = StatusBuilder::new(code, reason, self.to_string());
        match self {
            Self::TooManyTries { wait } | Self::TooManyClients { wait } => {
                status.retry_after(*wait)
            }
            Self::MailBusy => status.retry_after(Duration::from_secs(30)),
            Self::Busy { operation, .. } => {
                status.with("operation", format!("operations/{operation}"))
            }
            Self::NameTaken { name, by } => {
                let status = status.with("name", name.clone());
                match by {
                    Holder::Instance(domain) | Holder::Deleted { domain, .. } => {
                        status.with("domain", domain.clone())
                    }
                    Holder::Operation { operation, .. } => {
                        status.with("operation", format!("operations/{operation}"))
                    }
                    Holder::Claimed => status,
                }
            }
            Self::Accounts { accounts, .. } => status.with("accounts", list(accounts)),
            Self::Alias { .. } => status.field("name", "is an alias; name the main domain"),
            _ => status,
        }
    }
}

impl Error {
    /// The form in which an operation stores the error.
    #[must_use]
    pub fn to_failure(&self) -> OperationFailure {
        let status = self.status();
        OperationFailure {
            code: status.code() as i32,
            reason: status.reason().to_owned(),
            message: status.message().to_owned(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        to_status(&error)
    }
}

/// For the JSON API. Its routes name parameters too, see `api/json/parameters.rs`.
impl From<Error> for json_api::Error {
    fn from(error: Error) -> Self {
        Status::from(error).into()
    }
}

const fn token_reason(why: Refused) -> &'static str {
    match why {
        Refused::Wrong => reasons::REGISTER_TOKEN_WRONG,
        Refused::Used => reasons::REGISTER_TOKEN_USED,
        Refused::Expired => reasons::REGISTER_TOKEN_EXPIRED,
    }
}

const fn token_refusal_of(why: bearer::Refused) -> &'static str {
    match why {
        bearer::Refused::Missing => {
            "the request has no token; send Authorization: Bearer with one of this instance"
        }
        bearer::Refused::Wrong => "the token is not one of this instance; ask for another one",
        bearer::Refused::Expired => "the token has expired; ask for another one",
        bearer::Refused::Scope => "the token does not allow this; ask for one with another scope",
    }
}

const fn refusal_of(why: Refused) -> &'static str {
    match why {
        Refused::Wrong => "the register token is not the one of this instance",
        Refused::Used => "the passphrase is chosen already: a register token works once",
        Refused::Expired => "the register token has expired; ask for a new link",
    }
}

const fn reason_of(why: Refusal) -> &'static str {
    match why {
        Refusal::Locked => "INSTANCE_LOCKED",
        Refusal::Deleted => "INSTANCE_DELETED",
        Refusal::NotDeleted => "INSTANCE_NOT_DELETED",
        Refusal::NotDue => "PURGE_NOT_DUE",
    }
}
