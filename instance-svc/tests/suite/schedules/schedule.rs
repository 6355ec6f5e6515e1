//! One schedule: what is asked of the replicas, what goes wrong meanwhile, and how it comes to rest.

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
};
use crate::support::{self, World, process::Process};

/// How long a lease lasts here.
const LEASE: Duration = Duration::from_secs(1);
/// How long a call to the database may take: shorter than the wait before a takeover is longer than the
/// lease.
const CALL: Duration = Duration::from_millis(800);
/// How long a replica stands still: longer than a takeover waits.
const STILL: Duration = Duration::from_millis(2400);
/// How long an answer is waited for: of a replica that stands still, and of one that is slow at most.
const HASTE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(2);
/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;
/// The names of a schedule: domains of instances first, then what is their alias alone.
const DOMAINS: u64 = 2;
const NAMES: u64 = 4;

/// How much of what schedules are about was in them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) taken_over: u32,
    /// The changes that were made.
    pub(crate) changes: u32,
    /// The changes among them that were taken over.
    pub(crate) changes_taken_over: u32,
    /// The changes that were turned back.
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

/// One of the replicas of a schedule.
pub(crate) struct Member {
    pub(crate) process: Process,
    clock: Clock,
    /// It stands still, or did.
    still_until: Instant,
}

/// A schedule in the making.
pub(crate) struct Schedule<'a> {
    pub(crate) world: &'a World,
    pub(crate) seed: u64,
    dice: Rng,
    started: u32,
    pub(crate) replicas: Vec<Member>,
    /// The names of the operations that were acknowledged.
    pub(crate) accepted: Vec<String>,
    /// The ids of the operations that had ended when a change was asked for, by the id of that.
    pub(crate) ended_before: HashMap<String, HashSet<String>>,
    /// The numbers of the domains for which a creation was acknowledged.
    created: Vec<u64>,
    /// How many changes were asked for.
    changes: u64,
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
            // A replica that stood still has woken by then.
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

    /// Runs it. What was done in it.
    ///
    /// # Errors
    /// What is not as it should be at its end.
    pub(crate) async fn run(mut self) -> Result<Tally, String> {
        for number in 0..2 {
            self.start(random_failpoints(self.seed ^ (number << 60)))
                .await;
        }
        if self.dice.u64(..3) > 0 {
            self.begin_with_an_instance().await;
        }
        let acts = 5 + self.dice.u64(..5);
        for _ in 0..acts {
            self.act().await;
            let pause = Duration::from_millis(self.dice.u64(..120));
            tokio::time::sleep(pause).await;
        }
        // Enough has gone wrong: what is left is driven to its end, by replicas old and new.
        self.world.faults().clear();
        self.start(Failpoints::default()).await;
        self.wake().await;
        let ended = self.settle().await?;
        self.check(&ended).await?;
        Ok(Tally::of(ended.values()))
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

    /// Asks, and does not wait for the answer of a replica that stands still.
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
        // Two that share an alias: one of them at most. One that wants its domain alone claims it early.
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

    /// An instance that can be changed, if all goes well: what it comes to is seen at the end.
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

    /// The ids of the acknowledged operations that have ended, as far as the database tells.
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
        // What goes wrong in the database strikes whoever asks it.
        let found = found.unwrap_or_default().into_iter();
        found
            .filter(|(_, found)| found.body.phase.is_end())
            .map(|(id, _)| id)
            .collect()
    }

    async fn change(&mut self, replica: usize) {
        // Mostly one that should be there.
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

    /// Lets a replica stand still, or die, in the middle of what it was asked for just now; or nothing.
    async fn strike(&mut self, replica: usize) {
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

    /// Ends a replica wherever it is; another one takes its place.
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

    /// Waits until every replica has woken, and until what it was asked while it stood still has begun or was
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

    /// Waits until nobody has to look at any operation of this schedule any more. What they came to.
    async fn settle(&self) -> Result<HashMap<String, Operation>, String> {
        let mark = format!("s{}-", self.seed);
        let log: OperationLog<Work> = OperationLog::new(&self.world.couch.clone().into()).unwrap();
        for round in 0..1200 {
            let mut open = log.open().await.unwrap();
            // Destructions that begin by themselves, by the clock that is ahead of all others.
            let now = self.replicas.iter().map(|member| member.clock.now()).max();
            open.extend(log.due(&now.unwrap()).await.unwrap());
            open.retain(|found| found.body.domain.contains(&mark));
            if open.is_empty() {
                let all = self.world.all_operations().await.into_iter();
                let mine = all.filter(|found| found.body.domain.contains(&mark));
                return Ok(mine.map(|found| (found.id, found.body)).collect());
            }
            // What is to be looked at later by a clock that was ahead, and is gone, would take hours.
            if round > 50 && open.iter().all(|found| found.body.phase.is_end()) {
                self.replicas.last().unwrap().clock.jump(HOUR);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("they do not end: {:#?}", log.open().await))
    }
}

/// Asks until there is an answer: a replica that stood still loses its connections, and on a machine with
/// much to do the database is late now and then.
pub(crate) async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    eventually("an answer", async || match ask().await {
        Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => Err(status),
        answer => Ok(answer),
    })
    .await
}
