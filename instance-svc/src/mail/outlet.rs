//! One mail server, and handing mails over to it.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Tls, TlsParameters},
        extension::ClientId,
    },
};
use service_kit::{
    contexts::Operator,
    mail::{MailSecurity, MailSettings},
    secret::Secret,
};
use tokio::sync::Semaphore;

use super::{
    MailError,
    letter::{Letter, Sender},
};

/// How many mails are handed over to a server at once.
const AT_ONCE: usize = 4;
/// How many of them strangers cause: a server that is slow with those still gets the codes of owners.
const AT_ONCE_OF_STRANGERS: usize = 2;
/// How long the server may take to answer a command.
const COMMAND: Duration = Duration::from_secs(20);
/// How long handing a mail over may take in all.
const HANDING_OVER: Duration = Duration::from_secs(90);
/// The pauses after tries that failed. After the last of them there is one more try. Together they are shorter than what
/// a mail brings is of use.
pub(super) const PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// The longest text of a failure.
const LONGEST: usize = 300;

/// One mail server.
#[derive(Clone)]
pub(super) struct Outlet {
    server: String,
    port: u16,
    tls: Tls,
    user: Option<(String, PathBuf)>,
    sender: Sender,
    turns: Arc<Semaphore>,
    turns_of_strangers: Arc<Semaphore>,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet")
            .field("server", &self.server)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Why a mail was not handed over.
#[derive(Debug)]
pub(super) struct Failed {
    /// What happened, without anything of the mail.
    pub(super) why: String,
    /// Whether another try may succeed.
    pub(super) may_pass: bool,
}

impl Outlet {
    /// The outlet of these settings. A sender without a name has that of the operator.
    pub(super) fn new(
        settings: &MailSettings,
        operator: Option<&Operator>,
    ) -> Result<Self, MailError> {
        let mailbox = |key: &'static str, text: &str| {
            let read: Result<Mailbox, _> = text.parse();
            read.map_err(|wrong| MailError::Address { key, wrong })
        };
        let mut from = mailbox("from", &settings.from)?;
        if from.name.is_none() {
            from.name = operator
                .map(|it| it.name.clone())
                .filter(|name| !name.is_empty());
        }
        let reply_to = settings.reply_to.as_deref();
        let reply_to = reply_to.map(|it| mailbox("reply_to", it)).transpose()?;
        let parameters =
            || TlsParameters::new_rustls(settings.server.clone()).map_err(MailError::Tls);
        let tls = match settings.security {
            MailSecurity::StartTls => Tls::Required(parameters()?),
            MailSecurity::Tls => Tls::Wrapper(parameters()?),
            MailSecurity::None => Tls::None,
        };
        let user = settings.user.clone().zip(settings.password_file.clone());
        if let Some((_, file)) = &user {
            Secret::from_file(file).map_err(|error| MailError::Password {
                file: file.clone(),
                error,
            })?;
        }
        Ok(Self {
            server: settings.server.clone(),
            port: settings.port,
            tls,
            user,
            sender: Sender { from, reply_to },
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            turns_of_strangers: Arc::new(Semaphore::new(AT_ONCE_OF_STRANGERS)),
        })
    }

    /// The message of a letter.
    pub(super) fn message(&self, letter: &Letter) -> Result<Message, MailError> {
        self.sender.message(letter)
    }

    /// Hands a message over, on a connection of its own.
    pub(super) async fn hand_over(
        &self,
        message: &Message,
        is_of_stranger: bool,
    ) -> Result<(), Failed> {
        let stopping = |_| Failed {
            why: "the service is stopping".to_owned(),
            may_pass: false,
        };
        let _turn_of_strangers = if is_of_stranger {
            Some(self.turns_of_strangers.acquire().await.map_err(stopping)?)
        } else {
            None
        };
        let _turn = self.turns.acquire().await.map_err(stopping)?;
        let transport = self.transport()?;
        match tokio::time::timeout(HANDING_OVER, transport.send(message.clone())).await {
            Ok(Ok(_taken)) => Ok(()),
            Ok(Err(error)) => Err(Failed {
                why: told(&error),
                may_pass: !error.is_permanent(),
            }),
            Err(_late) => Err(Failed {
                why: "it took too long".to_owned(),
                may_pass: true,
            }),
        }
    }

    /// The password is read anew, so that it can be changed at any time.
    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failed> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.server)
            .port(self.port)
            .tls(self.tls.clone())
            .timeout(Some(COMMAND))
            .hello_name(ClientId::Domain(self.sender.domain().to_owned()));
        if let Some((user, file)) = &self.user {
            let password = Secret::from_file(file).map_err(|error| Failed {
                why: format!("cannot read {}: {error}", file.display()),
                may_pass: true,
            })?;
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            builder = builder.credentials(credentials);
        }
        Ok(builder.build())
    }
}

/// An error with its causes, in one line of bounded length: the server chooses what it says.
fn told(error: &smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let line = text.chars().take(LONGEST);
    line.map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}
