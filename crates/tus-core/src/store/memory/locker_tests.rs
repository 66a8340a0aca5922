use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::locker::{Lanes, MemoryLocker};
use crate::{
    model::UploadId,
    store::{Acquire, Lease, Locker, StoreError, StoreErrorKind},
};

const WAIT: Acquire = Acquire { wait: Duration::from_secs(5), preempt: false };
const PREEMPT: Acquire = Acquire { preempt: true, ..WAIT };
const ONCE: Acquire = Acquire { wait: Duration::ZERO, preempt: false };
const ASK_ONCE: Acquire = Acquire { preempt: true, ..ONCE };

fn id(text: &str) -> UploadId {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_time_is_up_and_not_before() {
    let (locker, id) = (MemoryLocker::new(), id("a"));
    let lease = locker.acquire(&id, WAIT).await.unwrap();
    let began = Instant::now();
    let refused = locker.acquire(&id, WAIT).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    assert!(refused.to_string().contains("upload a is held"), "{refused}");
    drop(lease);
    assert_eq!(locker.lanes().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_zero_needs_no_clock_and_asks_the_holder_if_told_to() {
    let (locker, id) = (MemoryLocker::new(), id("a"));
    let lease = locker.acquire(&id, ONCE).await.unwrap();
    assert!(locker.acquire(&id, ONCE).now_or_never().unwrap().is_err());
    assert!(lease.preempted().now_or_never().is_none());
    assert!(locker.acquire(&id, ASK_ONCE).now_or_never().unwrap().is_err());
    assert!(lease.preempted().now_or_never().is_some());
}

#[tokio::test]
async fn a_wait_without_end_is_a_wait() {
    let (locker, id) = (MemoryLocker::new(), id("a"));
    let lease = locker.acquire(&id, WAIT).await.unwrap();
    let forever = Acquire { wait: Duration::MAX, preempt: false };
    let mut next = locker.acquire(&id, forever);
    assert!(futures_util::poll!(&mut next).is_pending());
    lease.release().await;
    assert!(next.now_or_never().unwrap().is_ok());
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_asking() {
    let (locker, id) = (MemoryLocker::new(), id("a"));
    let lease = locker.acquire(&id, WAIT).await.unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let waiters = (0..50).map(|n| {
        let (locker, id, order) = (&locker, &id, &order);
        async move {
            let lease = locker.acquire(id, WAIT).await.unwrap();
            order.lock().unwrap().push(n);
            lease.release().await;
        }
    });
    tokio::join!(futures_util::future::join_all(waiters), lease.release());
    assert_eq!(order.into_inner().unwrap(), Vec::from_iter(0..50));
}

#[tokio::test]
async fn uploads_that_nobody_holds_take_no_memory() {
    let locker = MemoryLocker::new();
    for n in 0..1_000 {
        let lease = locker.acquire(&id(&format!("upload-{n}")), WAIT).await.unwrap();
        assert_eq!(locker.lanes().len(), 1);
        drop(lease);
    }
    assert_eq!(locker.lanes().len(), 0);
}

#[tokio::test]
async fn numbers_go_on_growing_in_a_locker_that_takes_over() {
    let id = id("a");
    let before = MemoryLocker::new().acquire(&id, WAIT).await.unwrap().fence();
    while Lanes::default().last() <= before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let after = MemoryLocker::new().acquire(&id, WAIT).await.unwrap().fence();
    assert!(after > before);
}

/// What can be done to a line of acquisitions, by number where there is one.
#[derive(Clone, Debug)]
enum Step {
    Begin {
        id: usize,
        how: Acquire,
    },
    Poll(usize),
    /// Drops an acquisition, or the lease that came of it.
    Drop(usize),
    Release(usize),
    TimePasses,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how =
        prop_oneof![4 => Just(WAIT), 4 => Just(PREEMPT), 1 => Just(ONCE), 1 => Just(ASK_ONCE)];
    let step = prop_oneof![
        3 => (0..2_usize, how).prop_map(|(id, how)| Step::Begin { id, how }),
        6 => any::<prop::sample::Index>().prop_map(|n| Step::Poll(n.index(1 << 16))),
        2 => any::<prop::sample::Index>().prop_map(|n| Step::Drop(n.index(1 << 16))),
        2 => any::<prop::sample::Index>().prop_map(|n| Step::Release(n.index(1 << 16))),
        1 => Just(Step::TimePasses),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Lease>, StoreError>> + Send + 'a>>;

enum Stage<'a> {
    Fresh(Acquiring<'a>),
    Waiting(Acquiring<'a>),
    Held(Box<dyn Lease>),
}

/// One acquisition, beside what must be true of it.
struct Actor<'a> {
    number: usize,
    id: usize,
    how: Acquire,
    stage: Stage<'a>,
    woken: Arc<Flag>,
    expired: bool,
    told: bool,
}

/// The lines as they should be: the first of each holds, or may.
#[derive(Default)]
struct Model<'a> {
    lines: [VecDeque<usize>; 2],
    actors: Vec<Actor<'a>>,
    last_fence: [u64; 2],
}

impl<'a> Model<'a> {
    fn first(&self, id: usize) -> Option<usize> {
        self.lines[id].front().copied()
    }

    fn actor(&mut self, number: usize) -> &mut Actor<'a> {
        self.actors.iter_mut().find(|actor| actor.number == number).unwrap()
    }

    /// Takes an actor out, wherever it stands; the next one may then go on.
    fn leave(&mut self, at: usize) -> Actor<'a> {
        let gone = self.actors.remove(at);
        let line = &mut self.lines[gone.id];
        let held = line.front() == Some(&gone.number);
        line.retain(|number| *number != gone.number);
        if let (true, Some(next)) = (held, self.first(gone.id)) {
            let waiting = self.lines[gone.id].clone();
            let asks = |actor: &Actor<'_>| {
                actor.how.preempt && actor.number != next && waiting.contains(&actor.number)
            };
            let told = self.actors.iter().any(asks);
            self.actor(next).told = told;
        }
        gone
    }

    fn poll(&mut self, at: usize) {
        let Actor { number, id, how, .. } = self.actors[at];
        let first = self.first(id);
        let enters = matches!(self.actors[at].stage, Stage::Fresh(_));
        if let (true, true, Some(holder)) = (enters, how.preempt, first) {
            self.actor(holder).told = true;
        }
        let actor = &mut self.actors[at];
        let (Stage::Fresh(acquiring) | Stage::Waiting(acquiring)) = &mut actor.stage else {
            return;
        };
        actor.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(actor.woken.clone());
        let polled = acquiring.as_mut().poll(&mut Context::from_waker(&waker));
        if enters && (first.is_none() || how.wait > Duration::ZERO) {
            self.lines[id].push_back(number);
        }
        let mine = self.first(id) == Some(number);
        let actor = &mut self.actors[at];
        match polled {
            Poll::Ready(Ok(lease)) => {
                assert!(mine, "granted out of turn");
                assert!(lease.fence() > self.last_fence[id], "a number that does not grow");
                self.last_fence[id] = lease.fence();
                actor.stage = Stage::Held(lease);
            }
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::Conflict);
                assert!(!mine, "refused in its turn");
                assert!(actor.expired || how.wait.is_zero(), "refused before its time");
                self.leave(at);
            }
            Poll::Pending => {
                assert!(!mine, "waits though it is its turn");
                assert!(!actor.expired, "waits though its time is up");
                let stage = std::mem::replace(&mut actor.stage, Stage::Fresh(Box::pin(never())));
                if let Stage::Fresh(acquiring) | Stage::Waiting(acquiring) = stage {
                    actor.stage = Stage::Waiting(acquiring);
                }
            }
        }
    }

    fn check(&self, locker: &MemoryLocker) {
        let busy = self.lines.iter().filter(|line| !line.is_empty()).count();
        assert_eq!(locker.lanes().len(), busy, "entries for ids that are idle");
        for actor in &self.actors {
            let mine = self.first(actor.id) == Some(actor.number);
            match &actor.stage {
                Stage::Held(lease) => {
                    assert!(mine, "two hold it");
                    let told = lease.preempted().now_or_never().is_some();
                    assert_eq!(told, actor.told, "whether the holder is told");
                }
                Stage::Waiting(_) => {
                    let woken = actor.woken.0.load(Ordering::SeqCst);
                    assert!(woken || !(mine || actor.expired), "a wake-up was lost");
                }
                Stage::Fresh(_) => {}
            }
        }
    }
}

async fn never() -> Result<Box<dyn Lease>, StoreError> {
    std::future::pending().await
}

fn explore(steps: Vec<Step>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let locker = MemoryLocker::new();
    let ids = [id("a"), id("b")];
    let mut model = Model::default();
    for (number, step) in steps.into_iter().enumerate() {
        let count = model.actors.len();
        match step {
            Step::Begin { id, how } => model.actors.push(Actor {
                number,
                id,
                how,
                stage: Stage::Fresh(locker.acquire(&ids[id], how)),
                woken: Arc::default(),
                expired: false,
                told: false,
            }),
            Step::TimePasses => {
                runtime.block_on(advance(WAIT.wait + Duration::from_millis(1)));
                for actor in &mut model.actors {
                    actor.expired |= matches!(actor.stage, Stage::Waiting(_));
                }
            }
            Step::Poll(_) | Step::Drop(_) | Step::Release(_) if count == 0 => {}
            Step::Poll(n) => model.poll(n % count),
            Step::Drop(n) => drop(model.leave(n % count)),
            Step::Release(n) => {
                if matches!(model.actors[n % count].stage, Stage::Held(_)) {
                    let Stage::Held(lease) = model.leave(n % count).stage else { unreachable!() };
                    lease.release().now_or_never().unwrap();
                }
            }
        }
        model.check(&locker);
    }
    model.actors.clear();
    assert_eq!(locker.lanes().len(), 0, "something is still held when all have left");
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(4_096), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_order_of_steps_loses_the_lock_or_a_wake_up(steps in steps()) {
        explore(steps);
    }
}

/// Tasks on several threads that hold, give up, are cancelled, and are asked to let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_exclude_each_other_and_all_get_their_turn() {
    const TASKS: usize = 64;
    const ROUNDS: usize = 200;
    let locker = MemoryLocker::new();
    let held: Arc<[AtomicBool; 3]> = Arc::default();
    let last: Arc<[AtomicU64; 3]> = Arc::default();
    let grants = Arc::new(AtomicUsize::new(0));
    let tasks = (0..TASKS).map(|task| {
        let (locker, held, last, grants) =
            (locker.clone(), held.clone(), last.clone(), grants.clone());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let n = (task * 31 + round * 17) % 3;
                let id = id(&format!("upload-{n}"));
                let preempt = (task + round) % 2 == 0;
                let wait = Duration::from_secs(60);
                let acquire = locker.acquire(&id, Acquire { wait, preempt });
                let lease = match (task + round) % 5 {
                    // Dropped after a few polls, wherever those have brought it.
                    0 => {
                        let mut acquire = acquire;
                        for _ in 0..round % 4 {
                            if futures_util::poll!(&mut acquire).is_ready() {
                                break;
                            }
                            tokio::task::yield_now().await;
                        }
                        continue;
                    }
                    1 => match locker.acquire(&id, ONCE).await {
                        Ok(lease) => lease,
                        Err(_) => continue,
                    },
                    _ => acquire.await.unwrap(),
                };
                assert!(!held[n].swap(true, Ordering::SeqCst), "two hold it");
                assert!(last[n].swap(lease.fence(), Ordering::SeqCst) < lease.fence());
                if round % 3 == 0 {
                    let asked = Duration::from_micros(200);
                    let _either_way = tokio::time::timeout(asked, lease.preempted()).await;
                } else {
                    tokio::task::yield_now().await;
                }
                grants.fetch_add(1, Ordering::SeqCst);
                held[n].store(false, Ordering::SeqCst);
                match round % 2 {
                    0 => lease.release().await,
                    _ => drop(lease),
                }
            }
        })
    });
    for task in Vec::from_iter(tasks) {
        task.await.unwrap();
    }
    assert!(grants.load(Ordering::SeqCst) >= TASKS * ROUNDS * 3 / 5);
    assert_eq!(locker.lanes().len(), 0);
}
