//! A store that tells what happens in it, and can be held.

use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tus_core::{
    Locator, Revision, Timestamp, Upload, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, Due, FinishAs, MetaStore,
        NewObject, StoreError, Stored,
    },
};

use crate::waiting::within;

/// A call that can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`ChunkWriter::write`], before anything is written.
    Write,
    /// [`ChunkWriter::sync`].
    Sync,
    /// [`ChunkStore::finish`].
    Finish,
    /// [`MetaStore::update`].
    Update,
}

/// Counts what is written into a store and read from it, and can hold its calls.
#[derive(Clone, Debug)]
pub struct Watched<S> {
    inner: S,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    written: watch::Sender<u64>,
    read: watch::Sender<u64>,
    updates: watch::Sender<u64>,
    largest: watch::Sender<usize>,
    gates: Mutex<HashMap<Call, Gate>>,
}

#[derive(Clone, Debug)]
struct Gate {
    waiting: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// Holds a call, by whomever it is made, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    call: Call,
    gate: Gate,
    state: Arc<State>,
}

impl Hold {
    /// Waits until somebody stands at the gate.
    pub async fn reached(&self) {
        let mut waiting = self.gate.waiting.subscribe();
        let somebody = within("a held call", waiting.wait_for(|count| *count > 0)).await;
        drop(somebody.expect("a gate"));
    }

    /// Lets all through, now and from now on.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.state.gates().remove(&self.call);
        self.gate.open.send_replace(true);
    }
}

impl State {
    fn gates(&self) -> std::sync::MutexGuard<'_, HashMap<Call, Gate>> {
        self.gates.lock().expect("no panic")
    }

    async fn pass(&self, call: Call) {
        let gate = self.gates().get(&call).cloned();
        if let Some(gate) = gate {
            gate.waiting.send_modify(|count| *count += 1);
            let opened = gate.open.subscribe().wait_for(|open| *open).await.is_ok();
            assert!(opened, "a gate ends by opening");
        }
    }
}

impl<S> Watched<S> {
    /// Watches a store; clones share what they see.
    pub fn new(inner: S) -> Self {
        let state = State {
            written: watch::Sender::new(0),
            read: watch::Sender::new(0),
            updates: watch::Sender::new(0),
            largest: watch::Sender::new(0),
            gates: Mutex::default(),
        };
        Self { inner, state: Arc::new(state) }
    }

    /// Holds a call until what is returned is dropped.
    pub fn hold(&self, call: Call) -> Hold {
        let gate = Gate { waiting: watch::Sender::new(0), open: watch::Sender::new(false) };
        self.state.gates().insert(call, gate.clone());
        Hold { call, gate, state: Arc::clone(&self.state) }
    }

    /// How many bytes were written in all, into all objects.
    pub fn written(&self) -> u64 {
        *self.state.written.borrow()
    }

    /// How many bytes were read in all, from all objects.
    pub fn read(&self) -> u64 {
        *self.state.read.borrow()
    }

    /// How many times a record was changed.
    pub fn updates(&self) -> u64 {
        *self.state.updates.borrow()
    }

    /// Waits until so many bytes were written in all.
    pub async fn wait_written(&self, count: usize) {
        let mut written = self.state.written.subscribe();
        let enough = written.wait_for(|written| *written >= count as u64);
        let reached = within("bytes to be written", enough).await;
        drop(reached.expect("a store"));
    }

    /// The most bytes of one write.
    pub fn largest(&self) -> usize {
        *self.state.largest.borrow()
    }
}

#[async_trait]
impl<S: ChunkStore> ChunkStore for Watched<S> {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        self.inner.create(new).await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        self.inner.stat(at).await
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let inner = self.inner.open(at, offset, blocking).await?;
        let state = Arc::clone(&self.state);
        Ok(Box::new(Writer { inner, state }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.inner.truncate(at, length).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.state.pass(Call::Finish).await;
        self.inner.finish(at, upload).await
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        self.inner.concat(at, parts).await
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        let inner = self.inner.read(at, range).await?;
        Ok(Box::new(Reader { inner, state: Arc::clone(&self.state) }))
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
struct Reader {
    inner: Box<dyn ChunkReader>,
    state: Arc<State>,
}

#[async_trait]
impl ChunkReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let next = self.inner.next().await?;
        let length = next.as_ref().map_or(0, Bytes::len) as u64;
        self.state.read.send_modify(|read| *read += length);
        Ok(next)
    }
}

#[derive(Debug)]
struct Writer {
    inner: Box<dyn ChunkWriter>,
    state: Arc<State>,
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.state.pass(Call::Write).await;
        let length = chunk.len();
        self.inner.write(chunk).await?;
        self.state.largest.send_modify(|largest| *largest = length.max(*largest));
        self.state.written.send_modify(|written| *written += length as u64);
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.state.pass(Call::Sync).await;
        self.inner.sync().await
    }
}

#[async_trait]
impl<S: MetaStore> MetaStore for Watched<S> {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        self.inner.create(upload).await
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        self.inner.load(id).await
    }

    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        self.state.pass(Call::Update).await;
        self.state.updates.send_modify(|updates| *updates += 1);
        self.inner.update(upload, expected).await
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        self.inner.remove(id).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        self.inner.due(now, after, limit).await
    }
}
