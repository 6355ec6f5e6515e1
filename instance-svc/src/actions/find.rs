//! Finding one instance by a name.

use crate::{
    domain::{
        claim::{Claim, NameKind},
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

/// An instance that may have a name.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The id of its document.
    pub(crate) instance: String,
    /// How the name belongs to it.
    pub(crate) kind: NameKind,
    /// The operation that claimed the name. `None` for an instance that is not adopted yet.
    pub(crate) operation: Option<String>,
}

impl From<Claim> for Candidate {
    fn from(claim: Claim) -> Self {
        Self {
            instance: claim.instance,
            kind: claim.kind,
            operation: Some(claim.operation),
        }
    }
}

/// The instances that may have a name, by the id of its claim: that of the winning claim first. A claim that a node of
/// the database has brought back may hide the valid one, so the others are read as well, and at last an instance that
/// other software made and that is not adopted yet; but only when the caller finds no instance of the first.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    store: &'a Store,
    claim: &'a str,
    winner: Option<String>,
    others: Option<Vec<Candidate>>,
}

impl<'a> Candidates<'a> {
    pub(crate) const fn new(store: &'a Store, claim: &'a str) -> Self {
        Self {
            store,
            claim,
            winner: None,
            others: None,
        }
    }

    /// The next one to try.
    pub(crate) async fn next(&mut self) -> Result<Option<Candidate>, Error> {
        if let Some(others) = &mut self.others {
            return Ok(others.pop());
        }
        let departures = self.store.newcomers().departures();
        if self.winner.is_none()
            && let Some(winner) = self.winner().await?
        {
            return Ok(Some(winner));
        }
        let newcomer = self.store.newcomer_with(self.claim).await?;
        // A newcomer that leaves the table has its claim by then.
        if self.winner.is_none()
            && newcomer.is_none()
            && departures.has_changed().unwrap_or(true)
            && let Some(winner) = self.winner().await?
        {
            return Ok(Some(winner));
        }
        let mut others = Vec::new();
        others.extend(newcomer.map(|newcomer| Candidate {
            instance: newcomer.instance,
            kind: newcomer.kind,
            operation: None,
        }));
        if let Some(winner) = &self.winner {
            let live = self.store.live_claims(self.claim).await?;
            let live = live.into_iter().filter(|other| other.instance != *winner);
            others.extend(live.map(Candidate::from));
        }
        let next = others.pop();
        self.others = Some(others);
        Ok(next)
    }

    /// The instance of the winning claim.
    async fn winner(&mut self) -> Result<Option<Candidate>, Error> {
        let claim = self.store.claim_of(self.claim).await?;
        self.winner = claim.as_ref().map(|claim| claim.instance.clone());
        Ok(claim.map(Candidate::from))
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
        let candidate = candidates.next().await?.ok_or_else(missing)?;
        if let Some(found) = store.found(&candidate.instance, candidate.kind).await? {
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

/// As [`by_name`], for what can be done only with an instance that is there. One that is being created is busy.
///
/// # Errors
/// [`Error::NoSuchInstance`], [`Error::OtherPort`], [`Error::Busy`].
pub(crate) async fn created_by_name(
    store: &Store,
    log: &OperationLog<Work>,
    name: &Name,
) -> Result<Found, Error> {
    let missing = match by_name(store, name).await {
        Err(missing @ Error::NoSuchInstance(_)) => missing,
        found => return found,
    };
    match creation_of(store, log, name).await? {
        Some((operation, creation)) => Err(Error::Busy {
            domain: creation.domain.clone(),
            operation,
        }),
        None => Err(missing),
    }
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
        let candidate = candidates.next().await?.ok_or_else(missing)?;
        if candidate.operation.is_none() {
            // Operations take an instance by its record.
            store.newcomers().adopted(&candidate.instance).await?;
        }
        let found = store
            .found_without_settings(&candidate.instance, candidate.kind)
            .await?;
        if let Some(found) = found {
            break found;
        }
        let Some(operation) = candidate.operation else {
            continue;
        };
        if let Some(creation) = store.operation(&operation).await?
            && !creation.body.phase.is_end()
        {
            return Err(Error::Busy {
                domain: creation.body.domain,
                operation,
            });
        }
    };
    require_port(name, &found.document.body)?;
    if let Some(record) = &found.record {
        require_idle(store, &found.document.body.domain, &record.body).await?;
    }
    Ok(found)
}
