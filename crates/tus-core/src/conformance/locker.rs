use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::{Case, promises::locker as promise, samples::id};
use crate::{
    model::UploadId,
    store::{Acquire, Lease, Locker, StoreError, StoreErrorKind},
};

/// Long enough for anything that was promised to happen.
const LONG: Duration = Duration::from_secs(60);
/// Long enough for a waiter to have begun to wait, and for what must not happen to happen.
const SHORT: Duration = Duration::from_millis(100);

/// Tries every promise of [`Locker`] on lockers that `make` makes, each with nothing held.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn locker<L: Locker>(make: impl AsyncFn() -> L) {
    macro_rules! run {
        ($($case:ident: $promise:expr,)+) => {$(
            let case = Case { suite: "locker", name: stringify!($case), promise: $promise };
            case.run(async { $case(Rig { case, locker: Arc::new(make().await) }).await }).await;
        )+};
    }
    run! {
        what_is_held_is_not_granted: promise::ONE,
        uploads_do_not_wait_for_each_other: promise::WAIT,
        waiting_ends_in_time: promise::WAIT,
        a_wait_of_zero_tries_once: promise::WAIT,
        a_release_hands_over: promise::ENDS,
        a_drop_hands_over: promise::ENDS,
        waiting_alone_takes_nothing: promise::ENDS,
        of_many_one_holds_it_at_a_time: promise::ONE,
        the_holder_is_told_that_it_is_wanted: promise::PREEMPTED,
        a_holder_that_listens_late_is_told: promise::PREEMPTED,
        the_next_holder_is_told_of_those_who_wait: promise::PREEMPTED,
        nobody_is_told_without_need: promise::PREEMPTED,
        numbers_grow: promise::FENCE,
        numbers_grow_among_many: promise::FENCE,
        waiters_that_give_up_are_passed_over: promise::ENDS,
    }
}

struct Rig<L> {
    case: Case,
    locker: Arc<L>,
}

impl<L> Clone for Rig<L> {
    fn clone(&self) -> Self {
        Self { locker: self.locker.clone(), ..*self }
    }
}

type Waiter = JoinHandle<Box<dyn Lease>>;

impl<L: Locker> Rig<L> {
    async fn acquire(&self, id: &UploadId, preempt: bool) -> Box<dyn Lease> {
        let lease = self.locker.acquire(id, Acquire { wait: LONG, preempt }).await;
        self.case.done(lease, "acquire")
    }

    fn waiter(&self, id: &UploadId, preempt: bool) -> Waiter {
        let (rig, id) = (self.clone(), id.clone());
        tokio::spawn(async move { rig.acquire(&id, preempt).await })
    }

    /// Tries for a short while; fails if that takes long.
    async fn attempt(&self, id: &UploadId, preempt: bool) -> Result<Box<dyn Lease>, StoreError> {
        let how = Acquire { wait: SHORT, preempt };
        match tokio::time::timeout(LONG, self.locker.acquire(id, how)).await {
            Ok(result) => result,
            Err(_) => self.case.fail(format_args!("a wait of {SHORT:?} takes more than {LONG:?}")),
        }
    }

    /// Fails unless the upload stays held for a while.
    async fn is_held(&self, id: &UploadId, when: &str) {
        let lease = self.attempt(id, false).await;
        self.case.fails(lease, StoreErrorKind::Conflict, format_args!("acquire {when}"));
    }

    async fn is_told(&self, lease: &dyn Lease, who: &str) {
        let told = tokio::time::timeout(LONG, lease.preempted()).await;
        self.case.holds(told.is_ok(), format_args!("{who} was not told that it is wanted"));
    }

    async fn is_not_told(&self, lease: &dyn Lease, who: &str) {
        let told = tokio::time::timeout(SHORT, lease.preempted()).await;
        self.case.holds(told.is_err(), format_args!("{who} was told that it is wanted"));
    }
}

async fn what_is_held_is_not_granted(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    for _ in 0..3 {
        rig.is_held(&id, "while it is held").await;
    }
    drop(lease);
}

async fn of_many_one_holds_it_at_a_time(rig: Rig<impl Locker>) {
    const TASKS: u64 = 16;
    const TIMES: u64 = 8;
    let uploads = ["a", "b"].map(|text| {
        let state = (AtomicBool::new(false), AtomicU64::new(0));
        (id(text), Arc::new(state))
    });
    let mut tasks = Vec::new();
    for n in 0..TASKS {
        for (id, state) in &uploads {
            let (rig, id, state) = (rig.clone(), id.clone(), state.clone());
            tasks.push(tokio::spawn(async move {
                let (held, count) = &*state;
                for time in 0..TIMES {
                    let lease = rig.acquire(&id, n % 2 == 0).await;
                    let alone = !held.swap(true, Ordering::SeqCst);
                    rig.case.holds(alone, "two hold the upload at once");
                    let counted = count.load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    count.store(counted + 1, Ordering::SeqCst);
                    held.store(false, Ordering::SeqCst);
                    match time % 2 {
                        0 => lease.release().await,
                        _ => drop(lease),
                    }
                }
            }));
        }
    }
    rig.case.join_all(tasks).await;
    for (_, state) in &uploads {
        rig.case.same(state.1.load(Ordering::SeqCst), TASKS * TIMES, "the count of all holders");
    }
}

async fn uploads_do_not_wait_for_each_other(rig: Rig<impl Locker>) {
    let mut leases = Vec::new();
    for text in ["a", "A", "aa", "a-", "b"] {
        leases.push(rig.acquire(&id(text), true).await);
    }
    for lease in &leases {
        rig.is_not_told(&**lease, "the holder of another upload").await;
    }
}

async fn waiting_ends_in_time(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    for preempt in [false, true] {
        let refused = rig.attempt(&id, preempt).await;
        rig.case.fails(refused, StoreErrorKind::Conflict, "acquire of what stays held");
    }
    lease.release().await;
    rig.acquire(&id, false).await.release().await;
}

async fn a_wait_of_zero_tries_once(rig: Rig<impl Locker>) {
    let id = id("a");
    let once = Acquire { wait: Duration::ZERO, preempt: false };
    for _ in 0..3 {
        let lease = rig.case.done(rig.locker.acquire(&id, once).await, "acquire of what is free");
        for _ in 0..3 {
            let again = rig.locker.acquire(&id, once).await;
            rig.case.fails(again, StoreErrorKind::Conflict, "acquire of what is held");
        }
        lease.release().await;
    }
}

async fn a_release_hands_over(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    let waiters = [rig.waiter(&id, false), rig.waiter(&id, false), rig.waiter(&id, false)];
    rig.is_held(&id, "while it is held and waited for").await;
    lease.release().await;
    // Grants come in whatever order, and each is held until it was looked at.
    let (granted, mut grants) = mpsc::unbounded_channel();
    for waiter in waiters {
        let (case, granted) = (rig.case, granted.clone());
        tokio::spawn(async move { granted.send(case.join(waiter).await) });
    }
    drop(granted);
    for _ in 0..3 {
        let Some(lease) = grants.recv().await else { rig.case.fail("a waiter was lost") };
        rig.is_held(&id, "of what was handed over").await;
        lease.release().await;
    }
}

async fn a_drop_hands_over(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    let waiter = rig.waiter(&id, false);
    rig.is_held(&id, "while it is held and waited for").await;
    drop(lease);
    let next = rig.case.join(waiter).await;
    rig.is_held(&id, "of what was handed over").await;
    drop(next);
    drop(rig.acquire(&id, false).await);
}

async fn waiting_alone_takes_nothing(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    let waiter = rig.waiter(&id, true);
    rig.is_told(&*lease, "the holder").await;
    rig.is_held(&id, "of what a holder was asked to let go").await;
    rig.case.holds(!waiter.is_finished(), "it was granted while it was held");
    lease.release().await;
    rig.case.join(waiter).await.release().await;
}

async fn the_holder_is_told_that_it_is_wanted(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease: Arc<dyn Lease> = rig.acquire(&id, false).await.into();
    let listeners = [lease.clone(), lease.clone()].map(|lease| {
        let rig = rig.clone();
        tokio::spawn(async move { rig.is_told(&*lease, "the holder").await })
    });
    let waiter = rig.waiter(&id, true);
    rig.case.join_all(listeners.into()).await;
    rig.is_told(&*lease, "the holder, asking again,").await;
    drop(lease);
    rig.case.join(waiter).await.release().await;
}

async fn a_holder_that_listens_late_is_told(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    let given_up = rig.attempt(&id, true).await;
    rig.case.fails(given_up, StoreErrorKind::Conflict, "acquire of what is held");
    rig.is_told(&*lease, "the holder, listening only afterwards,").await;
}

async fn the_next_holder_is_told_of_those_who_wait(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, false).await;
    let (granted, mut grants) = mpsc::unbounded_channel();
    for _ in 0..3 {
        let (rig, id, granted) = (rig.clone(), id.clone(), granted.clone());
        tokio::spawn(async move { granted.send(rig.acquire(&id, true).await) });
    }
    drop(granted);
    rig.is_told(&*lease, "the holder").await;
    rig.is_held(&id, "while it is held and waited for").await;
    lease.release().await;
    let mut told = 0;
    while let Some(lease) = grants.recv().await {
        told += 1;
        if told < 3 {
            rig.is_told(&*lease, "a new holder that others wait for").await;
        }
        lease.release().await;
    }
    rig.case.same(told, 3, "the number of waiters that got it");
}

async fn nobody_is_told_without_need(rig: Rig<impl Locker>) {
    let id = id("a");
    let lease = rig.acquire(&id, true).await;
    rig.is_not_told(&*lease, "a holder that nobody waits for").await;
    let waiter = rig.waiter(&id, false);
    rig.is_held(&id, "while it is held and waited for").await;
    rig.is_not_told(&*lease, "a holder that was not asked").await;
    lease.release().await;
    let next = rig.case.join(waiter).await;
    rig.is_not_told(&*next, "a new holder that nobody waits for").await;
}

async fn numbers_grow(rig: Rig<impl Locker>) {
    let (mine, other) = (id("a"), id("b"));
    let mut last = 0;
    for n in 0..20 {
        let lease = rig.acquire(&mine, false).await;
        let fence = lease.fence();
        rig.case.same(lease.fence(), fence, "the number of one lease, asked again,");
        let seen = format!("the number is {fence} after {last}");
        rig.case.holds(n == 0 || fence > last, seen);
        last = fence;
        match n % 4 {
            0 => drop(lease),
            1 => {
                let waiter = rig.waiter(&mine, true);
                rig.is_told(&*lease, "the holder").await;
                lease.release().await;
                let next = rig.case.join(waiter).await;
                rig.case.holds(next.fence() > last, "a lease handed over has no larger number");
                last = next.fence();
            }
            _ => {
                rig.acquire(&other, false).await.release().await;
                lease.release().await;
            }
        }
    }
}

async fn numbers_grow_among_many(rig: Rig<impl Locker>) {
    let (id, last) = (id("a"), Arc::new(AtomicU64::new(0)));
    let tasks = (0..8).map(|n| {
        let (rig, id, last) = (rig.clone(), id.clone(), last.clone());
        tokio::spawn(async move {
            for _ in 0..8 {
                let lease = rig.acquire(&id, n % 2 == 0).await;
                let before = last.swap(lease.fence(), Ordering::SeqCst);
                let seen = format!("the number is {} after {before}", lease.fence());
                rig.case.holds(before < lease.fence() || before == 0, seen);
                lease.release().await;
            }
        })
    });
    rig.case.join_all(tasks.collect()).await;
}

async fn waiters_that_give_up_are_passed_over(rig: Rig<impl Locker>) {
    let id = id("a");
    for round in 0..20 {
        let lease = rig.acquire(&id, false).await;
        let waiters: Vec<_> = (0..6).map(|n| rig.waiter(&id, n == 5)).collect();
        if round == 0 {
            rig.is_told(&*lease, "the holder").await;
        }
        let (stay, leave): (Vec<_>, Vec<_>) =
            waiters.into_iter().enumerate().partition(|(n, _)| n % 3 == 1);
        // In some rounds before the lease is free, in others while it is handed over.
        if round % 2 == 0 {
            leave.iter().for_each(|(_, waiter)| waiter.abort());
        }
        lease.release().await;
        leave.iter().for_each(|(_, waiter)| waiter.abort());
        for (_, waiter) in leave {
            match waiter.await {
                // Granted before it could be aborted: it ends by being dropped.
                Ok(lease) => drop(lease),
                Err(error) => rig.case.holds(error.is_cancelled(), "a waiter panicked"),
            }
        }
        let (given, mut grants) = mpsc::unbounded_channel();
        for (_, waiter) in stay {
            let (case, given) = (rig.case, given.clone());
            tokio::spawn(async move { given.send(case.join(waiter).await) });
        }
        drop(given);
        let mut count = 0;
        while let Some(lease) = grants.recv().await {
            count += 1;
            drop(lease);
        }
        rig.case.same(count, 2, "the number of waiters that stayed and got it");
    }
}
