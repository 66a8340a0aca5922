use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use tus_core::{
    Locator, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, MemoryStore,
        NewObject, StoreError, StoreErrorKind, Stored,
    },
};

/// Does no optional verb, forgets whatever was not synced, and leaves it to the engine to sync
/// what an earlier process may have left.
#[derive(Debug, Default)]
pub(crate) struct Frugal {
    within: MemoryStore,
    dropped: Arc<Mutex<HashMap<Locator, bool>>>,
}

fn unsupported<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Unsupported, "not by this store"))
}

#[async_trait]
impl ChunkStore for Frugal {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        self.within.create(new).await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let mut stored = self.within.stat(at).await?;
        stored.synced = !self.dropped.lock().unwrap().get(at).is_some_and(|dropped| *dropped);
        Ok(stored)
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let within = self.within.open(at, offset, blocking).await?;
        let (at, dropped) = (at.clone(), self.dropped.clone());
        Ok(Box::new(FrugalWriter { within, at, dropped, pending: Vec::new() }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.within.truncate(at, length).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.within.finish(at, upload).await
    }

    async fn concat(&self, _at: &Locator, _parts: &[Locator]) -> Result<u64, StoreError> {
        unsupported()
    }

    async fn read(
        &self,
        _at: &Locator,
        _range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        unsupported()
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        self.dropped.lock().unwrap().remove(at);
        self.within.remove(at).await
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        self.within.unrecorded(after, limit).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct FrugalWriter {
    within: Box<dyn ChunkWriter>,
    at: Locator,
    dropped: Arc<Mutex<HashMap<Locator, bool>>>,
    pending: Vec<u8>,
}

#[async_trait]
impl ChunkWriter for FrugalWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.pending.extend_from_slice(&chunk);
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.within.write(std::mem::take(&mut self.pending).into()).await?;
        self.dropped.lock().unwrap().insert(self.at.clone(), false);
        self.within.sync().await
    }
}

impl Drop for FrugalWriter {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.dropped.lock().unwrap().insert(self.at.clone(), true);
        }
    }
}

/// Moves what is whole to an object of its name, and never replaces one.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    open: MemoryStore,
    placed: MemoryStore,
    names: Mutex<HashMap<String, UploadId>>,
}

const PLACED: &str = "placed/";

impl Placing {
    /// Where the locator's object is: the store, and its locator there.
    fn resolve(&self, at: &Locator) -> (&MemoryStore, Locator) {
        match at.as_str().strip_prefix(PLACED) {
            Some(rest) => (&self.placed, Locator::new(rest)),
            None => (&self.open, at.clone()),
        }
    }
}

#[async_trait]
impl ChunkStore for Placing {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        self.open.create(new).await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let (store, at) = self.resolve(at);
        store.stat(&at).await
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        self.open.open(at, offset, blocking).await
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.open.truncate(at, length).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        let name = upload.place.metadata.filename().unwrap_or_default().into_owned();
        let name = format!("{name}{:?}", upload.place.placement);
        let owner = self.names.lock().unwrap().entry(name).or_insert(upload.id.clone()).clone();
        if owner != *upload.id {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, "the name is taken"));
        }
        let mut bytes = Vec::new();
        let mut reader = self.open.read(at, 0..upload.length).await?;
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let to = Locator::new(owner.as_str());
        self.placed.remove(&to).await?;
        self.placed.create(&NewObject::new(&owner)).await?;
        let mut writer = self.placed.open(&to, 0, Blocking::Offload).await?;
        writer.write(bytes.into()).await?;
        writer.sync().await?;
        Ok(Locator::new(format!("{PLACED}{owner}")))
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        self.open.concat(at, parts).await
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        let (store, at) = self.resolve(at);
        store.read(&at, range).await
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        let (store, at) = self.resolve(at);
        store.remove(&at).await
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        self.open.unrecorded(after, limit).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}
