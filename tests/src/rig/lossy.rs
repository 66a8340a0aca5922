//! A chunk store that forgets at a crash what was not synced.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
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

use super::Clock;

/// How a [`Lossy`] store behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether bytes are volatile until they are synced.
    pub volatile: bool,
    /// Whether finished bytes get a new locator.
    pub places: bool,
    /// Whether it cannot read.
    pub is_blind: bool,
}

/// Keeps bytes in memory as a disk with a page cache would.
///
/// Within one life of the process it tells the length in the cache, as a file does, and says
/// whether all of it is on the disk. A sync that fails leaves its pages behind as if they were
/// clean, as Linux does: a later sync has nothing to do and succeeds, and they are lost all the
/// same.
#[derive(Clone, Debug)]
pub struct Lossy {
    objects: Arc<Mutex<Objects>>,
    clock: Clock,
    manner: Manner,
}

#[derive(Debug, Default)]
struct Objects {
    by_locator: BTreeMap<String, Object>,
    fail_next_sync: bool,
    writers: BTreeMap<String, usize>,
    most_writers: usize,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Vec<u8>,
    /// So many are on the disk, or are believed to be.
    clean: usize,
    /// From here on clean pages are lies.
    lost_from: Option<usize>,
    modified: Timestamp,
}

impl Object {
    fn durable(&self) -> usize {
        self.lost_from.map_or(self.clean, |lost| lost.min(self.clean))
    }

    fn cut(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.clean = self.clean.min(length);
        self.lost_from = self.lost_from.filter(|lost| *lost < length);
    }
}

fn missing(at: &Locator) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("no object {:?}", at.as_str()))
}

impl Lossy {
    /// An empty store.
    pub fn new(clock: Clock, manner: Manner) -> Self {
        Self { objects: Arc::default(), clock, manner }
    }

    /// Pulls the plug: what was not on the disk is gone.
    pub fn crash(&self) {
        for object in self.lock().by_locator.values_mut() {
            let durable = object.durable();
            object.cut(durable);
            object.lost_from = None;
        }
    }

    /// The next sync fails, and its pages are lost.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    /// All bytes, durable or not; `None` if there is no such object.
    pub fn bytes(&self, at: &Locator) -> Option<Vec<u8>> {
        self.lock().by_locator.get(at.as_str()).map(|object| object.bytes.clone())
    }

    /// The most writers that an object ever had at once.
    pub fn most_writers(&self) -> usize {
        self.lock().most_writers
    }

    /// Where there are bytes.
    pub fn locators(&self) -> Vec<String> {
        self.lock().by_locator.keys().cloned().collect()
    }

    /// The bytes that would survive a crash now; `None` if there is no such object.
    pub fn durable(&self, at: &Locator) -> Option<Vec<u8>> {
        let objects = self.lock();
        let object = objects.by_locator.get(at.as_str())?;
        Some(object.bytes[..object.durable()].to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("no test panics while it holds this")
    }

    fn with<T>(&self, at: &Locator, f: impl FnOnce(&mut Object) -> T) -> Result<T, StoreError> {
        let mut objects = self.lock();
        objects.by_locator.get_mut(at.as_str()).map(f).ok_or_else(|| missing(at))
    }

    fn make(&self, at: &str, bytes: Vec<u8>) {
        let clean = bytes.len();
        let modified = self.clock.now();
        let object = Object { bytes, clean, lost_from: None, modified };
        self.lock().by_locator.insert(at.to_owned(), object);
    }
}

#[async_trait]
impl ChunkStore for Lossy {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let at = Locator::new(new.id.as_str());
        if self.lock().by_locator.contains_key(at.as_str()) {
            let text = format!("an object of upload {}", new.id);
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, text));
        }
        self.make(at.as_str(), Vec::new());
        Ok(at)
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        self.with(at, |object| Stored {
            length: object.bytes.len() as u64,
            synced: object.clean == object.bytes.len(),
            modified: object.modified,
        })
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        _blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let length = self.stat(at).await?.length;
        if length != offset {
            let text = format!("opened at {offset}, {length} bytes are stored");
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        }
        let mut objects = self.lock();
        let Objects { writers, most_writers, .. } = &mut *objects;
        let writers = writers.entry(at.as_str().to_owned()).or_default();
        *writers += 1;
        *most_writers = (*most_writers).max(*writers);
        drop(objects);
        Ok(Box::new(Writer { store: self.clone(), at: at.clone() }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        let length = usize::try_from(length).expect("a small test");
        self.with(at, |object| object.cut(length))
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        let bytes = self.durable(at).ok_or_else(|| missing(at))?;
        if bytes.len() as u64 != upload.length {
            let text = format!("finish of {}, {} bytes are durable", upload.length, bytes.len());
            return Err(StoreError::new(StoreErrorKind::Corrupt, text));
        }
        if !self.manner.places || at.as_str().starts_with("placed/") {
            return Ok(at.clone());
        }
        let placed = format!("placed/{}", upload.id);
        self.make(&placed, bytes);
        Ok(Locator::new(placed))
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        let mut sum = Vec::new();
        for part in parts {
            sum.extend(self.with(part, |object| object.bytes.clone())?);
        }
        self.stat(at).await?;
        let length = sum.len() as u64;
        self.make(at.as_str(), sum);
        Ok(length)
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        if self.manner.is_blind {
            return Err(StoreError::new(StoreErrorKind::Unsupported, "it cannot read"));
        }
        let clip = |at: u64, length: usize| usize::try_from(at).expect("a small test").min(length);
        let bytes = self.with(at, |object| {
            let length = object.bytes.len();
            object.bytes[clip(range.start, length)..clip(range.end, length)].to_vec()
        })?;
        Ok(Box::new(Reader(bytes)))
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        self.lock().by_locator.remove(at.as_str());
        Ok(())
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        let objects = self.lock();
        let empty = objects.by_locator.iter().filter(|(_, object)| object.bytes.is_empty());
        let named = empty.filter_map(|(at, _)| Some((at.parse().ok()?, Locator::new(at))));
        let mut named: Vec<(UploadId, _)> = named.collect();
        named.retain(|(id, _)| after.is_none_or(|after| id > after));
        named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        named.truncate(limit);
        Ok(named)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::ALL;
        capabilities.read = !self.manner.is_blind;
        capabilities
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct Writer {
    store: Lossy,
    at: Locator,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(writers) = self.store.lock().writers.get_mut(self.at.as_str()) {
            *writers -= 1;
        }
    }
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let (now, volatile) = (self.store.clock.now(), self.store.manner.volatile);
        self.store.with(&self.at, |object| {
            object.bytes.extend_from_slice(&chunk);
            object.modified = now;
            if !volatile {
                object.clean = object.bytes.len();
            }
        })
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        let fails = std::mem::take(&mut self.store.lock().fail_next_sync);
        let length = self.store.with(&self.at, |object| {
            if fails {
                object.lost_from = object.lost_from.or(Some(object.clean));
            } else {
                object.clean = object.bytes.len();
            }
            object.bytes.len() as u64
        })?;
        match fails {
            true => Err(StoreError::new(StoreErrorKind::Other, "the disk did not take it")),
            false => Ok(length),
        }
    }
}

#[derive(Debug)]
struct Reader(Vec<u8>);

#[async_trait]
impl ChunkReader for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let bytes = std::mem::take(&mut self.0);
        Ok((!bytes.is_empty()).then(|| bytes.into()))
    }
}
