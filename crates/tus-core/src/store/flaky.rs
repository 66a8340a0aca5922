//! Stores that fail, stall or die at the n-th call, or take their time at every one.

use std::{
    fmt,
    future::Future,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, Due, FinishAs, MetaStore,
    NewObject, StoreError, StoreErrorKind, Stored,
};
use crate::model::{Locator, Revision, Timestamp, Upload, UploadId};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this kind and has no effect.
    Fail(StoreErrorKind),
    /// It waits for [`Faults::release`] before it begins.
    Stall,
    /// The process dies right before it: it has no effect, and it and every later call fail.
    Crash,
    /// The process dies right after it: it has its effect, but its answer is lost, and every
    /// later call fails.
    CrashAfter,
}

/// Counts the calls of the stores that share it, and meddles with one of them.
///
/// The calls of a [`MetaStore`] are named `meta.…`, those of a [`ChunkStore`] `chunks.…`, and
/// those of the writers and readers that it opened `writer.…` and `reader.…`.
///
/// To try a fault at every call that something makes: run it once undisturbed, then for each `n`
/// up to the number of [`calls`](Self::calls) with a fault [`at`](Self::at) `n`. What a restart
/// would find is in the store within; give that to a new [`Flaky`].
///
/// ```
/// use tus_core::{
///     conformance::{Fault, Faults, Flaky},
///     store::{MemoryStore, MetaStore, StoreErrorKind},
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let faults = Faults::at(2, Fault::Fail(StoreErrorKind::Unavailable));
/// let store = Flaky::new(MemoryStore::new(), &faults);
/// let id = "24e533e0".parse().unwrap();
/// assert!(MetaStore::remove(&store, &id).await.is_ok());
/// assert!(MetaStore::remove(&store, &id).await.is_err());
/// assert!(MetaStore::remove(&store, &id).await.is_ok());
/// assert_eq!(faults.calls(), ["meta.remove"; 3]);
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    calls: Vec<&'static str>,
    plan: Option<Plan>,
    crashed: bool,
    pace: Option<Pace>,
}

/// Says how long the next call waits.
struct Pace(Box<dyn FnMut() -> Duration + Send>);

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Plan {
    at: usize,
    fault: Fault,
    reached: CancellationToken,
    released: CancellationToken,
}

impl Faults {
    /// No fault: calls are only counted.
    pub fn none() -> Self {
        Self::default()
    }

    /// A fault at the `n`-th call, the first being 1.
    pub fn at(n: usize, fault: Fault) -> Self {
        let faults = Self::none();
        faults.plan(n, fault);
        faults
    }

    /// Plans a fault at the `n`-th call from now, the next being 1, in place of one that has not
    /// been reached. A store that has crashed stays so.
    pub fn plan(&self, n: usize, fault: Fault) {
        let mut state = self.state();
        let (reached, released) = Default::default();
        let at = state.calls.len().saturating_add(n);
        state.plan = Some(Plan { at, fault, reached, released });
    }

    /// Has every call wait for as long as `pace` says: once before it begins, and once more before
    /// its answer is heard. So a test decides in which order the calls of several requests happen.
    pub fn pace(&self, pace: impl FnMut() -> Duration + Send + 'static) {
        self.state().pace = Some(Pace(Box::new(pace)));
    }

    /// The names of all calls so far, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    /// Whether the planned call has been made.
    pub fn is_reached(&self) -> bool {
        self.state().plan.as_ref().is_some_and(|plan| plan.reached.is_cancelled())
    }

    /// Waits until the planned call is made; for ever when none is planned.
    pub async fn reached(&self) {
        let plan = self.state().plan.clone();
        match plan {
            Some(plan) => plan.reached.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// The process dies now: a call that is stalled and every later one fail. What a call does
    /// that has begun already is not undone.
    pub fn crash(&self) {
        self.state().crashed = true;
        self.release();
    }

    /// Lets a stalled call begin, or keeps it from stalling at all.
    pub fn release(&self) {
        if let Some(plan) = &self.state().plan {
            plan.released.cancel();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call, and says what is to happen to it.
    fn enter(&self, name: &'static str) -> Result<Option<Plan>, StoreError> {
        let mut state = self.state();
        state.calls.push(name);
        if state.crashed {
            return Err(crash(name));
        }
        let count = state.calls.len();
        let Some(plan) = state.plan.clone().filter(|plan| plan.at == count) else {
            return Ok(None);
        };
        state.crashed = matches!(plan.fault, Fault::Crash | Fault::CrashAfter);
        drop(state);
        plan.reached.cancel();
        match plan.fault {
            Fault::Fail(kind) => Err(StoreError::new(kind, format!("{name} was made to fail"))),
            Fault::Crash => Err(crash(name)),
            Fault::Stall | Fault::CrashAfter => Ok(Some(plan)),
        }
    }

    /// Makes a call, unless something is to happen to it.
    async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let plan = self.enter(name)?;
        self.wait().await;
        let answer = self.make(name, plan, call).await;
        self.wait().await;
        answer
    }

    /// Takes its time.
    async fn wait(&self) {
        let wait = self.state().pace.as_mut().map(|pace| (pace.0)());
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
    }

    async fn make<T>(
        &self,
        name: &'static str,
        plan: Option<Plan>,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match plan {
            // The process has died while it waited.
            None if self.state().crashed => Err(crash(name)),
            None => call.await,
            Some(Plan { fault: Fault::CrashAfter, .. }) => {
                // Whatever it answers, a process that died did not hear it.
                let _unheard = call.await;
                Err(crash(name))
            }
            Some(plan) => {
                plan.released.cancelled().await;
                if self.state().crashed {
                    return Err(crash(name));
                }
                call.await
            }
        }
    }
}

fn crash(name: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("{name}: the store was made to crash"))
}

/// A store that does what the one within does, as far as its [`Faults`] let it.
#[derive(Clone, Debug)]
pub struct Flaky<S> {
    within: S,
    faults: Faults,
}

impl<S> Flaky<S> {
    /// Wraps a store; stores that share their faults share the count.
    pub fn new(within: S, faults: &Faults) -> Self {
        Self { within, faults: faults.clone() }
    }

    /// The faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

#[async_trait]
impl<S: MetaStore> MetaStore for Flaky<S> {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        self.faults.call("meta.create", self.within.create(upload)).await
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        self.faults.call("meta.load", self.within.load(id)).await
    }

    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        self.faults.call("meta.update", self.within.update(upload, expected)).await
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        self.faults.call("meta.remove", self.within.remove(id)).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        self.faults.call("meta.due", self.within.due(now, after, limit)).await
    }
}

#[async_trait]
impl<S: ChunkStore> ChunkStore for Flaky<S> {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        self.faults.call("chunks.create", self.within.create(new)).await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        self.faults.call("chunks.stat", self.within.stat(at)).await
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let open = self.within.open(at, offset, blocking);
        let within = self.faults.call("chunks.open", open).await?;
        Ok(Box::new(FlakyWriter { within, faults: self.faults.clone() }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.faults.call("chunks.truncate", self.within.truncate(at, length)).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.faults.call("chunks.finish", self.within.finish(at, upload)).await
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        self.faults.call("chunks.concat", self.within.concat(at, parts)).await
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        let within = self.faults.call("chunks.read", self.within.read(at, range)).await?;
        Ok(Box::new(FlakyReader { within, faults: self.faults.clone() }))
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        self.faults.call("chunks.remove", self.within.remove(at)).await
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        self.faults.call("chunks.unrecorded", self.within.unrecorded(after, limit)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.within.capabilities()
    }

    fn local_path(&self, at: &Locator) -> Option<PathBuf> {
        self.within.local_path(at)
    }
}

#[derive(Debug)]
struct FlakyWriter {
    within: Box<dyn ChunkWriter>,
    faults: Faults,
}

#[async_trait]
impl ChunkWriter for FlakyWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.faults.call("writer.write", self.within.write(chunk)).await
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.faults.call("writer.sync", self.within.sync()).await
    }
}

#[derive(Debug)]
struct FlakyReader {
    within: Box<dyn ChunkReader>,
    faults: Faults,
}

#[async_trait]
impl ChunkReader for FlakyReader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.faults.call("reader.next", self.within.next()).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::store::MemoryStore;

    const FAILED: StoreErrorKind = StoreErrorKind::Unavailable;

    fn id() -> UploadId {
        "a".parse().unwrap()
    }

    /// Some calls of every kind, all after one another, until one fails.
    async fn upload(store: &Flaky<MemoryStore>) -> Result<(), StoreError> {
        let id = id();
        let at = ChunkStore::create(store, &NewObject::new(&id)).await?;
        let mut writer = store.open(&at, 0, Blocking::Offload).await?;
        writer.write(Bytes::from_static(b"abc")).await?;
        writer.sync().await?;
        store.truncate(&at, 2).await?;
        let mut reader = store.read(&at, 0..9).await?;
        assert_eq!(reader.next().await?.as_deref(), Some(&b"ab"[..]));
        ChunkStore::remove(store, &at).await?;
        MetaStore::remove(store, &id).await
    }

    #[tokio::test]
    async fn without_a_fault_calls_are_only_counted() {
        let faults = Faults::none();
        upload(&Flaky::new(MemoryStore::new(), &faults)).await.unwrap();
        let calls = [
            "chunks.create",
            "chunks.open",
            "writer.write",
            "writer.sync",
            "chunks.truncate",
            "chunks.read",
            "reader.next",
            "chunks.remove",
            "meta.remove",
        ];
        assert_eq!(faults.calls(), calls);
        assert!(!faults.is_reached());
    }

    #[tokio::test]
    async fn the_nth_call_alone_fails() {
        for n in 1..=9 {
            let faults = Faults::at(n, Fault::Fail(FAILED));
            let store = Flaky::new(MemoryStore::new(), &faults);
            assert_eq!(upload(&store).await.unwrap_err().kind(), FAILED, "call {n}");
            assert_eq!(faults.calls().len(), n);
            assert!(faults.is_reached());
            assert!(MetaStore::remove(&store, &id()).await.is_ok(), "after call {n}");
        }
    }

    #[tokio::test]
    async fn after_a_crash_every_call_fails_and_the_last_one_counts_only_if_it_came_after() {
        for (fault, effect) in [(Fault::Crash, false), (Fault::CrashAfter, true)] {
            for n in 1..=9 {
                let within = MemoryStore::new();
                let faults = Faults::at(n, fault);
                let store = Flaky::new(within.clone(), &faults);
                upload(&store).await.unwrap_err();
                assert_eq!(faults.calls().len(), n, "{fault:?} at call {n}");
                assert!(MetaStore::remove(&store, &id()).await.is_err());
                faults.plan(1, Fault::Stall);
                assert!(MetaStore::remove(&store, &id()).now_or_never().unwrap().is_err());

                let done = if effect { n } else { n - 1 };
                let stat = within.stat(&Locator::new("a")).await.map(|stored| stored.length);
                let want = match done {
                    0 | 8.. => None,
                    1 | 2 => Some(0),
                    3 | 4 => Some(3),
                    _ => Some(2),
                };
                assert_eq!(stat.ok(), want, "{fault:?} at call {n}");
            }
        }
    }

    #[tokio::test]
    async fn a_stalled_call_begins_when_it_is_released() {
        let within = MemoryStore::new();
        let faults = Faults::at(2, Fault::Stall);
        let store = Flaky::new(within.clone(), &faults);
        let id = id();
        let at = ChunkStore::create(&store, &NewObject::new(&id)).await.unwrap();
        assert!(!faults.is_reached());
        let mut remove = ChunkStore::remove(&store, &at);
        assert!(futures_util::poll!(&mut remove).is_pending());
        faults.reached().await;
        assert!(within.stat(&at).await.is_ok(), "it has not begun");
        assert!(store.stat(&at).await.is_ok(), "others go on");
        faults.release();
        remove.await.unwrap();
        assert!(within.stat(&at).await.is_err());
    }

    #[tokio::test]
    async fn a_stalled_call_of_a_process_that_dies_never_begins() {
        let within = MemoryStore::new();
        let faults = Faults::at(2, Fault::Stall);
        let store = Flaky::new(within.clone(), &faults);
        let id = id();
        let at = ChunkStore::create(&store, &NewObject::new(&id)).await.unwrap();
        let mut remove = ChunkStore::remove(&store, &at);
        assert!(futures_util::poll!(&mut remove).is_pending());
        faults.crash();
        remove.await.unwrap_err();
        store.stat(&at).await.unwrap_err();
        within.stat(&at).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn every_call_takes_its_time_before_and_after() {
        let faults = Faults::none();
        let store = Flaky::new(MemoryStore::new(), &faults);
        let mut waits = [0, 3, 500, 20].into_iter().map(Duration::from_millis);
        faults.pace(move || waits.next().unwrap_or_default());
        let began = tokio::time::Instant::now();
        MetaStore::remove(&store, &id()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(3));
        MetaStore::remove(&store, &id()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(523));
    }

    #[tokio::test]
    async fn a_fault_can_be_planned_for_later() {
        let faults = Faults::none();
        let store = Flaky::new(MemoryStore::new(), &faults);
        upload(&store).await.unwrap();
        faults.plan(2, Fault::Fail(FAILED));
        assert!(MetaStore::remove(&store, &id()).await.is_ok());
        assert_eq!(MetaStore::remove(&store, &id()).await.unwrap_err().kind(), FAILED);
        assert!(MetaStore::remove(&store, &id()).await.is_ok());
    }
}
