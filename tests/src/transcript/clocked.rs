//! Time that moves only when a transcript says so.

use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tus_core::{
    Locator, MemoryStore, Timestamp, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, NewObject,
        StoreError, Stored,
    },
};

/// A clock that begins on Wednesday, 25 June 2014, at 15:00:00 GMT.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_403_708_400_000)))
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.store(self.now().after(by).as_millis(), Ordering::SeqCst);
    }
}

/// The bytes of a memory store, with the times of their last writes by this clock.
#[derive(Clone, Debug)]
pub(super) struct ClockedChunks {
    inner: MemoryStore,
    times: Times,
}

#[derive(Clone, Debug)]
struct Times {
    clock: Clock,
    written: Arc<Mutex<HashMap<Locator, Timestamp>>>,
}

impl Times {
    fn note(&self, at: &Locator) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(at.clone(), self.clock.now());
    }

    fn of(&self, at: &Locator) -> Option<Timestamp> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied()
    }
}

impl ClockedChunks {
    pub(super) fn new(inner: MemoryStore, clock: Clock) -> Self {
        Self { inner, times: Times { clock, written: Arc::default() } }
    }
}

#[async_trait]
impl ChunkStore for ClockedChunks {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let at = ChunkStore::create(&self.inner, new).await?;
        self.times.note(&at);
        Ok(at)
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let stored = self.inner.stat(at).await?;
        Ok(Stored { modified: self.times.of(at).unwrap_or(stored.modified), ..stored })
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let inner = self.inner.open(at, offset, blocking).await?;
        Ok(Box::new(Writer { inner, at: at.clone(), times: self.times.clone() }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.inner.truncate(at, length).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.inner.finish(at, upload).await
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        let sum = self.inner.concat(at, parts).await?;
        self.times.note(at);
        Ok(sum)
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        self.inner.read(at, range).await
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        ChunkStore::remove(&self.inner, at).await
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        ChunkStore::unrecorded(&self.inner, after, limit).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn local_path(&self, at: &Locator) -> Option<PathBuf> {
        self.inner.local_path(at)
    }
}

#[derive(Debug)]
struct Writer {
    inner: Box<dyn ChunkWriter>,
    at: Locator,
    times: Times,
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.inner.write(chunk).await?;
        self.times.note(&self.at);
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.inner.sync().await
    }
}
