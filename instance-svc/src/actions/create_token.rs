//! Creating a token with which a program may call an instance.

use std::time::Duration;

use couch::Exchange;
use hamlet_proto::hamlet::apps::v1::app;
use identity::client::is_id;
use service_kit::secret::Secret;
use tonic::Code;

use super::find;
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        name::Name,
        record::Refusal,
        scope::{self, MOST_APPS, linked_app},
        spec::InvalidField,
        token::{Audience, Claims},
    },
    error::Error,
    messages,
    operations::{Peers, Work},
    store::{Found, OperationLog, Store},
};

/// The arguments of a token.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The type of its bearer.
    pub audience: Audience,
    /// The bearer: a slug or the id of an OAuth client.
    pub subject: String,
    /// The permissions.
    pub scopes: Vec<String>,
    /// The lifetime; `None` for the default of this type.
    pub life: Option<Duration>,
}

impl Wanted {
    /// Checks the arguments.
    ///
    /// # Errors
    /// Names the first invalid field.
    fn check(&self) -> Result<(), InvalidField> {
        self.check_subject()?;
        self.check_scopes()?;
        let Some(life) = self.life else {
            return Ok(());
        };
        let wrong = match self.audience.life() {
            None => "cannot be chosen: a token for refreshing does not expire".to_owned(),
            Some(usual) if life > usual => format!(
                "is too long; a token of this kind lives {} at most",
                humantime::format_duration(usual)
            ),
            Some(_) if life < Duration::from_secs(1) => {
                "is shorter than a second; give a time such as 600s".to_owned()
            }
            Some(_) => return Ok(()),
        };
        Err(invalid("lifetime", wrong))
    }

    fn check_subject(&self) -> Result<(), InvalidField> {
        let subject = self.subject.as_str();
        let wrong = match self.audience {
            Audience::Cli if subject.is_empty() => return Ok(()),
            Audience::Cli => "is not empty; a token for the command line has no subject",
            Audience::App | Audience::Konnector if scope::is_slug(subject) => return Ok(()),
            Audience::App | Audience::Konnector => {
                "is no slug; name the app or konnector, such as drive"
            }
            Audience::Access | Audience::Refresh | Audience::Registration if is_id(subject) => {
                return Ok(());
            }
            Audience::Access | Audience::Refresh | Audience::Registration => {
                "is no id of an OAuth client; give the one that it got when it was registered"
            }
        };
        Err(invalid("subject", wrong.to_owned()))
    }

    fn check_scopes(&self) -> Result<(), InvalidField> {
        match (self.audience.has_scopes(), self.scopes.is_empty()) {
            (true, true) => {
                let wrong = "is empty; say what the token may do, such as io.cozy.files:GET";
                return Err(invalid("scopes", wrong.to_owned()));
            }
            (false, false) => {
                let wrong = "cannot be chosen: an app may do what its manifest says";
                return Err(invalid("scopes", wrong.to_owned()));
            }
            (true, false) | (false, true) => {}
        }
        if self.scopes.len() > scope::MOST {
            let wrong = format!("holds more than {} rules; use fewer", scope::MOST);
            return Err(invalid("scopes", wrong));
        }
        let apps = self.scopes.iter().filter(|it| linked_app(it).is_some());
        if apps.count() > MOST_APPS {
            let wrong = format!("names more than {MOST_APPS} apps; use fewer");
            return Err(invalid("scopes", wrong));
        }
        for (position, rule) in self.scopes.iter().enumerate() {
            scope::check(rule).map_err(|wrong| invalid(&format!("scopes[{position}]"), wrong))?;
        }
        Ok(())
    }
}

fn invalid(field: &str, wrong: String) -> InvalidField {
    InvalidField {
        field: field.to_owned(),
        wrong,
    }
}

/// What is needed to create a token.
#[derive(Debug)]
pub(crate) struct CreateToken<'a> {
    /// The store.
    pub store: &'a Store,
    /// The operations: one may be creating the instance.
    pub log: &'a OperationLog<Work>,
    /// The apps service, which knows the installed apps.
    pub peers: &'a Peers,
    /// The wall clock.
    pub clock: &'a Clock,
    /// The public address of instances.
    pub config: &'a Config,
}

impl CreateToken<'_> {
    /// Creates the token.
    ///
    /// # Errors
    /// An invalid field; no such instance, app or OAuth client.
    pub(crate) async fn create(&self, name: &Name, wanted: &Wanted) -> Result<Secret, Error> {
        wanted.check()?;
        let found = find::created_by_name(self.store, self.log, name).await?;
        let document = &found.document.body;
        let deleted = found
            .record
            .as_ref()
            .is_some_and(|record| record.body.deleted_at.is_some());
        if deleted {
            return Err(Error::Refused {
                domain: document.domain.clone(),
                why: Refusal::Deleted,
            });
        }
        match wanted.audience {
            Audience::App => self.require_app(&found, wanted, app::Kind::Webapp).await?,
            Audience::Konnector => {
                self.require_app(&found, wanted, app::Kind::Konnector)
                    .await?;
            }
            Audience::Access | Audience::Refresh => self.require_client(&found, wanted).await?,
            Audience::Cli | Audience::Registration => {}
        }
        let key = document
            .token_key(wanted.audience)
            .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
        let claims = Claims {
            audience: wanted.audience,
            issuer: &document.domain,
            subject: &wanted.subject,
            scope: &wanted.scopes.join(" "),
            session: "",
        };
        let token = claims.sign(&key, self.clock.now(), wanted.life)?;
        Ok(Secret::new(token))
    }

    async fn require_app(
        &self,
        found: &Found,
        wanted: &Wanted,
        kind: app::Kind,
    ) -> Result<(), Error> {
        let document = &found.document.body;
        let tenant = messages::tenant(self.config, self.clock, &found.id, document, None);
        let found = self.peers.app(&tenant, &wanted.subject, kind).await;
        match found {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Err(Error::NoSuchApp {
                slug: wanted.subject.clone(),
                domain: document.domain.clone(),
            }),
            Err(status) => Err(status.into()),
        }
    }

    /// A client that has a token is no longer one that has only been registered.
    async fn require_client(&self, found: &Found, wanted: &Wanted) -> Result<(), Error> {
        let document = &found.document.body;
        loop {
            let client = self
                .store
                .oauth_client(document.location(), &wanted.subject)
                .await?;
            let Some(mut client) = client else {
                return Err(Error::NoSuchClient {
                    id: wanted.subject.clone(),
                    domain: document.domain.clone(),
                });
            };
            if client.body.shift_remove("pending").is_none() {
                return Ok(());
            }
            match self
                .store
                .replace_oauth_client(document.location(), &client)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                Exchange::Lost => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::Duration;

    use super::{Audience, Wanted};

    fn refused(
        audience: Audience,
        subject: &str,
        scopes: &[&str],
        life: Option<u64>,
    ) -> Option<String> {
        let wanted = Wanted {
            audience,
            subject: subject.to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            life: life.map(Duration::from_secs),
        };
        wanted.check().err().map(|error| error.field)
    }

    #[test]
    fn each_wrong_field_is_named() {
        const FILES: &[&str] = &["io.cozy.files"];
        for (audience, subject, scopes, life, field) in [
            (Audience::Cli, "", FILES, None, None),
            (Audience::App, "drive", &[][..], Some(60), None),
            (Audience::Access, "0123ab", FILES, Some(60), None),
            (Audience::Refresh, "0123ab", FILES, None, None),
            (Audience::Cli, "x", FILES, None, Some("subject")),
            (Audience::App, "", &[], None, Some("subject")),
            (Audience::Konnector, "A/b", &[], None, Some("subject")),
            (Audience::Access, "_design/x", FILES, None, Some("subject")),
            (Audience::Access, "", FILES, None, Some("subject")),
            (Audience::Cli, "", &[], None, Some("scopes")),
            (Audience::App, "drive", FILES, None, Some("scopes")),
            (Audience::Cli, "", &["io.cozy.files", "no"], None, None),
            (
                Audience::Cli,
                "",
                &["io.cozy.files", "a b"],
                None,
                Some("scopes[1]"),
            ),
            (Audience::Cli, "", FILES, Some(1801), Some("lifetime")),
            (Audience::Cli, "", FILES, Some(0), Some("lifetime")),
            (Audience::Refresh, "c", FILES, Some(60), Some("lifetime")),
        ] {
            let refused = refused(audience, subject, scopes, life);
            assert_eq!(
                refused.as_deref(),
                field,
                "{audience:?} {subject} {scopes:?}"
            );
        }
    }
}
