//! Seeded random schedules of faults over two replicas: whatever happens, each instance ends whole or absent.
//!
//! The database fails before and after it has done what it was asked, drops answers, is slow, and answers
//! that a race was lost; replicas are killed, stand still for longer than their leases and wake again; their
//! clocks jump; steps fail, run twice, lose their owner. Meanwhile instances are created, cancelled,
//! destroyed.
//!
//! `HAMLET_TEST_SCHEDULES` says how many (a few by default), `HAMLET_TEST_SEED` runs one again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and its seed has to be known"
)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use couch::DbName;
use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use hamlet_proto::{
    google::longrunning::ListOperationsRequest, hamlet::instance::v1::GetInstanceRequest,
};
use instance_svc::{
    Settings,
    clock::Clock,
    domain::operation::{Operation, Phase},
    operations::failpoints::{Failpoints, Order},
};
use support::{World, process::Process};
use tonic::{Code, Status};

/// How many schedules run when nobody says.
const SCHEDULES: u64 = 24;
/// How many run at once: they mostly wait.
const AT_ONCE: usize = 24;
/// How long a lease lasts here.
const LEASE: Duration = Duration::from_secs(1);
/// How long a call to the database may take: shorter than the wait before a takeover is longer than the
/// lease.
const CALL: Duration = Duration::from_millis(800);
/// How long a replica stands still: longer than a takeover waits.
const STILL: Duration = Duration::from_millis(2400);
/// How many databases an instance has.
const DATABASES: usize = 16;

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and the same everywhere.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = usize::try_from(self.throw(choices.len() as u64)).unwrap();
        choices.get(at).unwrap()
    }

    fn millis(&mut self, upto: u64) -> Duration {
        Duration::from_millis(self.throw(upto))
    }
}

/// Faults of steps at random moments; fewer with time, so that every schedule ends.
fn random_failpoints(seed: u64) -> Failpoints {
    let dice = Arc::new(Mutex::new(Dice(seed)));
    let left = Arc::new(AtomicU32::new(4));
    Failpoints::new(move |_, _| {
        let thrown = dice.lock().unwrap().throw(40);
        let order = match thrown {
            0 => Order::Fail,
            1 => Order::Twice,
            2 => Order::Die,
            3 => Order::FailForGood,
            _ => return Order::Go,
        };
        let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if spent.is_ok() { order } else { Order::Go }
    })
}

/// A fault of the database.
fn random_rule(dice: &mut Dice) -> Rule {
    let skip = u32::try_from(dice.throw(12)).unwrap();
    let race = |ours| Fault::Race(Race { ours, other: None });
    // Writes of one document: a race is made of nothing else.
    let documents = *dice.one_of(&[
        "hamlet-claims/",
        "hamlet-operations/",
        "hamlet-instances/",
        "instances/",
    ]);
    let anything = *dice.one_of(&[
        "",
        "cozy",
        "hamlet-operations",
        "hamlet-claims",
        "_bulk_docs",
    ]);
    let rule = match dice.throw(7) {
        0 => Rule::once("PUT", documents, race(Side::Loses)),
        1 => Rule::once("PUT", documents, race(Side::Wins)),
        2 => Rule::once("", anything, Fault::Fail),
        3 => Rule::once("", anything, Fault::DropBefore),
        4 | 5 => Rule::once("", anything, Fault::DropAfter),
        _ => Rule::once("", anything, Fault::Delay(dice.millis(400))),
    };
    let method = rule.method.clone().filter(|method| !method.is_empty());
    Rule { method, ..rule }.after(skip)
}

/// A schedule in the making.
struct Schedule<'a> {
    world: &'a World,
    seed: u64,
    dice: Dice,
    started: u32,
    replicas: Vec<(Process, Clock)>,
    /// The operations that were acknowledged.
    accepted: Vec<String>,
}

impl<'a> Schedule<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        Self {
            world,
            seed,
            dice: Dice(seed),
            started: 0,
            replicas: Vec::new(),
            accepted: Vec::new(),
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
        self.replicas.push((process, clock));
    }

    async fn run(mut self) -> Result<u64, String> {
        for number in 0..2 {
            self.start(random_failpoints(self.seed ^ (number << 60)))
                .await;
        }
        let acts = 4 + self.dice.throw(5);
        for _ in 0..acts {
            self.act().await;
            let pause = self.dice.millis(120);
            tokio::time::sleep(pause).await;
        }
        // Enough has gone wrong: what is left is driven to its end, by replicas old and new.
        self.world.faults().clear();
        self.start(Failpoints::default()).await;
        self.wake().await;
        let ended = self.settle().await?;
        self.check(&ended).await?;
        Ok(ended
            .values()
            .filter(|operation| operation.taken_over)
            .count() as u64)
    }

    async fn act(&mut self) {
        let replica = usize::try_from(self.dice.throw(2)).unwrap();
        let number = self.dice.throw(2);
        match self.dice.throw(14) {
            0..=4 => self.create(replica, number).await,
            5 => self.destroy(replica, number).await,
            6 => self.cancel(replica).await,
            7..=8 => {
                if self.world.is_embedded() {
                    let rule = random_rule(&mut self.dice);
                    self.world.faults().add(rule);
                }
            }
            9..=10 => self.replicas.get(replica).unwrap().0.freeze(STILL),
            11 => self.kill(replica).await,
            _ => {
                let hours = i64::try_from(self.dice.throw(5)).unwrap() - 2;
                self.replicas
                    .get(replica)
                    .unwrap()
                    .1
                    .jump(hours * 3_600_000);
            }
        }
    }

    /// Asks, and does not wait long for an answer: the replica may stand still.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(300), call)
            .await
            .ok()?
            .ok()
    }

    async fn create(&mut self, replica: usize, number: u64) {
        let clients = self.replicas.get(replica).unwrap().0.clone();
        let (domain, alias) = (self.domain(number), self.domain(2));
        // Two that share an alias: one of them at most.
        let aliases = [alias.as_str()];
        let call = clients.ask_to_create_with(&domain, &aliases, &["home"], "");
        if let Some(accepted) = self.ask(call).await {
            self.accepted.push(accepted.name);
        }
        self.strike(replica).await;
    }

    /// Lets a replica stand still, or die, in the middle of what it was asked for just now; or nothing.
    async fn strike(&mut self, replica: usize) {
        let moment = self.dice.millis(60);
        match self.dice.throw(6) {
            0 | 1 => {
                tokio::time::sleep(moment).await;
                self.replicas.get(replica).unwrap().0.freeze(STILL);
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
        let (process, _) = self.replicas.remove(replica);
        process.kill().await;
        let seed = self.dice.throw(u64::MAX);
        self.start(random_failpoints(seed)).await;
        let last = self.replicas.pop().unwrap();
        self.replicas.insert(replica, last);
    }

    async fn destroy(&mut self, replica: usize, number: u64) {
        let clients = self.replicas.get(replica).unwrap().0.clone();
        let domain = self.domain(number);
        if let Some(name) = self.ask(clients.ask_to_destroy(&domain)).await {
            self.accepted.push(name);
        }
        self.strike(replica).await;
    }

    async fn cancel(&mut self, replica: usize) {
        let clients = self.replicas.get(replica).unwrap().0.clone();
        if let Some(last) = self.accepted.last().cloned() {
            self.ask(clients.cancel(&last)).await;
        }
    }

    /// Waits until every replica has woken, and until what it was asked while it stood still has begun or was
    /// given up.
    async fn wake(&self) {
        for (process, _) in &self.replicas {
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
        let store = instance_svc::Store::new(self.world.couch.clone().into()).unwrap();
        for _ in 0..1200 {
            let open = store.open_operations().await.unwrap();
            let open = open.iter().any(|found| found.body.domain.contains(&mark));
            if !open {
                let all = self.world.all_operations().await.into_iter();
                let mine = all.filter(|found| found.body.domain.contains(&mark));
                return Ok(mine.map(|found| (found.id, found.body)).collect());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!(
            "they do not end: {:#?}",
            store.open_operations().await
        ))
    }

    async fn check(&mut self, ended: &HashMap<String, Operation>) -> Result<(), String> {
        for name in &self.accepted {
            let id = name.strip_prefix("operations/").unwrap();
            let operation = ended
                .get(id)
                .ok_or_else(|| format!("{name} was acknowledged, and is lost"))?;
            if !operation.phase.is_end() {
                return Err(format!("{name} has not ended: {operation:#?}"));
            }
            if operation.cancel_requested && operation.phase == Phase::Succeeded {
                return Err(format!(
                    "{name} was cancelled and published: {operation:#?}"
                ));
            }
        }
        // One with all the patience of a real one looks and cleans up.
        let calm = Settings {
            scan_every: Duration::from_millis(100),
            ..Settings::new(format!("calm-{}", self.seed))
        };
        let healthy = self.world.replica_with(calm).await;
        let mut expected = 0;
        for number in 0..2 {
            let domain = self.domain(number);
            let shown = patiently(async || {
                let request = GetInstanceRequest {
                    name: format!("instances/{domain}"),
                };
                healthy.instances.clone().get_instance(request).await
            });
            match shown.await {
                Ok(instance) => {
                    let prefix = format!("{}/", instance.into_inner().prefix);
                    let databases = self.world.couch.databases_with_prefix(&prefix).await;
                    let count = databases.unwrap().len();
                    if count != DATABASES {
                        return Err(format!("{domain} is not whole: {count} databases"));
                    }
                    expected += 1;
                }
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(format!("{domain}: {status}")),
            }
        }
        let left = self.world.leftovers().await;
        // Databases, two claims, an instance, a record, contents.
        if left.len() != expected * (DATABASES + 5) {
            return Err(format!(
                "{expected} instances, and this is there: {left:#?} {ended:#?}"
            ));
        }
        self.check_leaves().await?;
        // Those who may still fail have had their time.
        for (process, _) in std::mem::take(&mut self.replicas) {
            process.kill().await;
        }
        for number in 0..2 {
            let domain = self.domain(number);
            match patiently(async || healthy.ask_to_destroy(&domain).await).await {
                Ok(name) => {
                    let destroyed = healthy.end_of(&name).await;
                    if let Some(failed) = support::failure(&destroyed) {
                        return Err(format!("it cannot be destroyed: {failed}"));
                    }
                }
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(format!("it cannot be destroyed: {status}")),
            }
        }
        let left = self.world.leftovers().await;
        if !left.is_empty() {
            return Err(format!("left after the destruction: {left:#?}"));
        }
        healthy.stop().await;
        Ok(())
    }

    /// Lost races leave one live leaf.
    async fn check_leaves(&self) -> Result<(), String> {
        for name in ["hamlet-claims", "instances", "hamlet-instances"] {
            let database = self.world.couch.database(&DbName::global(name).unwrap());
            for id in self.world.ids(name).await {
                let leaves = database.leaves(&id).await.unwrap();
                let alive = leaves.iter().filter(|leaf| !leaf.deleted).count();
                if alive != 1 {
                    return Err(format!("{name}/{id} has {alive} live leaves: {leaves:#?}"));
                }
            }
        }
        Ok(())
    }
}

/// Asks until there is an answer: a replica that stood still loses its connections, and on a machine with
/// much to do the database is late now and then.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    loop {
        match ask().await {
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

/// A world in which the first replica has prepared the database.
async fn prepared() -> World {
    let world = World::new().await;
    let store = instance_svc::Store::new(world.couch.clone().into()).unwrap();
    while let Err(error) = store.prepare().await {
        assert!(error.is_retryable(), "{error}");
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_ends_whole_or_absent() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let (first, count) = match number("HAMLET_TEST_SEED") {
        Some(seed) => (seed, 1),
        None => (
            u64::from(std::process::id()) << 20,
            number("HAMLET_TEST_SCHEDULES").unwrap_or(SCHEDULES),
        ),
    };
    let next = AtomicU64::new(first);
    let takeovers = AtomicU64::new(0);
    let worker = async || {
        let mut failures = Vec::new();
        let mut world = prepared().await;
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count {
                return failures;
            }
            match Schedule::new(&world, seed).run().await {
                Ok(taken_over) => {
                    takeovers.fetch_add(taken_over, Ordering::SeqCst);
                }
                Err(wrong) => {
                    println!("HAMLET_TEST_SEED={seed} shows: {wrong}");
                    failures.push(seed);
                    // What went wrong here is not to be held against the next one.
                    world = prepared().await;
                }
            }
        }
    };
    let is_real = std::env::var("HAMLET_TEST_COUCHDB_URL").is_ok_and(|url| !url.is_empty());
    let workers = if is_real { 1 } else { AT_ONCE };
    let failures = futures::future::join_all((0..workers).map(|_| worker())).await;
    let failures = failures.concat();
    assert!(
        failures.is_empty(),
        "these went wrong, run one again with HAMLET_TEST_SEED=…: {failures:?}"
    );
    let takeovers = takeovers.load(Ordering::SeqCst);
    assert!(
        count < SCHEDULES || takeovers > 0,
        "nothing was taken over in {count} schedules"
    );
    println!("{count} schedules, {takeovers} operations taken over");
}
