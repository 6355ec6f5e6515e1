//! Mail to owners: the one place that sends. It keeps what waits in memory, and tries a bounded number of times.
//!
//! Nothing of a mail is logged: a link or a code opens an instance.

mod kind;
mod letter;
mod outlet;

use std::{
    collections::BTreeMap,
    future::Future,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use identity::{ration::Ration, secrets::Device, tries::network};
use service_kit::{contexts::Contexts, telemetry};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::outlet::{Outlet, PAUSES};
pub(crate) use self::{
    kind::MailKind,
    letter::{Letter, mailbox},
};
use crate::error::Error;

/// How many mails of a server wait, or are being sent, without those of strangers.
const WAITING: usize = 192;
/// How many of those that strangers cause: they cannot crowd out the codes of owners.
const WAITING_OF_STRANGERS: usize = 64;
/// How many mails the strangers at one address cause in an hour, of all kinds and for all instances.
const OF_ADDRESS: u32 = 60;
const HOUR: Duration = Duration::from_secs(3600);

/// Why mail cannot be sent as the settings say, or not at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    /// An address is none.
    #[error("mail.{key}: is no mail address: {wrong}")]
    Address {
        /// The key of the settings.
        key: &'static str,
        /// What is wrong.
        wrong: lettre::address::AddressError,
    },
    /// The file with the password cannot be read.
    #[error("mail.password_file: cannot read {}: {error}", file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// There are no certificates by which servers could be recognized, for instance.
    #[error("mail.security: TLS cannot be used here")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// A mail cannot be made.
    #[error("a mail cannot be made")]
    Message(#[source] lettre::error::Error),
}

/// The settings of a context with which no mail can be sent.
#[derive(Debug, thiserror::Error)]
#[error("contexts.{context}: {error}")]
pub struct WrongSettings {
    context: String,
    #[source]
    error: MailError,
}

/// Sends mail. Clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct Mailer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    contexts: Contexts,
    outlets: BTreeMap<String, (Outlet, Places)>,
    /// How many mails of each kind an instance gets.
    of_instances: Ration,
    /// How many of them one network causes.
    of_networks: Ration,
    /// How many a browser causes from which the owner has logged in.
    of_devices: Ration,
    /// How many mails an address causes.
    of_addresses: Ration,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The places of the mails that wait for a server.
#[derive(Debug)]
struct Places {
    of_owners: Arc<Semaphore>,
    of_strangers: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        Self {
            of_owners: Arc::new(Semaphore::new(WAITING)),
            of_strangers: Arc::new(Semaphore::new(WAITING_OF_STRANGERS)),
        }
    }

    const fn of(&self, occasion: Occasion<'_>) -> &Arc<Semaphore> {
        if occasion.is_of_stranger() {
            &self.of_strangers
        } else {
            &self.of_owners
        }
    }
}

/// For whom a mail is, and who causes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// What it is about.
    pub(crate) kind: MailKind,
    /// The id of the instance.
    pub(crate) instance: &'a str,
    /// The address of whoever causes it.
    pub(crate) address: IpAddr,
    /// Their browser, when the owner has logged in from it before.
    pub(crate) device: Option<Device>,
}

impl Occasion<'_> {
    /// Whether nothing speaks for the owner being behind it.
    const fn is_of_stranger(&self) -> bool {
        self.kind.is_for_strangers() && self.device.is_none()
    }
}

impl Mailer {
    /// Sends mail as the contexts say, until `stop`.
    ///
    /// # Errors
    /// Which settings cannot be used.
    pub(crate) fn new(contexts: &Contexts, stop: CancellationToken) -> Result<Self, WrongSettings> {
        let mut outlets = BTreeMap::new();
        for name in contexts.names() {
            let Some(settings) = contexts.get(name).mail else {
                continue;
            };
            let operator = contexts.operator(name);
            let outlet =
                Outlet::new(&settings, operator.as_ref()).map_err(|error| WrongSettings {
                    context: name.to_owned(),
                    error,
                })?;
            outlets.insert(name.to_owned(), (outlet, Places::new()));
        }
        Ok(Self(Arc::new(Parts {
            contexts: contexts.clone(),
            outlets,
            of_instances: Ration::new(HOUR),
            of_networks: Ration::new(HOUR),
            of_devices: Ration::new(HOUR),
            of_addresses: Ration::new(HOUR),
            tasks: TaskTracker::new(),
            stop,
        })))
    }

    /// Whether mail of the instances of a context is sent.
    pub(crate) fn sends_for(&self, context: &str) -> bool {
        self.0.contexts.mailing(context).is_some()
    }

    /// Takes one mail from the ration of the instance, and from those of the address where a stranger causes it. A browser
    /// from which the owner has logged in has a ration of its own for what strangers ask for, which they cannot use up.
    ///
    /// # Errors
    /// [`Error::TooManyTries`], with how long to wait.
    pub(crate) fn take(&self, occasion: Occasion<'_>) -> Result<(), Error> {
        let Occasion {
            kind,
            instance,
            address,
            device,
        } = occasion;
        let now = Instant::now();
        let of_instance = format!("{instance} {}", kind.name());
        let from_instance = || self.0.of_instances.take(&of_instance, kind.an_hour(), now);
        let taken = match device {
            _ if !kind.is_for_strangers() => from_instance(),
            Some(device) => {
                let of_device = format!("{of_instance} {}", device.id());
                self.0.of_devices.take(&of_device, kind.an_hour(), now)
            }
            None => {
                let address = network(address).to_string();
                let of_network = format!("{of_instance} {address}");
                let taken = self.0.of_addresses.take(&address, OF_ADDRESS, now);
                taken
                    .and_then(|()| {
                        let limit = kind.of_a_network();
                        self.0.of_networks.take(&of_network, limit, now)
                    })
                    .and_then(|()| from_instance())
            }
        };
        taken.map_err(|wait| Error::TooManyTries { wait })
    }

    /// Sends the mail that `write` writes, later: this takes the same time whether there is one or not. `context` is that
    /// of the instance, `domain` stands in the log.
    ///
    /// # Errors
    /// [`Error::MailBusy`] when too many mails wait; [`Error::NoMail`] where none is sent.
    pub(crate) fn send<W>(
        &self,
        occasion: Occasion<'_>,
        context: &str,
        domain: &str,
        write: W,
    ) -> Result<(), Error>
    where
        W: Future<Output = Result<Option<Letter>, Error>> + Send + 'static,
    {
        let kind = occasion.kind;
        let outlet = self.0.contexts.mailing(context);
        let Some((outlet, places)) = outlet.and_then(|name| self.0.outlets.get(name)) else {
            return Err(Error::NoMail(domain.to_owned()));
        };
        let Ok(place) = Arc::clone(places.of(occasion)).try_acquire_owned() else {
            telemetry::mail(kind.name(), "refused");
            tracing::warn!(
                domain,
                kind = kind.name(),
                "a mail is not sent: too many are waiting for the mail server"
            );
            return Err(Error::MailBusy);
        };
        let is_of_stranger = occasion.is_of_stranger();
        let (outlet, domain, stop) = (outlet.clone(), domain.to_owned(), self.0.stop.clone());
        self.0.tasks.spawn(async move {
            let sent = stop.run_until_cancelled(write_and_send(
                kind,
                is_of_stranger,
                &outlet,
                &domain,
                write,
            ));
            if sent.await.is_none() {
                tracing::warn!(
                    domain,
                    kind = kind.name(),
                    "a mail is not sent: the service stops"
                );
            }
            drop(place);
        });
        Ok(())
    }

    /// Waits for the mails that are given up because the service stops.
    pub(crate) async fn stopped(&self) {
        self.0.stop.cancelled().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

async fn write_and_send<W>(
    kind: MailKind,
    is_of_stranger: bool,
    outlet: &Outlet,
    domain: &str,
    write: W,
) where
    W: Future<Output = Result<Option<Letter>, Error>>,
{
    let written = match write.await {
        Ok(None) => return,
        Ok(Some(letter)) => outlet
            .message(&letter)
            .map_err(|error| Box::new(error) as _),
        Err(error) => Err(Box::new(error) as Box<dyn std::error::Error + Send + Sync>),
    };
    let message = match written {
        Ok(message) => message,
        Err(error) => {
            telemetry::mail(kind.name(), "failed");
            let error = &*error as &(dyn std::error::Error + 'static);
            tracing::warn!(
                domain,
                kind = kind.name(),
                error,
                "a mail cannot be written"
            );
            return;
        }
    };
    for (attempt, pause) in PAUSES.into_iter().map(Some).chain([None]).enumerate() {
        let failed = match outlet.hand_over(&message, is_of_stranger).await {
            Ok(()) => {
                telemetry::mail(kind.name(), "sent");
                return;
            }
            Err(failed) => failed,
        };
        let pause = pause.filter(|_| failed.may_pass);
        telemetry::mail(
            kind.name(),
            if pause.is_some() { "retried" } else { "failed" },
        );
        tracing::warn!(
            domain,
            kind = kind.name(),
            attempt = attempt + 1,
            why = failed.why,
            "{}",
            match pause {
                Some(_) => "a mail could not be sent, and is tried again",
                None => "a mail could not be sent, and is given up",
            }
        );
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{
        net::Ipv4Addr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use service_kit::contexts::{Context, Contexts, DEFAULT};
    use tokio_util::sync::CancellationToken;

    use identity::secrets::Device;

    use super::{MailKind, Mailer, OF_ADDRESS, Occasion, WAITING, WAITING_OF_STRANGERS};
    use crate::error::Error;

    fn occasion(kind: MailKind, instance: &str, last: u8) -> Occasion<'_> {
        Occasion {
            kind,
            instance,
            address: Ipv4Addr::new(192, 0, 2, last).into(),
            device: None,
        }
    }

    fn mailer() -> (Mailer, CancellationToken) {
        let lines = "mail = { server = '127.0.0.1', security = 'none', from = 'a@b.example' }";
        let context: Context = toml::from_str(lines).unwrap();
        let contexts = Contexts::new([(DEFAULT.to_owned(), context)].into());
        let stop = CancellationToken::new();
        (Mailer::new(&contexts, stop.clone()).unwrap(), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded_and_given_up_at_the_end() {
        let (mailer, stop) = mailer();
        let begun = Arc::new(AtomicUsize::new(0));
        let send = |occasion: Occasion<'_>| {
            let begun = Arc::clone(&begun);
            mailer.send(occasion, "", "a.example", async move {
                begun.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            })
        };
        let stranger = occasion(MailKind::Reset, "it", 1);
        let strangers = (0..WAITING + 50).filter(|_| send(stranger).is_ok()).count();
        assert_eq!(strangers, WAITING_OF_STRANGERS);
        // A code and a known browser find a place all the same, and are told when there is none.
        let known = Occasion {
            device: Some(Device::draw().unwrap()),
            ..stranger
        };
        assert!(send(known).is_ok());
        let code = occasion(MailKind::Code, "it", 1);
        let codes = (0..WAITING + 50).filter(|_| send(code).is_ok()).count();
        assert_eq!(codes, WAITING - 1);
        assert!(matches!(send(code), Err(Error::MailBusy)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = WAITING + WAITING_OF_STRANGERS;
        assert_eq!(begun.load(Ordering::SeqCst), waiting);
        stop.cancel();
        mailer.stopped().await;
    }

    #[tokio::test]
    async fn an_instance_gets_so_many_of_a_kind_and_strangers_cause_so_many() {
        let (mailer, _stop) = mailer();
        let take = |instance: &str, kind, last| mailer.take(occasion(kind, instance, last)).is_ok();
        let hints = (0..10).filter(|_| take("it", MailKind::Hint, 1)).count();
        assert_eq!(hints, 2);
        assert!(take("it", MailKind::Reset, 1) && take("other", MailKind::Hint, 1));
        let strangers = (0..200).filter(|number| take(&number.to_string(), MailKind::Reset, 9));
        assert_eq!(u32::try_from(strangers.count()), Ok(OF_ADDRESS));
        assert!(!take("new", MailKind::Reset, 9) && take("new", MailKind::Code, 9));
    }

    #[tokio::test]
    async fn strangers_leave_links_for_other_networks_and_known_browsers() {
        let (mailer, _stop) = mailer();
        let kind = MailKind::MagicLink;
        let take = |last| mailer.take(occasion(kind, "it", last)).is_ok();
        let of_one = (0..100).filter(|_| take(1)).count();
        assert_eq!(u32::try_from(of_one), Ok(kind.of_a_network()));
        assert!(take(2));
        // Many networks use up what the instance has, but not what a known browser has.
        let others = (3..200).filter(|last| take(*last)).count();
        assert_eq!(u32::try_from(of_one + 1 + others), Ok(kind.an_hour()));
        let known = Occasion {
            device: Some(Device::draw().unwrap()),
            ..occasion(kind, "it", 1)
        };
        let of_known = (0..100).filter(|_| mailer.take(known).is_ok()).count();
        assert_eq!(u32::try_from(of_known), Ok(kind.an_hour()));
    }
}
