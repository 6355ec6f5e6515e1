//! Finding one instance by a name.

use crate::{
    domain::{
        claim::Claim,
        instance::InstanceDocument,
        name::{InvalidName, Name},
        operation::Phase,
        spec::InvalidField,
    },
    error::Error,
    operations::{
        Operation, Work,
        taking::{forget_ended, require_idle},
    },
    store::{Found, OperationLog, Store},
};

/// Parses `instances/{domain}`, given in this field of a request.
///
/// # Errors
/// When the value has another form.
pub(crate) fn parse_resource_name(field: &str, text: &str) -> Result<Name, Error> {
    let invalid = |wrong: String| InvalidField {
        field: field.to_owned(),
        wrong,
    };
    let domain = text.strip_prefix("instances/").ok_or_else(|| {
        invalid("is no name of an instance; it looks like instances/alice.example.org".to_owned())
    })?;
    domain
        .parse()
        .map_err(|wrong: InvalidName| invalid(wrong.to_string()).into())
}

/// Refuses a name that has the host of an instance and another port.
fn require_port(name: &Name, document: &InstanceDocument) -> Result<(), Error> {
    let Ok(main) = document.domain.parse::<Name>() else {
        // Other software checks less.
        return Ok(());
    };
    let aliases = document
        .domain_aliases
        .iter()
        .filter_map(|it| it.parse().ok());
    let own = aliases
        .chain([main.clone()])
        .find(|own: &Name| own.host() == name.host());
    own.map_or(Ok(()), |own| require_own_port(name, &own, &main))
}

fn require_own_port(name: &Name, own: &Name, main: &Name) -> Result<(), Error> {
    if name.means(own, main) {
        return Ok(());
    }
    Err(Error::OtherPort {
        given: name.to_string(),
        own: own.to_string(),
    })
}

/// The claims of a host, the winning one first. A claim that a node of the database has brought back may hide the
/// valid one; so the others are read as well, but only when the caller finds no instance of the first.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    store: &'a Store,
    host: &'a str,
    winner: Option<Claim>,
    others: Option<Vec<Claim>>,
}

impl<'a> Candidates<'a> {
    pub(crate) const fn new(store: &'a Store, host: &'a str) -> Self {
        Self {
            store,
            host,
            winner: None,
            others: None,
        }
    }

    /// The next claim to try.
    pub(crate) async fn next(&mut self) -> Result<Option<Claim>, Error> {
        let Some(winner) = &self.winner else {
            self.winner = self.store.claim_of(self.host).await?;
            return Ok(self.winner.clone());
        };
        if self.others.is_none() {
            let mut others = self.store.live_claims(self.host).await?;
            others.retain(|other| other.instance != winner.instance);
            self.others = Some(others);
        }
        Ok(self.others.as_mut().and_then(Vec::pop))
    }
}

/// The creation that has a name and whose instance does not exist yet: its operation's id, and the operation.
///
/// # Errors
/// [`Error::OtherPort`]; otherwise when the database fails.
pub(crate) async fn creation_of(
    store: &Store,
    log: &OperationLog<Work>,
    name: &Name,
) -> Result<Option<(String, Operation)>, Error> {
    let Some(claim) = store.claim_of(name.host()).await? else {
        return Ok(None);
    };
    let found = log.read(&claim.operation).await?;
    let found = found.filter(|found| {
        matches!(found.body.work, Work::Create(_))
            && found.body.instance == claim.instance
            && matches!(found.body.phase, Phase::Queued | Phase::Running)
    });
    if let Some(found) = &found
        && let (Ok(own), Ok(main)) = (claim.name.parse(), found.body.domain.parse())
    {
        require_own_port(name, &own, &main)?;
    }
    Ok(found.map(|found| (found.id, found.body)))
}

/// Finds an instance by its domain or an alias. The port may be left out.
///
/// # Errors
/// [`Error::NoSuchInstance`], [`Error::OtherPort`].
pub(crate) async fn by_name(store: &Store, name: &Name) -> Result<Found, Error> {
    let missing = || Error::NoSuchInstance(name.to_string());
    let mut candidates = Candidates::new(store, name.host());
    let mut found = loop {
        let claim = candidates.next().await?.ok_or_else(missing)?;
        if let Some(found) = store.found(&claim.instance, claim.kind).await? {
            break found;
        }
    };
    require_port(name, &found.document.body)?;
    if let Some(record) = &mut found.record {
        // An instance is freed after the end of its operation is reported.
        forget_ended(store, &mut record.body).await?;
    }
    Ok(found)
}

/// Finds an instance for a request that will change it, without the owner's settings. An instance that is being
/// created or that another operation has is busy. The decision is made when the operation takes the instance;
/// this check only avoids operations that would fail.
///
/// # Errors
/// [`Error::NoSuchInstance`], [`Error::OtherPort`], [`Error::Busy`].
pub(crate) async fn idle_by_name(store: &Store, name: &Name) -> Result<Found, Error> {
    let missing = || Error::NoSuchInstance(name.to_string());
    let mut candidates = Candidates::new(store, name.host());
    let found = loop {
        let claim = candidates.next().await?.ok_or_else(missing)?;
        let found = store
            .found_without_settings(&claim.instance, claim.kind)
            .await?;
        if let Some(found) = found {
            break found;
        }
        if let Some(creation) = store.operation(&claim.operation).await?
            && !creation.body.phase.is_end()
        {
            return Err(Error::Busy {
                domain: creation.body.domain,
                operation: claim.operation,
            });
        }
    };
    require_port(name, &found.document.body)?;
    if let Some(record) = &found.record {
        require_idle(store, &found.document.body.domain, &record.body).await?;
    }
    Ok(found)
}
