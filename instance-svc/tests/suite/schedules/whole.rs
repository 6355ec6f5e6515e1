//! Conditions that hold after a schedule has ended.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use couch::DbName;
use instance_svc::{
    Settings,
    domain::{
        change::Change,
        claim::{Claim, NameKind},
        instance::InstanceDocument,
        operation::Phase,
        record::Record,
    },
    operations::{Operation, Work},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    changes::State,
    schedule::{Schedule, patiently},
};
use crate::support::{self, Replica, World};

/// How long it may take until what a node of the database brought back is removed.
const RETURNED: Duration = Duration::from_secs(20);

/// The number of databases of an instance.
const DATABASES: usize = 16;

/// Everything that exists of instances.
#[derive(Debug)]
struct Remains {
    instances: BTreeMap<String, InstanceDocument>,
    settings: BTreeMap<String, Map<String, Value>>,
    records: BTreeMap<String, Record>,
    claims: BTreeMap<String, Claim>,
    /// The number of databases, by prefix.
    databases: BTreeMap<String, usize>,
    /// The prefixes of contents.
    contents: BTreeSet<String>,
}

impl Remains {
    async fn of(world: &World) -> Self {
        let instances: BTreeMap<String, InstanceDocument> = typed(world, "instances").await;
        let mut settings = BTreeMap::new();
        for (id, instance) in &instances {
            let database = DbName::instance(&instance.prefix, "io.cozy.settings").unwrap();
            let document = world.document(&database, "io.cozy.settings.instance").await;
            settings.insert(id.clone(), document);
        }
        let mut databases = BTreeMap::new();
        for name in world.couch.databases_with_prefix("cozy").await.unwrap() {
            let (prefix, _) = name.split_once('/').unwrap();
            *databases.entry(prefix.to_owned()).or_default() += 1;
        }
        Self {
            instances,
            settings,
            records: typed(world, "hamlet-instances").await,
            claims: typed(world, "hamlet-claims").await,
            databases,
            contents: world.contents.lock().unwrap().keys().cloned().collect(),
        }
    }

    /// The same, once adoption has updated the copies in records: a replica that was killed may have left them
    /// outdated.
    async fn settled(world: &World) -> Self {
        for _ in 0..100 {
            let now = Self::of(world).await;
            let follows = now.records.iter().all(|(id, record)| {
                let document = now.instances.get(id);
                document.is_none_or(|document| record.following(document) == *record)
            });
            if follows {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Self::of(world).await
    }

    /// Checks that every instance is complete, and that nothing else exists.
    fn check(&self, ended: &HashMap<String, Operation>) -> Result<(), String> {
        let prefixes = self.instances.values().map(|it| it.prefix.clone());
        same("contents", &prefixes.clone().collect(), &self.contents)?;
        let databases = prefixes.map(|prefix| (prefix, DATABASES)).collect();
        same("databases", &databases, &self.databases)?;
        let ids: BTreeSet<&String> = self.instances.keys().collect();
        same("records", &ids, &self.records.keys().collect())?;
        for (id, record) in &self.records {
            check_free(record, ended).map_err(|wrong| format!("{id} {wrong}"))?;
        }
        self.check_claims(ended)
    }

    /// The names claimed for creations that were never accepted, because claims are written first, and those of
    /// creations that failed, whose claim a node brought back when nobody else had the name. Other creations can take
    /// these names, and `orphans` lists them.
    fn abandoned(&self, ended: &HashMap<String, Operation>) -> BTreeSet<String> {
        let claims = self.claims.iter().filter(|(_, claim)| {
            let operation = ended.get(&claim.operation);
            operation.is_none_or(|it| it.phase == Phase::Failed)
                && !is_adopted(claim)
                && !self.instances.contains_key(&claim.instance)
        });
        claims.map(|(name, _)| name.clone()).collect()
    }

    /// Checks that every name of every document is claimed for its instance, and no other name is.
    fn check_claims(&self, ended: &HashMap<String, Operation>) -> Result<(), String> {
        let names = |id: &String, document: &InstanceDocument| {
            let id = id.clone();
            let aliases = document.domain_aliases.iter();
            let aliases = aliases.map(|alias| (alias.clone(), alias.clone(), NameKind::Alias));
            let domain = document.domain.clone();
            let old = document.old_domain.clone();
            let redirect =
                (!old.is_empty()).then(|| (format!("redirect:{old}"), old, NameKind::Redirect));
            let all = aliases
                .chain([(domain.clone(), domain, NameKind::Domain)])
                .chain(redirect);
            all.map(move |(key, name, kind)| (key, (name, format!("{kind:?}"), id.clone())))
                .collect::<Vec<_>>()
        };
        let listed: Vec<_> = self
            .instances
            .iter()
            .flat_map(|(id, document)| names(id, document))
            .collect();
        let wanted: BTreeMap<_, _> = listed.iter().cloned().collect();
        if wanted.len() != listed.len() {
            return Err(format!("two instances have one name: {listed:#?}"));
        }
        let left = self.abandoned(ended);
        let claims = self.claims.iter().filter(|(id, _)| !left.contains(*id));
        let claimed = claims.map(|(id, claim)| {
            let kind = format!("{:?}", claim.kind);
            (
                id.clone(),
                (claim.name.clone(), kind, claim.instance.clone()),
            )
        });
        same("claims", &wanted, &claimed.collect())?;
        // No other software writes in these tests, so anything to adopt was left by Hamlet.
        let claims = self.claims.iter().filter(|(_, claim)| is_adopted(claim));
        same("adopted claims", &BTreeMap::new(), &claims.collect())
    }

    /// Checks that the state of each instance results from exactly the changes that were made.
    fn check_changes(
        &self,
        schedule: &Schedule<'_>,
        ended: &HashMap<String, Operation>,
    ) -> Result<(), String> {
        for (id, document) in &self.instances {
            let (Some(settings), Some(record)) = (self.settings.get(id), self.records.get(id))
            else {
                return Err(format!("{id} has no record"));
            };
            let state = State::of(document, settings, record)
                .map_err(|wrong| format!("{}: {wrong}", document.domain))?;
            let Some(Work::Create(creation)) = ended.get(&record.created_by).map(|it| &it.work)
            else {
                return Err("no creation made it".to_owned());
            };
            let created = State::new(&creation.spec.domain_aliases());
            let made: Vec<_> = ended
                .iter()
                .filter(|(_, it)| it.instance == *id && it.phase == Phase::Succeeded)
                .filter_map(|(id, it)| Some((id.as_str(), change_of(it)?)))
                .collect();
            if !created.comes_to(&state, &made, &schedule.ended_before) {
                return Err(format!(
                    "{} is {state:?}, and that is not what {made:#?} make of {created:?}",
                    document.domain
                ));
            }
        }
        Ok(())
    }
}

/// Whether a claim was made by an adoption.
fn is_adopted(claim: &Claim) -> bool {
    claim.operation.starts_with("adoption-")
}

/// The documents of a global database by id.
async fn typed<T: DeserializeOwned>(world: &World, database: &str) -> BTreeMap<String, T> {
    let found = world.bodies(database).await.into_iter();
    found
        .map(|found| (found.id, serde_json::from_value(found.body).unwrap()))
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, there: &T) -> Result<(), String> {
    if wanted == there {
        return Ok(());
    }
    Err(format!(
        "{what}: {wanted:#?} should be there, and {there:#?} are"
    ))
}

/// The change that an operation makes, if it is a change.
fn change_of(operation: &Operation) -> Option<&Change> {
    match &operation.work {
        Work::Change(work) => Some(&work.change),
        _ => None,
    }
}

/// Checks that no operation has the instance. A record may name an operation that has ended or was never
/// accepted: that one has nothing, but a replica that was killed may not have removed the entry.
fn check_free(record: &Record, ended: &HashMap<String, Operation>) -> Result<(), String> {
    match record.operation.as_ref().and_then(|id| ended.get(id)) {
        Some(operation) if !operation.phase.is_end() => {
            Err(format!("is taken by a running operation: {operation:#?}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks that accepted operations were done, and cancelled ones were not.
fn check_accepted(accepted: &[String], ended: &HashMap<String, Operation>) -> Result<(), String> {
    for name in accepted {
        let operation = ended
            .get(support::operation_id(name))
            .ok_or_else(|| format!("{name} was acknowledged, and is lost"))?;
        if !operation.phase.is_end() {
            return Err(format!("{name} has not ended: {operation:#?}"));
        }
        if operation.cancel_requested && operation.phase == Phase::Succeeded {
            return Err(format!("{name} was cancelled and done: {operation:#?}"));
        }
    }
    Ok(())
}

async fn destroy(healthy: &Replica, domain: &str) -> Result<(), String> {
    let asked = patiently(async || healthy.ask_to_destroy(domain).await).await;
    let name = asked.map_err(|status| format!("it cannot be destroyed: {status}"))?;
    match support::failure(&healthy.end_of(&name).await) {
        None => Ok(()),
        Some(failed) => Err(format!("it cannot be destroyed: {failed}")),
    }
}

impl Schedule<'_> {
    pub(crate) async fn check(&mut self, ended: &HashMap<String, Operation>) -> Result<(), String> {
        check_accepted(&self.accepted, ended)?;
        let mut remains = Remains::settled(self.world).await;
        // What a node brought back is removed a moment later.
        if self.world.nodes().is_some() {
            let end = Instant::now() + RETURNED;
            while remains.check(ended).is_err() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(200)).await;
                remains = Remains::settled(self.world).await;
            }
        }
        remains
            .check(ended)
            .and_then(|()| remains.check_changes(self, ended))
            .map_err(|wrong| format!("{wrong} {remains:#?} {ended:#?}"))?;
        self.check_leaves(ended).await?;
        // Operations that may still fail have had their time.
        for member in std::mem::take(&mut self.replicas) {
            member.process.kill().await;
        }
        let left = remains.abandoned(ended);
        self.check_destruction(&remains, &left).await
    }

    /// Checks that a replica with realistic timeouts finds every instance by each of its names, can destroy it,
    /// and can claim the names that no instance has.
    async fn check_destruction(
        &self,
        remains: &Remains,
        abandoned: &BTreeSet<String>,
    ) -> Result<(), String> {
        let calm = Settings {
            scan_every: Duration::from_millis(100),
            ..Settings::new(format!("calm-{}", self.seed))
        };
        let healthy = self.world.replica_with(calm).await;
        for document in remains.instances.values() {
            let domain = &document.domain;
            for name in document.domain_aliases.iter().chain([domain]) {
                let found = patiently(async || healthy.get(name).await).await;
                let found = found.map_err(|status| format!("{name} is not found: {status}"))?;
                if found.domain != *domain {
                    return Err(format!("{name} leads to {}, not to {domain}", found.domain));
                }
            }
            destroy(&healthy, domain).await?;
        }
        for domain in abandoned {
            let asked = patiently(async || healthy.ask_to_create(domain, "").await).await;
            let asked = asked.map_err(|status| format!("{domain} is lost: {status}"))?;
            if let Some(failed) = support::failure(&healthy.end_of(&asked.name).await) {
                return Err(format!("{domain} is lost: {failed}"));
            }
            destroy(&healthy, domain).await?;
        }
        let left = self.world.leftovers().await;
        if !left.is_empty() {
            return Err(format!("left after the destruction: {left:#?}"));
        }
        healthy.stop().await;
        Ok(())
    }

    /// Checks that lost races leave one live leaf.
    ///
    /// A document that existed before may have one more, if the writer was killed between losing the race and
    /// removing its leaf: no other process can tell that leaf from one of other software. Nothing reads the
    /// leaf, and it disappears with the document.
    async fn check_leaves(&self, ended: &HashMap<String, Operation>) -> Result<(), String> {
        for name in ["hamlet-claims", "instances", "hamlet-instances"] {
            let database = self.world.couch.database(&DbName::global(name).unwrap());
            for id in self.world.ids(name).await {
                let leaves = database.leaves(&id).await.unwrap();
                let mut alive: Vec<_> = leaves.iter().filter(|leaf| !leaf.deleted).collect();
                if self.world.nodes().is_some() && name == "hamlet-claims" {
                    // A claim that its owner wrote twice, once on a node that died: both are released together.
                    alive.dedup_by_key(|leaf| leaf.body.get("instance").cloned());
                }
                let alive = alive.len();
                let stopped = ended
                    .values()
                    .filter(|it| it.instance == id && change_of(it).is_some() && it.taken_over)
                    .count();
                if !(1..=1 + stopped).contains(&alive) {
                    return Err(format!("{name}/{id} has {alive} live leaves: {leaves:#?}"));
                }
            }
        }
        Ok(())
    }
}
