//! One schedule: the requests to the replicas, the faults meanwhile, and the wait for the end of all
//! operations.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use couch::DbName;
use hamlet_proto::google::longrunning::ListOperationsRequest;
use instance_svc::{
    OperationLog, Settings,
    clock::Clock,
    domain::operation::Phase,
    operations::{Operation, Work, failpoints::Failpoints},
};
use test_kit::{dice::Rng, eventually};
use tonic::{Code, Status};

use super::{
    changes::Wish,
    faults::{random_failpoints, random_rule},
    nodes::Nodes,
};
use crate::support::{self, World, process::Process};

/// The duration of a lease in these tests.
const LEASE: Duration = Duration::from_secs(1);
/// The timeout of a call to the database. It is shorter than the time by which the wait before a takeover
/// exceeds the lease.
const CALL: Duration = Duration::from_millis(800);
/// How long a replica is paused: longer than the wait before a takeover.
const STILL: Duration = Duration::from_millis(2400);
/// The timeout of a response: a replica may be paused, or as slow as it can be.
const HASTE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(2);
/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;
/// The names of a schedule: domains of instances first, then names that are only used as aliases.
const DOMAINS: u64 = 2;
const NAMES: u64 = 4;

/// Counts of what happened in schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) taken_over: u32,
    /// The number of changes made.
    pub(crate) changes: u32,
    /// The number of these that were taken over.
    pub(crate) changes_taken_over: u32,
    /// The number of changes that were undone.
    pub(crate) turned_back: u32,
}

impl Tally {
    fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Self {
        let mut tally = Self::default();
        for operation in operations {
            let change = matches!(operation.work, Work::Change(_));
            let made = change && operation.phase == Phase::Succeeded;
            tally.taken_over += u32::from(operation.taken_over);
            tally.changes += u32::from(made);
            tally.changes_taken_over += u32::from(made && operation.taken_over);
            tally.turned_back += u32::from(change && !made);
        }
        tally
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.taken_over += other.taken_over;
        self.changes += other.changes;
        self.changes_taken_over += other.changes_taken_over;
        self.turned_back += other.turned_back;
    }
}

/// A replica of a schedule.
pub(crate) struct Member {
    pub(crate) process: Process,
    clock: Clock,
    /// The time until which it is paused; may be past.
    still_until: Instant,
}

/// A schedule in progress.
pub(crate) struct Schedule<'a> {
    pub(crate) world: &'a World,
    pub(crate) seed: u64,
    dice: Rng,
    started: u32,
    pub(crate) replicas: Vec<Member>,
    /// The names of the accepted operations.
    pub(crate) accepted: Vec<String>,
    /// By the id of an operation that changes an instance: the ids of the operations that had ended when it was
    /// requested.
    pub(crate) ended_before: HashMap<String, HashSet<String>>,
    /// The numbers of the domains with an accepted creation.
    created: Vec<u64>,
    /// The number of requested changes.
    changes: u64,
    nodes: Nodes,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(world: &'a World, seed: u64) -> Self {
        Self {
            world,
            seed,
            dice: Rng::with_seed(seed),
            started: 0,
            replicas: Vec::new(),
            accepted: Vec::new(),
            ended_before: HashMap::new(),
            created: Vec::new(),
            changes: 0,
            nodes: Nodes::default(),
        }
    }

    fn domain(&self, number: u64) -> String {
        format!("s{}-{number}.example", self.seed)
    }

    async fn start(&mut self, failpoints: Failpoints) {
        self.started += 1;
        let clock = Clock::adjustable();
        let settings = Settings {
            lease: LEASE,
            scan_every: Duration::from_millis(200),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_millis(400),
            // A paused replica has resumed by then.
            look_again_after: STILL,
            clock: clock.clone(),
            ..support::hasty(&format!("{}-{}", self.seed, self.started), failpoints)
        };
        let process = self.world.process(settings, CALL).await;
        self.replicas.push(Member {
            process,
            clock,
            still_until: Instant::now(),
        });
    }

    /// Runs the schedule. Returns the counts of what happened.
    ///
    /// # Errors
    /// The first violated expectation at its end.
    pub(crate) async fn run(mut self) -> Result<Tally, String> {
        for number in 0..2 {
            self.start(random_failpoints(self.seed ^ (number << 60)))
                .await;
        }
        if self.dice.u64(..3) > 0 {
            self.begin_with_an_instance().await;
        }
        match self.world.nodes() {
            None => {
                for _ in 0..5 + self.dice.u64(..5) {
                    self.act().await;
                    self.pause(120).await;
                }
            }
            Some(nodes) => {
                for _ in 0..12 + self.dice.u64(..12) {
                    self.nodes.stir(nodes, &mut self.dice).await;
                    self.act_in_a_storm().await;
                    self.pause(1000).await;
                }
            }
        }
        // No more faults: old and new replicas drive the remaining operations to their end.
        self.world.faults().clear();
        if let Some(nodes) = self.world.nodes() {
            Nodes::calm(nodes).await;
        }
        self.start(Failpoints::default()).await;
        self.wake().await;
        let mut ended = self.settle().await?;
        if let Some(nodes) = self.world.nodes() {
            let what = format!("HAMLET_TEST_SEED={}", self.seed);
            println!("{what}: all operations have ended");
            Nodes::sync(nodes).await;
            println!("{what}: all nodes hold the same");
            ended = self.settle().await?;
        }
        self.check(&ended).await?;
        Ok(Tally::of(ended.values()))
    }

    async fn pause(&mut self, longest: u64) {
        let pause = Duration::from_millis(self.dice.u64(..longest));
        tokio::time::sleep(pause).await;
    }

    /// As [`Self::act`], with more instances that come and go: the nodes of the database have the faults.
    async fn act_in_a_storm(&mut self) {
        let replica = self.dice.usize(..2);
        let number = self.dice.u64(..DOMAINS);
        match self.dice.u64(..20) {
            0..=6 => self.create(replica, number).await,
            7..=14 => self.destroy(replica, number).await,
            15 => self.cancel(replica).await,
            16..=17 => self.change(replica).await,
            18 => self.freeze(replica),
            _ => self.kill(replica).await,
        }
    }

    async fn act(&mut self) {
        let replica = self.dice.usize(..2);
        let number = self.dice.u64(..DOMAINS);
        match self.dice.u64(..20) {
            0..=3 => self.create(replica, number).await,
            4 => self.destroy(replica, number).await,
            5 => self.cancel(replica).await,
            6..=12 => self.change(replica).await,
            13..=14 => {
                if self.world.is_embedded() {
                    let rule = random_rule(&mut self.dice);
                    self.world.faults().add(rule);
                }
            }
            15..=16 => self.freeze(replica),
            17 => self.kill(replica).await,
            _ => {
                let hours = self.dice.i64(-2..3);
                self.replicas.get(replica).unwrap().clock.jump(hours * HOUR);
            }
        }
    }

    /// Sends a request, without waiting for the response of a paused replica.
    async fn ask<T>(
        &self,
        replica: usize,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Option<T> {
        let still = self.replicas.get(replica).unwrap().still_until > Instant::now();
        let patience = if still { HASTE } else { PATIENCE };
        tokio::time::timeout(patience, call).await.ok()?.ok()
    }

    fn freeze(&mut self, replica: usize) {
        let member = self.replicas.get_mut(replica).unwrap();
        member.process.freeze(STILL);
        member.still_until = member.still_until.max(Instant::now()) + STILL;
    }

    async fn create(&mut self, replica: usize, number: u64) {
        let clients = self.replicas.get(replica).unwrap().process.clone();
        // The first two share an alias, so at most one of them wins. A creation of a domain alone claims it in
        // its head start.
        let alias = self.dice.u64(..NAMES - DOMAINS) + DOMAINS;
        let (domain, alias) = (self.domain(number), self.domain(alias));
        let alone = self.dice.u64(..3) == 0;
        let aliases: &[&str] = if alone { &[] } else { &[alias.as_str()] };
        let call = clients.ask_to_create_with(&domain, aliases, &["home"], "");
        if let Some(accepted) = self.ask(replica, call).await {
            self.accepted.push(accepted.name);
            self.created.push(number);
        }
        self.strike(replica).await;
    }

    /// Creates an instance that can be changed if no fault prevents it; the result is seen at the end.
    async fn begin_with_an_instance(&mut self) {
        let clients = self.replicas.first().unwrap().process.clone();
        let (domain, alias) = (self.domain(0), self.domain(DOMAINS));
        let aliases = [alias.as_str()];
        let call = clients.ask_to_create_with(&domain, &aliases, &["home"], "");
        let Some(accepted) = self.ask(0, call).await else {
            return;
        };
        let id = support::operation_id(&accepted.name).to_owned();
        self.accepted.push(accepted.name);
        self.created.push(0);
        for _ in 0..40 {
            if self.ended().await.contains(&id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The ids of the accepted operations that have ended, as far as the database shows.
    async fn ended(&self) -> HashSet<String> {
        let ids: Vec<&str> = self
            .accepted
            .iter()
            .map(|name| support::operation_id(name))
            .collect();
        let operations = DbName::global("hamlet-operations").unwrap();
        let operations = self.world.couch.database(&operations);
        let found: Result<HashMap<String, couch::Document<Operation>>, _> =
            operations.get_many(&ids).await;
        // Faults of the database affect every client.
        let found = found.unwrap_or_default().into_iter();
        found
            .filter(|(_, found)| found.body.phase.is_end())
            .map(|(id, _)| id)
            .collect()
    }

    async fn change(&mut self, replica: usize) {
        // Usually one that should exist.
        let mut numbers = self.created.clone();
        numbers.push(self.dice.u64(..DOMAINS));
        let number = *self.dice.choice(&numbers).unwrap();
        self.changes += 1;
        let clients = self.replicas.get(replica).unwrap().process.clone();
        let names: Vec<String> = (0..NAMES).map(|number| self.domain(number)).collect();
        let domain = self.domain(number);
        let former = self.domain(NAMES);
        let wish = Wish::draw(&mut self.dice, self.changes, &domain, &names, &former);
        let ended = self.ended().await;
        if let Some(name) = self.ask(replica, wish.ask(&clients, &domain)).await {
            let id = support::operation_id(&name).to_owned();
            self.ended_before.insert(id, ended);
            self.accepted.push(name);
        }
        self.strike(replica).await;
    }

    /// Pauses or kills a replica in the middle of its last request, or does nothing. In a storm, the nodes of the
    /// database have the faults.
    async fn strike(&mut self, replica: usize) {
        if self.world.nodes().is_some() {
            return;
        }
        let moment = Duration::from_millis(self.dice.u64(..60));
        match self.dice.u64(..6) {
            0 | 1 => {
                tokio::time::sleep(moment).await;
                self.freeze(replica);
            }
            2 => {
                tokio::time::sleep(moment).await;
                self.kill(replica).await;
            }
            _ => {}
        }
    }

    /// Kills a replica and replaces it.
    async fn kill(&mut self, replica: usize) {
        let killed = self.replicas.remove(replica);
        killed.process.kill().await;
        let seed = self.dice.u64(..);
        self.start(random_failpoints(seed)).await;
        let last = self.replicas.pop().unwrap();
        self.replicas.insert(replica, last);
    }

    async fn destroy(&mut self, replica: usize, number: u64) {
        let clients = self.replicas.get(replica).unwrap().process.clone();
        let domain = self.domain(number);
        if let Some(name) = self.ask(replica, clients.ask_to_destroy(&domain)).await {
            self.accepted.push(name);
        }
        self.strike(replica).await;
    }

    async fn cancel(&mut self, replica: usize) {
        let clients = self.replicas.get(replica).unwrap().process.clone();
        if let Some(last) = self.accepted.last().cloned() {
            self.ask(replica, clients.cancel(&last)).await;
        }
    }

    /// Waits until every replica has resumed, and until requests sent to it during the pause have begun or were
    /// given up.
    async fn wake(&self) {
        for Member { process, .. } in &self.replicas {
            let answered = patiently(async || {
                let request = ListOperationsRequest {
                    page_size: 1,
                    ..ListOperationsRequest::default()
                };
                process.operations.clone().list_operations(request).await
            });
            answered.await.unwrap();
        }
        tokio::time::sleep(CALL).await;
    }

    /// Waits until no operation of this schedule needs attention. Returns the ended operations.
    async fn settle(&self) -> Result<HashMap<String, Operation>, String> {
        let mark = format!("s{}-", self.seed);
        let log: OperationLog<Work> = OperationLog::new(&self.world.couch.clone().into()).unwrap();
        for round in 0..1200 {
            let mut open = log.open().await.unwrap();
            // Scheduled destructions, by a clock that is ahead of all others.
            let now = self.replicas.iter().map(|member| member.clock.now()).max();
            open.extend(log.due(now.unwrap()).await.unwrap());
            open.retain(|found| found.body.domain.contains(&mark));
            if open.is_empty() {
                let all = self.world.all_operations().await.into_iter();
                let mine = all.filter(|found| found.body.domain.contains(&mark));
                return Ok(mine.map(|found| (found.id, found.body)).collect());
            }
            // A later look that was scheduled by a clock far ahead would take hours.
            if round > 50 && open.iter().all(|found| found.body.phase.is_end()) {
                self.replicas.last().unwrap().clock.jump(HOUR);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("operations do not end: {:#?}", log.open().await))
    }
}

/// Repeats a call until there is a response: a paused replica loses its connections, and on a busy machine the
/// database is slow now and then.
pub(crate) async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    eventually("an answer", async || match ask().await {
        Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => Err(status),
        answer => Ok(answer),
    })
    .await
}
