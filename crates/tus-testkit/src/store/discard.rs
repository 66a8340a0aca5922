//! A store of lengths.

use std::{
    collections::HashMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use tus_core::{
    Locator, Timestamp, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, NewObject,
        StoreError, StoreErrorKind, Stored,
    },
};

/// Counts bytes and throws them away, so that what a transfer takes of memory is not the store's.
#[derive(Clone, Debug, Default)]
pub struct Discard(Arc<Mutex<HashMap<Locator, u64>>>);

impl Discard {
    /// A store that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn length(&self, at: &Locator) -> Result<u64, StoreError> {
        let lengths = self.0.lock().expect("no panic");
        let missing = || StoreError::new(StoreErrorKind::NotFound, at.as_str());
        lengths.get(at).copied().ok_or_else(missing)
    }
}

#[async_trait]
impl ChunkStore for Discard {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let at = Locator::new(new.id.as_str());
        let before = self.0.lock().expect("no panic").insert(at.clone(), 0);
        match before {
            None => Ok(at),
            Some(_) => Err(StoreError::new(StoreErrorKind::AlreadyExists, at.as_str())),
        }
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        Ok(Stored { length: self.length(at)?, synced: true, modified: Timestamp::now() })
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        _blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        if self.length(at)? != offset {
            return Err(StoreError::new(StoreErrorKind::Conflict, "another length"));
        }
        let (store, at) = (self.clone(), at.clone());
        Ok(Box::new(Counter { store, at }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        let short = self.length(at)?.min(length);
        self.0.lock().expect("no panic").insert(at.clone(), short);
        Ok(())
    }

    async fn finish(&self, at: &Locator, _upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.length(at).map(|_| at.clone())
    }

    async fn concat(&self, _at: &Locator, _parts: &[Locator]) -> Result<u64, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unsupported, "no bytes"))
    }

    async fn read(
        &self,
        _at: &Locator,
        _range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unsupported, "no bytes"))
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        self.0.lock().expect("no panic").remove(at);
        Ok(())
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        let _ = (after, limit);
        Ok(Vec::new())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct Counter {
    store: Discard,
    at: Locator,
}

#[async_trait]
impl ChunkWriter for Counter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let length = self.store.length(&self.at)? + chunk.len() as u64;
        let mut lengths = self.store.0.lock().expect("no panic");
        lengths.insert(self.at.clone(), length);
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.store.length(&self.at)
    }
}
