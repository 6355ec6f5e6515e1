//! Requests to create an instance.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use hamlet_proto::hamlet::instance::v1::Tenant;
use service_kit::{
    contexts::{Contexts, Subdomains},
    languages::TRANSLATED,
    secret::Secret,
};

use super::{Draft, Plan, RequestOptions, arguments_mac, unknown_context};
use crate::{
    actions::derive::Deriver,
    config::Config,
    domain::{
        locale,
        name::{Name, app_hosts},
        operation::Subject,
        passphrase::{Chosen, Given, client, strength::check_strength},
        sealed::Sealed,
        seed::Seed,
        spec::{InvalidField, Spec},
    },
    error::Error,
    operations::{
        Peers, Sealing, Work, claims,
        create::{APPS_AT_ONCE, AppOutcome, CreateWork},
        sealing::Carried,
    },
    store::Store,
};

/// What plans of creations need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creations<'a> {
    /// The store.
    pub store: &'a Store,
    /// The configured contexts.
    pub contexts: &'a Contexts,
    /// Hashes passphrases.
    pub deriver: &'a Deriver,
    /// Seals the result.
    pub sealing: &'a Sealing,
    /// How hard a passphrase has to be to guess.
    pub passphrase_score: u8,
    /// The other services.
    pub peers: &'a Peers,
    /// How long the installation of one app may take.
    pub app_time_limit: Duration,
    /// How browsers reach instances.
    pub config: &'a Config,
}

/// The first passphrase of a request.
#[derive(Debug)]
pub(crate) struct FirstPassphrase {
    /// In plain text, or hashed by a client; empty when none is given.
    pub passphrase: Secret,
    /// The number of iterations that the client made; 0 for plain text.
    pub kdf_iterations: i32,
    /// The client's vault key; empty with plain text.
    pub key: Secret,
}

impl FirstPassphrase {
    fn given(&self) -> Given<'_> {
        Given {
            passphrase: self.passphrase.expose(),
            kdf_iterations: self.kdf_iterations,
            key: self.key.expose(),
        }
    }
}

/// A requested creation.
#[derive(Debug)]
pub(crate) struct CreatePlan<'a> {
    with: Creations<'a>,
    spec: Spec,
    first: &'a FirstPassphrase,
    chosen: Option<Chosen>,
    /// The id of the new instance.
    instance: String,
}

/// What would be created.
#[derive(Debug)]
pub(crate) struct CreatePreview {
    /// The request, checked.
    pub spec: Spec,
    /// Warnings for the administrator.
    pub warnings: Vec<String>,
    /// What would come of each app.
    pub apps: Vec<AppOutcome>,
}

impl<'a> CreatePlan<'a> {
    /// The plan for a request. `wrong` is what is known to be invalid already.
    ///
    /// # Errors
    /// Names all invalid fields.
    pub(crate) fn new(
        with: Creations<'a>,
        spec: Spec,
        mut wrong: Vec<InvalidField>,
        first: &'a FirstPassphrase,
    ) -> Result<Self, Error> {
        let chosen = Chosen::at_creation(first.given(), spec.is_passwordless());
        let strength = match &chosen {
            Ok(Some(Chosen::Plain(passphrase))) => {
                let text = |path| spec.asked.text(path).unwrap_or_default();
                let known = [spec.domain(), text("email"), text("public_name")];
                check_strength("passphrase", passphrase, &known, with.passphrase_score)
            }
            _ => Ok(()),
        };
        let checked = spec.check();
        match (checked, chosen) {
            (Ok(spec), Ok(chosen)) if wrong.is_empty() => {
                strength.map_err(Error::WeakPassphrase)?;
                Ok(Self {
                    with,
                    spec,
                    first,
                    chosen,
                    instance: couch::DocId::ascending().into_string(),
                })
            }
            (checked, chosen) => {
                wrong.extend(checked.err().into_iter().flatten());
                wrong.extend(chosen.err());
                wrong.extend(strength.err());
                Err(wrong.into())
            }
        }
    }
}

impl Plan for CreatePlan<'_> {
    type Preview = CreatePreview;

    fn verb(&self) -> &'static str {
        "create"
    }

    fn mac(&self, key: &Secret) -> Result<String, Error> {
        let passphrase = self.first.passphrase.expose();
        match self.first.kdf_iterations {
            0 => arguments_mac(key, &(&self.spec, passphrase)),
            count => {
                let vault_key = self.first.key.expose();
                arguments_mac(key, &(&self.spec, passphrase, count, vault_key))
            }
        }
    }

    /// The passphrase itself is used only before the operation is accepted: no document ever holds it.
    fn is_costly(&self) -> bool {
        self.chosen.is_some()
    }

    async fn draft(&mut self, _: RequestOptions<'_>) -> Result<Draft, Error> {
        let couch_cluster = self.choose_cluster(&self.spec)?;
        self.check_flat_names(&self.spec)?;
        let seed = Seed::draw()?;
        let seed = self.with.sealing.seal_seed(&self.instance, &seed)?;
        Ok(Draft {
            subject: Subject {
                instance: self.instance.clone(),
                domain: self.spec.domain().to_owned(),
                prefix: random_prefix()?,
                couch_cluster,
            },
            work: Work::Create(CreateWork::new(self.spec.clone(), seed)),
        })
    }

    /// Refuses names that are taken before anything is made, and warns of unusual names. One read covers all
    /// names. The claims decide later, or have already decided for this instance.
    async fn check(&self) -> Result<Vec<String>, Error> {
        self.look_at_names(&self.spec, &self.instance).await
    }

    async fn seal(&mut self, id: &str) -> Result<Option<Sealed>, Error> {
        let Some(chosen) = self.chosen.take() else {
            return Ok(None);
        };
        let salt = client::salt(self.spec.domain(), self.spec.old_domain());
        let credentials = self
            .with
            .deriver
            .derive(chosen, salt, String::new())
            .await?;
        let sealed = self
            .with
            .sealing
            .seal(id, &Carried::Credentials(credentials))?;
        Ok(Some(sealed))
    }

    async fn preview(self, warnings: Vec<String>) -> Result<CreatePreview, Error> {
        let tenant = Tenant {
            domain: self.spec.domain().to_owned(),
            context: self.spec.context().to_owned(),
            locale: self.spec.locale().to_owned(),
            ..Tenant::default()
        };
        let (tenant, limit) = (&tenant, self.with.app_time_limit);
        let apps = stream::iter(self.spec.apps.clone())
            .map(|source| async move {
                match self.with.peers.check_app(tenant, &source, limit).await {
                    Ok(app) => AppOutcome {
                        source,
                        slug: app.slug,
                        version: app.version,
                        error: String::new(),
                    },
                    Err(status) => AppOutcome {
                        source,
                        error: status.message().to_owned(),
                        ..AppOutcome::default()
                    },
                }
            })
            .buffered(APPS_AT_ONCE)
            .collect()
            .await;
        Ok(CreatePreview {
            spec: self.spec,
            warnings,
            apps,
        })
    }
}

impl CreatePlan<'_> {
    /// The CouchDB server of the instance: the requested one, or one drawn from those that accept new
    /// instances.
    fn choose_cluster(&self, spec: &Spec) -> Result<i64, Error> {
        let clusters = self.with.store.clusters();
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

    /// Refuses names with a hyphen where a hyphen separates the instance from the app.
    fn check_flat_names(&self, spec: &Spec) -> Result<(), InvalidField> {
        if self.with.contexts.get(spec.context()).subdomains != Subdomains::Flat {
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

    /// Refuses names that are taken before anything is made, and warns of unusual names. One read covers all
    /// names. The claims decide later, or have already decided for this `instance`.
    async fn look_at_names(&self, spec: &Spec, instance: &str) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        warnings.extend(unknown_context(self.with.contexts, spec.context()));
        if !locale::has_names(spec.locale()) {
            warnings.push(format!(
                "there are no names of directories in {}: they get English ones; names are there in {}",
                spec.locale(),
                TRANSLATED.join(", ")
            ));
        }
        let names = spec.names();
        warnings.extend(
            names
                .iter()
                .filter_map(|name| self.with.config.out_of_reach(name)),
        );
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
            .map(Name::host)
            .chain(parents.iter().map(|(_, app)| app.instance.as_str()))
            .collect();
        let claims = self.with.store.claims_of(&hosts).await?;
        for name in &names {
            if let Some(claim) = claims.get(name.host())
                && claim.instance != instance
                && self.with.store.instance(&claim.instance).await?.is_some()
                && !claims::is_abandoned(self.with.store, name.host(), claim).await?
            {
                return Err(claims::taken(self.with.store, name.domain(), claim).await?);
            }
        }
        claims::require_free_of_newcomers(self.with.store, &spec.wanted(), instance).await?;
        for (name, app) in &parents {
            if let Some(claim) = claims.get(&app.instance)
                && let Some(parent) = self.with.store.instance(&claim.instance).await?
                && self.with.contexts.get(&parent.body.context).subdomains == app.subdomains
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

/// The prefix of a new instance: `cozy` and 32 random hex digits. A new instance with an old name therefore
/// shares no data with the previous one.
fn random_prefix() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("cozy{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::random_prefix;

    #[test]
    fn prefixes_are_unique() {
        let prefix = random_prefix().unwrap();
        assert_eq!(prefix.len(), 36);
        assert!(prefix.starts_with("cozy"));
        assert_ne!(prefix, random_prefix().unwrap());
    }
}
