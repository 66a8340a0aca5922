//! What survives a restart: stores, clock, application.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::StatusCode;
use tus_core::{
    Ended, Finished, HookError, Kind, Locator, MemoryStore, Phase, Policy, Rejection, Reply,
    RequestContext, Revision, Timestamp, Tus, Upload, UploadId,
    store::{ChunkStore, MetaStore, StoreError},
};

use super::{Lossy, Manner};

/// A clock that a test moves.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(Self::BEGINNING.as_millis())))
    }
}

impl Clock {
    /// What it shows at first.
    pub const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// Sets it back.
    pub fn set_back(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).expect("a short time");
        self.0.fetch_sub(by, Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.now().after(by).as_millis(), Ordering::SeqCst);
    }
}

/// An event that the application was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The upload.
    pub id: UploadId,
    /// The id of the event.
    pub event: String,
    /// How many bytes it was said to have.
    pub length: u64,
}

/// An application that writes down what it is told, and gives uploads the ids `u1`, `u2`, and so
/// on.
#[derive(Debug, Default)]
pub struct Application {
    /// Its `on_finish`, in order.
    pub finished: Mutex<Vec<Told>>,
    /// Its `on_expired`, in order.
    pub expired: Mutex<Vec<Told>>,
    /// Its `on_terminated`, in order.
    pub terminated: Mutex<Vec<Told>>,
    /// So many times it fails to take the news of an end.
    pub deaf: AtomicU64,
    /// So many times `on_finish` fails first.
    pub fails: AtomicU64,
    /// Whether `on_finish` says no.
    pub rejects: bool,
    /// The uploads for which it has had its bad day, see [`Ask::mood`](super::Ask::mood).
    pub bad_days: Mutex<BTreeSet<UploadId>>,
    /// What it saw that must never be; a panic in a hook would be caught.
    pub complaints: Mutex<Vec<String>>,
    /// How many ids it gave away.
    pub created: AtomicU64,
}

impl Application {
    /// The ids that it gave away.
    pub fn ids(&self) -> Vec<UploadId> {
        let count = self.created.load(Ordering::SeqCst);
        (1..=count).map(|n| format!("u{n}").parse().expect("an id")).collect()
    }

    fn hears(&self, log: &Mutex<Vec<Told>>, ended: &Ended) -> Result<(), HookError> {
        let (id, event) = (ended.id().clone(), ended.event_id.clone());
        let told = Told { id, event, length: ended.stored.unwrap_or(0) };
        log.lock().expect("a log").push(told);
        let deaf = self.deaf.load(Ordering::SeqCst);
        self.deaf.store(deaf.saturating_sub(1), Ordering::SeqCst);
        match deaf > 0 || self.has_a_bad_day("deaf once", &ended.upload) {
            true => Err(bad_day()),
            false => Ok(()),
        }
    }

    /// Whether an upload was made to have a bad day of this kind, and has not had it yet.
    fn has_a_bad_day(&self, kind: &str, upload: &Upload) -> bool {
        let due = upload.metadata.get_text("mood").is_some_and(|mood| mood == kind);
        due && self.bad_days.lock().expect("a log").insert(upload.id.clone())
    }

    /// The events of an upload.
    pub fn events(&self, id: &UploadId) -> Vec<String> {
        let finished = self.finished.lock().expect("a log");
        finished.iter().filter(|told| told.id == *id).map(|told| told.event.clone()).collect()
    }
}

fn bad_day() -> HookError {
    HookError::Failed(Box::new(io::Error::other("a bad day")))
}

/// Lets a request do what it wants, unless it asks to be refused.
fn unless_asked(request: &RequestContext, header: &str) -> Result<(), HookError> {
    match request.headers().contains_key(header) {
        true => Err(Rejection::forbidden("no\n").into()),
        false => Ok(()),
    }
}

/// What a process leaves behind of its stores, seen from outside.
#[async_trait]
pub trait Kept: Clone + fmt::Debug + Send + Sync + 'static {
    /// A record; `None` if there is none.
    async fn record(&self, id: &UploadId) -> Option<Upload>;

    /// The bytes that the death of the process would leave; `None` if there is no such object.
    async fn durable(&self, at: &Locator) -> Option<Vec<u8>>;

    /// Whether the process is dead. Its tasks are those of the test, and take a moment to end.
    fn is_dead(&self) -> bool {
        false
    }
}

/// Stores that are not on a disk.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The records.
    pub records: MemoryStore,
    /// The bytes.
    pub bytes: Lossy,
}

#[async_trait]
impl Kept for Memory {
    async fn record(&self, id: &UploadId) -> Option<Upload> {
        found(id, MetaStore::load(&self.records, id).await)
    }

    async fn durable(&self, at: &Locator) -> Option<Vec<u8>> {
        self.bytes.durable(at)
    }
}

/// What a look at a record has found; `None` if there is none.
///
/// # Panics
///
/// If it cannot be read.
pub fn found(id: &UploadId, loaded: Result<(Upload, Revision), StoreError>) -> Option<Upload> {
    match loaded {
        Ok((upload, _)) => Some(upload),
        Err(error) if error.is_not_found() => None,
        Err(error) => panic!("{id}: {error}"),
    }
}

/// Everything that outlives a process.
#[derive(Clone, Debug)]
pub struct World<K = Memory> {
    /// The time.
    pub clock: Clock,
    /// The application.
    pub application: Arc<Application>,
    /// What is allowed.
    pub policy: Policy,
    /// The stores.
    pub kept: K,
}

impl<K> Deref for World<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.kept
    }
}

impl World {
    /// A new one, in memory.
    pub fn new(manner: Manner, policy: Policy, application: Application) -> Self {
        let clock = Clock::default();
        let bytes = Lossy::new(clock.clone(), manner);
        let kept = Memory { records: MemoryStore::new(), bytes };
        Self { clock, application: Arc::new(application), policy, kept }
    }
}

impl<K: Kept> World<K> {
    /// A new one on stores of a test's own, at this time.
    pub fn on(kept: K, now: Timestamp, policy: Policy, application: Application) -> Self {
        let clock = Clock(Arc::new(AtomicU64::new(now.as_millis())));
        Self { clock, application: Arc::new(application), policy, kept }
    }

    /// Starts a process on its stores, seen through these.
    pub fn serve(&self, meta: impl MetaStore, chunks: impl ChunkStore) -> Tus {
        let clock = self.clock.clone();
        let (names, finish) = (self.application.clone(), self.clone());
        let (expired, terminated) = (self.application.clone(), self.application.clone());
        let builder = Tus::builder().meta(meta).chunks(chunks).policy(self.policy.clone());
        builder
            .clock(move || clock.now())
            .authorize(|request, _| async move { unless_asked(&request, "x-denied") })
            .before_create(move |_, mut new| {
                let unwanted = new.metadata.get_text("mood").is_some_and(|mood| mood == "unwanted");
                if !unwanted {
                    let n = names.created.fetch_add(1, Ordering::SeqCst) + 1;
                    new.id = format!("u{n}").parse().ok();
                }
                async move {
                    match unwanted {
                        true => Err(Rejection::forbidden("no\n").into()),
                        false => Ok(new),
                    }
                }
            })
            .before_terminate(|request, _| async move { unless_asked(&request, "x-stays") })
            .on_finish(move |finished| {
                let world = finish.clone();
                async move { world.is_told(&finished).await }
            })
            .on_expired(move |ended| {
                let heard = expired.hears(&expired.expired, &ended);
                async { heard }
            })
            .on_terminated(move |ended| {
                let heard = terminated.hears(&terminated.terminated, &ended);
                async { heard }
            })
            .build()
            .expect("a policy that works")
    }

    /// The application's `on_finish`.
    async fn is_told(&self, finished: &Finished) -> Result<Reply, HookError> {
        let application = &self.application;
        let (id, event) = (finished.id().clone(), finished.event_id.clone());
        let told = Told { id, event, length: finished.length };
        if self.kept.is_dead() {
            return Err(bad_day());
        }
        if let Some(wrong) = self.is_early(&told).await {
            let text = format!("on_finish of {}: {wrong}", told.id);
            application.complaints.lock().expect("a log").push(text);
        }
        application.finished.lock().expect("a log").push(told);
        let failing = application.fails.load(Ordering::SeqCst);
        if failing > 0 {
            application.fails.store(failing - 1, Ordering::SeqCst);
            return Err(bad_day());
        }
        if application.has_a_bad_day("fails once", &finished.upload) {
            return Err(bad_day());
        }
        let refuses = finished.metadata().get_text("mood").is_some_and(|mood| mood == "refuses");
        match application.rejects || refuses {
            true => Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "no\n").into()),
            false => Ok(Reply::new()),
        }
    }

    /// Why an upload should not be announced yet, if so.
    async fn is_early(&self, told: &Told) -> Option<String> {
        let Some(upload) = self.record(&told.id).await else {
            return Some("there is no record".to_owned());
        };
        let durable = self.kept.durable(&upload.locator).await.map(|bytes| bytes.len() as u64);
        match &upload.phase {
            _ if upload.kind == Kind::Partial => Some("a partial is announced".to_owned()),
            Phase::Complete { event, .. } if *event != told.event => {
                Some(format!("event {} is told, {event} is recorded", told.event))
            }
            Phase::Complete { .. } if durable != Some(told.length) => {
                Some(format!("{durable:?} of {} bytes are durable", told.length))
            }
            Phase::Complete { .. } => None,
            phase => Some(format!("{phase:?} is recorded")),
        }
    }

    /// A record, read beside the server; `None` if there is none.
    pub async fn record(&self, id: &UploadId) -> Option<Upload> {
        self.kept.record(id).await
    }

    /// All records.
    pub async fn all(&self) -> BTreeMap<UploadId, Upload> {
        let mut all = BTreeMap::new();
        for id in self.application.ids() {
            if let Some(upload) = self.record(&id).await {
                all.insert(id, upload);
            }
        }
        all
    }
}
