//! The locker of tus-core, its own source, under the orders in which threads can run: a scheduler
//! decides at every mutex who goes on, and says which schedule it was when something breaks.
//!
//! `TUS_SCHEDULES` says how many are tried, `TUS_SEED` which. A schedule that failed is printed;
//! `shuttle::replay` repeats it.

#![allow(
    clippy::duplicate_mod,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that cannot go on panics; the locker's source is part of this crate, twice"
)]

#[path = "locker/deaf.rs"]
mod deaf;
#[path = "locker/memory.rs"]
mod memory;

/// Where the locker's source looks for its traits.
mod store {
    pub use tus_core::store::{Acquire, Lease, Locker, StoreError, StoreErrorKind};
}

/// Where it looks for its nouns.
mod model {
    pub use tus_core::{Timestamp, UploadId};
}

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use model::UploadId;
use shuttle::{
    Config, FailurePersistence, Runner,
    future::{block_on, spawn, yield_now},
    rand::{RngCore as _, thread_rng},
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler},
};
use store::{Acquire, Lease, Locker, StoreErrorKind};
use tus_tests::scale::{scale, seed};

/// How many lines a locker has open.
trait Tidy: Locker + Default + Clone {
    fn lines(&self) -> usize;
}

const FOR_EVER: Duration = Duration::MAX;
const A_WHILE: Duration = Duration::from_secs(5);

/// A choice of the scheduler's, so that it is part of the schedule.
fn draw(choices: usize) -> usize {
    usize::try_from(thread_rng().next_u64() % choices as u64).unwrap()
}

fn id(number: usize) -> UploadId {
    format!("upload-{number}").parse().unwrap()
}

/// Who holds an upload, as it should be. A plain mutex: it must not be a moment for the scheduler.
#[derive(Debug, Default)]
struct Held {
    by: Option<u64>,
    last: u64,
}

/// An upload that can be held.
#[derive(Clone)]
struct Upload<L> {
    locker: L,
    id: UploadId,
    held: Arc<Mutex<Held>>,
}

impl<L: Tidy> Upload<L> {
    fn new(locker: &L, number: usize) -> Self {
        Self { locker: locker.clone(), id: id(number), held: Arc::default() }
    }

    /// Takes the lease, and checks what every lease must be.
    async fn take(&self, wait: Duration, preempt: bool) -> Option<Taken> {
        let lease = match self.locker.acquire(&self.id, Acquire { wait, preempt }).await {
            Ok(lease) => lease,
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Conflict);
                assert_ne!(wait, FOR_EVER, "refused though it would have waited");
                return None;
            }
        };
        let mut held = self.held.lock().unwrap();
        let fence = lease.fence();
        assert_eq!(held.by, None, "{fence} is granted beside it");
        // The number is that of asking, so this is also the order of service.
        assert!(held.last < fence, "{fence} is granted after {}", held.last);
        *held = Held { by: Some(fence), last: fence };
        drop(held);
        Some(Taken { lease: Some(lease), held: self.held.clone() })
    }
}

/// A lease, watched until it is let go.
struct Taken {
    lease: Option<Box<dyn Lease>>,
    held: Arc<Mutex<Held>>,
}

impl Taken {
    async fn is_wanted(&self) {
        self.lease.as_ref().unwrap().preempted().await;
    }

    async fn release(mut self) {
        self.note();
        self.lease.take().unwrap().release().await;
    }

    fn note(&self) {
        let mut held = self.held.lock().unwrap();
        assert_eq!(held.by, self.lease.as_ref().map(|lease| lease.fence()), "held by another one");
        held.by = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.lease.is_some() && !std::thread::panicking() {
            self.note();
        }
    }
}

/// Tasks that want one of two uploads, for a while or for ever, with or without asking its holder;
/// some are cancelled wherever they are. In the end everybody can have everything.
fn everybody_gets_a_turn<L: Tidy>() {
    let locker = L::default();
    let uploads = [Upload::new(&locker, 0), Upload::new(&locker, 1)];
    let tasks = Vec::from_iter((0..2 + draw(3)).map(|_| {
        let upload = uploads[usize::from(draw(4) == 0)].clone();
        let (wait, preempt) = ([FOR_EVER, A_WHILE, Duration::ZERO][draw(3)], draw(2) == 0);
        spawn(async move {
            for _ in 0..=draw(2) {
                let Some(taken) = upload.take(wait, preempt).await else { continue };
                for _ in 0..draw(3) {
                    yield_now().await;
                }
                match draw(2) {
                    0 => taken.release().await,
                    _ => drop(taken),
                }
            }
        })
    }));
    for task in &tasks {
        if draw(3) == 0 {
            task.abort();
        }
    }
    block_on(async {
        for upload in &uploads {
            let last = upload.take(FOR_EVER, draw(2) == 0).await;
            last.expect("a wait without end").release().await;
        }
        for task in tasks {
            // Cancelled or not; what went wrong in it is a panic.
            let _cancelled = task.await;
        }
    });
    assert_eq!(locker.lines(), 0, "something is kept for uploads that nobody holds");
}

/// Holders that never let go by themselves: each must hear that somebody else wants the upload,
/// however many stand in the line and whenever it begins to listen.
fn whoever_is_in_the_way_hears_it<L: Tidy>() {
    let locker = L::default();
    let upload = Upload::new(&locker, 0);
    let done = Arc::new(AtomicUsize::new(0));
    let holders = 2 + draw(2);
    let tasks = Vec::from_iter((0..holders).map(|_| {
        let (upload, done) = (upload.clone(), done.clone());
        spawn(async move {
            let preempt = draw(2) == 0;
            let taken = upload.take(FOR_EVER, preempt).await.expect("a wait without end");
            for _ in 0..draw(3) {
                yield_now().await;
            }
            if draw(3) == 0 {
                // One that was dropped in mid-listening must hear it the next time.
                let listening = taken.is_wanted();
                let _nothing_yet = futures_util::poll!(Box::pin(listening));
            }
            taken.is_wanted().await;
            done.fetch_add(1, Ordering::SeqCst);
            taken.release().await;
        })
    }));
    block_on(async {
        // Somebody who gives up may have asked, too.
        let (another, wait) = (upload.clone(), [A_WHILE, Duration::ZERO][draw(2)]);
        let gives_up = spawn(async move {
            if let Some(taken) = another.take(wait, true).await {
                taken.release().await;
            }
        });
        while done.load(Ordering::SeqCst) < holders {
            upload.take(FOR_EVER, true).await.expect("a wait without end").release().await;
            yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        gives_up.await.unwrap();
    });
    assert_eq!(locker.lines(), 0, "something is kept for uploads that nobody holds");
}

/// One holds, another one asks it to let go.
fn one_holds_and_one_asks<L: Tidy>() {
    let locker = L::default();
    let upload = Upload::new(&locker, 0);
    let asking = upload.clone();
    let task = spawn(async move {
        asking.take(FOR_EVER, true).await.expect("a wait without end").release().await;
    });
    block_on(async {
        upload.take(FOR_EVER, false).await.expect("a wait without end").release().await;
        task.await.unwrap();
    });
    assert_eq!(locker.lines(), 0, "something is kept for uploads that nobody holds");
}

/// One that waits is cancelled, perhaps in the moment in which its turn comes.
fn one_waits_and_is_cancelled<L: Tidy>() {
    let locker = L::default();
    let upload = Upload::new(&locker, 0);
    let waiting = upload.clone();
    block_on(async {
        let taken = upload.take(FOR_EVER, false).await.expect("a wait without end");
        let task = spawn(async move {
            waiting.take(FOR_EVER, false).await.expect("a wait without end").release().await;
        });
        task.abort();
        drop(taken);
        let _cancelled = task.await;
        upload.take(Duration::ZERO, false).await.expect("nobody is left").release().await;
    });
    assert_eq!(locker.lines(), 0, "something is kept for uploads that nobody holds");
}

/// The time of one that waits runs out, perhaps in the moment in which its turn comes.
fn one_waits_and_gives_up<L: Tidy>() {
    let locker = L::default();
    let upload = Upload::new(&locker, 0);
    let waiting = upload.clone();
    block_on(async {
        let taken = upload.take(FOR_EVER, false).await.expect("a wait without end");
        let task = spawn(async move {
            if let Some(taken) = waiting.take(A_WHILE, false).await {
                taken.release().await;
            }
        });
        drop(taken);
        task.await.unwrap();
        upload.take(Duration::ZERO, false).await.expect("nobody is left").release().await;
    });
    assert_eq!(locker.lines(), 0, "something is kept for uploads that nobody holds");
}

fn config(persistence: &FailurePersistence) -> Config {
    let mut config = Config::new();
    config.failure_persistence = persistence.clone();
    // A schedule takes some hundred steps; one that takes so many goes round in circles.
    config.max_steps = shuttle::MaxSteps::FailAfter(50_000);
    config.silence_warnings = true;
    config
}

/// Tries so many schedules, half of them by chance, half of them with few changes of priority,
/// which reach deeper.
fn explore(
    schedules: u64,
    seed: u64,
    persistence: &FailurePersistence,
    scenario: fn(),
) -> Result<usize, String> {
    let half = usize::try_from(schedules.div_ceil(2)).unwrap();
    let random = RandomScheduler::new_from_seed(seed, half);
    let changing = PctScheduler::new_from_seed(seed, 4, half);
    let run = || {
        let by_chance = Runner::new(random, config(persistence)).run(scenario);
        by_chance + Runner::new(changing, config(persistence)).run(scenario)
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

fn holds(name: &str, scenario: fn()) {
    let began = Instant::now();
    let schedules = scale("TUS_SCHEDULES", 2_000, 100_000);
    match explore(schedules, seed(), &FailurePersistence::Print, scenario) {
        Ok(tried) => println!("{name}: {tried} schedules in {:.1?}", began.elapsed()),
        Err(said) => panic!("{name}: {said}"),
    }
}

#[test]
fn everybody_who_waits_gets_a_turn_whatever_the_order() {
    holds("turns", everybody_gets_a_turn::<memory::MemoryLocker>);
}

#[test]
fn a_holder_that_is_in_the_way_hears_it_whatever_the_order() {
    holds("preemption", whoever_is_in_the_way_hears_it::<memory::MemoryLocker>);
}

/// Two at one upload are so few that no schedule of theirs needs to be left to chance.
#[test]
fn every_single_schedule_of_two_holds() {
    const MOST: usize = 500_000;
    let scenarios: [(&str, fn()); 3] = [
        ("one asks", one_holds_and_one_asks::<memory::MemoryLocker>),
        ("one is cancelled", one_waits_and_is_cancelled::<memory::MemoryLocker>),
        ("one gives up", one_waits_and_gives_up::<memory::MemoryLocker>),
    ];
    for (name, scenario) in scenarios {
        let began = Instant::now();
        let scheduler = DfsScheduler::new(Some(MOST), false);
        let tried = Runner::new(scheduler, config(&FailurePersistence::Print)).run(scenario);
        assert!(tried < MOST, "{name}: these are not all");
        println!("{name}: all {tried} schedules in {:.1?}", began.elapsed());
    }
}

/// If it did not, the tests above would prove nothing.
#[test]
fn a_wake_up_that_can_be_missed_is_found() {
    let scenarios: [(&str, fn()); 2] = [
        ("turns", everybody_gets_a_turn::<deaf::MemoryLocker>),
        ("preemption", whoever_is_in_the_way_hears_it::<deaf::MemoryLocker>),
    ];
    for (name, scenario) in scenarios {
        let found = explore(2_000, 1, &FailurePersistence::None, scenario);
        let said = found.expect_err("a wake-up that can be missed was not");
        assert!(said.contains("deadlock"), "{name}: {said}");
    }
}
