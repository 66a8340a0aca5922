use std::{
    collections::{HashMap, hash_map},
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{MemoryStore, sync::lock};
use crate::{
    model::{Locator, Timestamp, UploadId},
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, NewObject,
        StoreError, StoreErrorKind, Stored,
    },
};

/// The most bytes that a reader gives at once.
const PIECE: u64 = 64 * 1024;

/// The objects by locator. A writer holds on to its object, not to its name: what it writes
/// after a removal lands in nothing that a later object of that name could show.
#[derive(Default)]
pub(super) struct Objects(HashMap<Locator, Arc<Mutex<Object>>>);

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

struct Object {
    bytes: Vec<u8>,
    modified: Timestamp,
}

impl Object {
    fn new() -> Self {
        Self { bytes: Vec::new(), modified: Timestamp::now() }
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes of a range, as far as they exist.
    fn slice(&self, range: Range<u64>) -> &[u8] {
        let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.get(clip(range.start)..clip(range.end)).unwrap_or_default()
    }

    /// Writes over what is there from `offset` on and adds the rest; never leaves a gap.
    fn write_at(&mut self, offset: u64, chunk: &[u8]) -> Result<(), StoreError> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(tail) = self.bytes.get_mut(offset..) else {
            let text = format!("a write at {offset} of {} stored bytes", self.bytes.len());
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        };
        let (over, add) = chunk.split_at(chunk.len().min(tail.len()));
        for (old, new) in tail.iter_mut().zip(over) {
            *old = *new;
        }
        self.bytes.extend_from_slice(add);
        self.modified = self.modified.max(Timestamp::now());
        Ok(())
    }
}

impl MemoryStore {
    fn object(&self, at: &Locator) -> Result<Arc<Mutex<Object>>, StoreError> {
        let missing = || {
            let text = format!("no object {:?}", at.as_str());
            StoreError::new(StoreErrorKind::NotFound, text)
        };
        lock(&self.objects).0.get(at).cloned().ok_or_else(missing)
    }
}

#[async_trait]
impl ChunkStore for MemoryStore {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let at = Locator::new(new.id.as_str());
        match lock(&self.objects).0.entry(at.clone()) {
            hash_map::Entry::Vacant(free) => {
                free.insert(Arc::new(Mutex::new(Object::new())));
                Ok(at)
            }
            hash_map::Entry::Occupied(_) => {
                let text = format!("an object of upload {}", new.id);
                Err(StoreError::new(StoreErrorKind::AlreadyExists, text))
            }
        }
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let object = self.object(at)?;
        let object = lock(&object);
        Ok(Stored { length: object.length(), synced: true, modified: object.modified })
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        _blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let object = self.object(at)?;
        let length = lock(&object).length();
        if length != offset {
            let text = format!("opened at {offset}, {length} bytes are stored");
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        }
        Ok(Box::new(Writer { object, offset }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        let object = self.object(at)?;
        lock(&object).bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    async fn finish(&self, at: &Locator, _upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        self.object(at).map(|_| at.clone())
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        let object = self.object(at)?;
        let mut sum = Vec::new();
        for part in parts {
            sum.extend_from_slice(&lock(&*self.object(part)?).bytes);
        }
        let mut object = lock(&object);
        object.bytes = sum;
        object.modified = object.modified.max(Timestamp::now());
        Ok(object.length())
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        Ok(Box::new(Reader { object: self.object(at)?, rest: range }))
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        lock(&self.objects).0.remove(at);
        Ok(())
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        let objects = lock(&self.objects);
        let empty = objects.0.iter().filter(|(_, object)| lock(object).bytes.is_empty());
        let named = empty.filter_map(|(at, _)| Some((at.as_str().parse().ok()?, at.clone())));
        let mut named: Vec<(UploadId, _)> = named.collect();
        named.retain(|(id, _)| after.is_none_or(|after| id > after));
        named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        named.truncate(limit);
        Ok(named)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}

struct Writer {
    object: Arc<Mutex<Object>>,
    offset: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("offset", &self.offset).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        lock(&self.object).write_at(self.offset, &chunk)?;
        self.offset += chunk.len() as u64;
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        Ok(lock(&self.object).length())
    }
}

struct Reader {
    object: Arc<Mutex<Object>>,
    rest: Range<u64>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[async_trait]
impl ChunkReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let end = self.rest.end.min(self.rest.start.saturating_add(PIECE));
        let piece = Bytes::copy_from_slice(lock(&self.object).slice(self.rest.start..end));
        self.rest.start += piece.len() as u64;
        Ok((!piece.is_empty()).then_some(piece))
    }
}
