//! Asking for a creation.

use service_kit::{
    contexts::{Contexts, Subdomains},
    languages::TRANSLATED,
    secret::Secret,
};

use super::{arguments_mac, check_request_id, derive::Deriver, operation_id, random_prefix};
use crate::{
    domain::{
        locale,
        name::app_hosts,
        operation::{Operation, Work},
        passphrase::{Chosen, client},
        sealed::Sealed,
        spec::{InvalidField, Spec},
    },
    error::Error,
    operations::{Accepted, Engine, Sealing, sealing::Carried},
    store::Store,
};

/// What a request for a creation came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An operation, new or known.
    Accepted {
        /// Its id.
        id: String,
        /// How far it is.
        operation: Box<Operation>,
    },
    /// Everything would be fine; nothing was done.
    Valid {
        /// What would be created.
        spec: Box<Spec>,
        /// What an administrator should know.
        warnings: Vec<String>,
    },
}

/// Asks for a creation.
#[derive(Debug)]
pub(crate) struct RequestCreate<'a> {
    /// Where documents lie.
    pub store: &'a Store,
    /// Who drives it.
    pub engine: &'a Engine,
    /// The contexts that are known.
    pub contexts: &'a Contexts,
    /// The key under which arguments are compared.
    pub key: &'a Secret,
    /// Who hashes passphrases.
    pub deriver: &'a Deriver,
    /// Who seals what comes of that.
    pub sealing: &'a Sealing,
}

impl RequestCreate<'_> {
    /// Checks the request and, unless only that is wanted, accepts it. `passphrase` is empty when none is
    /// given.
    ///
    /// # Errors
    /// A wrong field, a name that is taken, a request id that was used otherwise, a fault of the database.
    pub(crate) async fn ask(
        &self,
        spec: Spec,
        passphrase: &Secret,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Answer, Error> {
        check_request_id(request_id)?;
        let spec = spec.check()?;
        let chosen = Chosen::at_creation(passphrase.expose(), spec.is_passwordless())?;
        let mac = arguments_mac(self.key, &(&spec, passphrase.expose()))?;
        let id = operation_id("create", request_id);
        let couch_cluster = self.choose_cluster(&spec)?;
        self.check_flat_names(&spec)?;
        let operation = Operation {
            instance: couch::DocId::ascending().into_string(),
            domain: spec.domain().to_owned(),
            prefix: random_prefix()?,
            couch_cluster,
            work: Work::Create {
                spec: Box::new(spec.clone()),
            },
            ..Operation::new(mac, self.engine.clock().now())
        };
        if !validate_only && chosen.is_none() {
            // The look at the names costs no time beside the write.
            let instance = operation.instance.clone();
            let look = self.look_at_names(&spec, &instance);
            return self.accept(id, operation, look).await;
        }
        if !request_id.is_empty()
            && let Some(known) = self.store.operation(&id).await?
        {
            return if known.body.arguments_mac == operation.arguments_mac {
                Ok(Answer::Accepted {
                    id,
                    operation: Box::new(known.body),
                })
            } else {
                Err(Error::RequestIdReused)
            };
        }
        let warnings = self.look_at_names(&spec, &operation.instance).await?;
        let Some(chosen) = chosen.filter(|_| !validate_only) else {
            return Ok(Answer::Valid {
                spec: Box::new(spec),
                warnings,
            });
        };
        // All that takes the passphrase itself is done now: no document ever holds it.
        let operation = Operation {
            sealed: Some(self.seal(&id, chosen, &spec).await?),
            ..operation
        };
        self.accept(id, operation, std::future::ready(Ok(warnings)))
            .await
    }

    async fn accept(
        &self,
        id: String,
        operation: Operation,
        look: impl Future<Output = Result<Vec<String>, Error>>,
    ) -> Result<Answer, Error> {
        match self.engine.accept(id, operation, look).await? {
            Accepted::Operation { id, operation } => Ok(Answer::Accepted { id, operation }),
            Accepted::Reused => Err(Error::RequestIdReused),
        }
    }

    /// On which CouchDB server the instance will lie: the one that was asked for, or one that is drawn
    /// among those that take new instances.
    fn choose_cluster(&self, spec: &Spec) -> Result<i64, Error> {
        let clusters = self.store.clusters();
        let open = clusters.open();
        let Some(asked) = spec.couch_cluster() else {
            let drawn = clusters.draw().ok_or(Error::NoOpenCluster)?;
            return Ok(i64::try_from(drawn).unwrap_or(i64::MAX));
        };
        let takes_it = usize::try_from(asked).is_ok_and(|asked| open.contains(&asked));
        if takes_it {
            return Ok(asked);
        }
        let open: Vec<String> = open.iter().map(ToString::to_string).collect();
        let right = if open.is_empty() {
            "no other does: set instance_creation = true for one in the configuration".to_owned()
        } else {
            format!(
                "use {}, or leave it out to have one drawn",
                open.join(" or ")
            )
        };
        let wrong = if clusters.at(asked).is_ok() {
            format!("{asked} takes no new instances; {right}")
        } else {
            let listed = clusters.listed();
            format!(
                "{asked} is no position in the configuration, which lists {listed}, counted from 0; {right}"
            )
        };
        Err(InvalidField {
            field: "instance.couch_cluster".to_owned(),
            wrong,
        }
        .into())
    }

    /// Refuses names that hold a hyphen where it separates the instance from the app.
    fn check_flat_names(&self, spec: &Spec) -> Result<(), InvalidField> {
        if self.contexts.get(spec.context()).subdomains != Subdomains::Flat {
            return Ok(());
        }
        for name in spec.names() {
            if name.first_label().contains('-') {
                let field = if name.domain() == spec.domain() {
                    "instance.domain"
                } else {
                    "instance.domain_aliases"
                };
                return Err(InvalidField {
                    field: field.to_owned(),
                    wrong: format!(
                        "{name} has a hyphen before its first dot, which separates the instance from its apps \
                         in this context (subdomains = \"flat\"); use a name without one"
                    ),
                });
            }
        }
        Ok(())
    }

    async fn seal(&self, id: &str, chosen: Chosen, spec: &Spec) -> Result<Sealed, Error> {
        let salt = client::salt(spec.domain(), spec.old_domain());
        let credentials = self.deriver.derive(chosen, salt, String::new()).await?;
        self.sealing.seal(id, &Carried::Credentials(credentials))
    }

    /// Refuses names that are taken before anything is made, and tells what is odd about the others.
    /// One read for all; the claims themselves decide later, or already did for this `instance`.
    async fn look_at_names(&self, spec: &Spec, instance: &str) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        if !self.contexts.knows(spec.context()) {
            warnings.push(format!(
                "the context {:?} is not configured: the settings of the default context apply{}",
                spec.context(),
                configured(self.contexts)
            ));
        }
        if !locale::has_names(spec.locale()) {
            warnings.push(format!(
                "there are no names of directories in {}: they get English ones; names are there in {}",
                spec.locale(),
                TRANSLATED.join(", ")
            ));
        }
        let names = spec.names();
        let parents: Vec<_> = names
            .iter()
            .flat_map(|name| {
                app_hosts(name.host())
                    .into_iter()
                    .map(move |app| (name, app))
            })
            .collect();
        let hosts: Vec<&str> = names
            .iter()
            .map(crate::domain::name::Name::host)
            .chain(parents.iter().map(|(_, app)| app.instance.as_str()))
            .collect();
        let claims = self.store.claims_of(&hosts).await?;
        for name in &names {
            if let Some(claim) = claims.get(name.host())
                && claim.instance != instance
                && self.store.instance(&claim.instance).await?.is_some()
            {
                return Err(Error::NameTaken(name.to_string()));
            }
        }
        for (name, app) in &parents {
            if let Some(claim) = claims.get(&app.instance)
                && let Some(parent) = self.store.instance(&claim.instance).await?
                && self.contexts.get(&parent.body.context).subdomains == app.subdomains
            {
                warnings.push(format!(
                    "{name} is also where {} would serve its app {}: the new instance hides it",
                    claim.name, app.slug
                ));
            }
        }
        Ok(warnings)
    }
}

/// The contexts that are configured, in words that end a sentence about one that is not.
fn configured(contexts: &Contexts) -> String {
    let names: Vec<&str> = contexts.names().collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; configured are {}", names.join(", "))
    }
}
