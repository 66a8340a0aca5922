//! Records: one file each, replaced as a whole.
//!
//! | call | order | a crash leaves |
//! |---|---|---|
//! | create | write aside, sync, rename if free, sync directory | no record, or a whole one |
//! | update | write aside, sync, rename over, sync directory | the old record, or the new one |
//! | remove | unlink, sync directory | the record, or none |
//!
//! What was written aside is removed by the next attempt. A record whose name could not be
//! synced is taken away again (create), or given its name anew before it is read (update).
//!
//! The file's time of modification says when the record is due, so that [`MetaStore::due`] opens
//! only those that are, and keeps no index in memory. It is a hint: a restored backup that lost
//! it makes records be read that need not be, and what a record says decides.

use std::{
    collections::{BTreeSet, HashSet},
    ops::RangeInclusive,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tus_core::{
    Revision, Timestamp, Upload, UploadId,
    store::{Due, MetaStore, StoreError, StoreErrorKind, record},
};

use crate::{
    Durability, FsStore, Inner,
    disk::{Open, regular},
    gate::blocking,
    layout::{self, During},
};

const MAGIC: &str = "tus-fs-record 1";
const MAX_HEAD: usize = 64;

/// 2100-01-01: what is due later, or never, is marked so. Not every file system can say later.
const FAR: u64 = 4_102_444_800_000;

/// A record as a file: a line with the revision and the checksum of revision and record.
pub(crate) fn seal(upload: &Upload, revision: Revision) -> Result<Vec<u8>, StoreError> {
    let body = record::encode(upload)?;
    let mut bytes = format!("{MAGIC} {:08x} {}\n", sum(revision, &body), revision.0).into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

pub(crate) fn unseal(bytes: &[u8]) -> Result<(Upload, Revision), StoreError> {
    let corrupt = |text: &str| StoreError::new(StoreErrorKind::Corrupt, text);
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| corrupt("no head line"))?;
    let (head, body) = bytes.split_at(end);
    let body = body.strip_prefix(b"\n").unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| corrupt("the head line is not text"))?;
    let rest = head.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' '));
    let (crc, revision) = rest
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(|| corrupt("not a record that this release knows"))?;
    let revision = Revision(revision.parse().map_err(|_| corrupt("no revision"))?);
    if u32::from_str_radix(crc, 16) != Ok(sum(revision, body)) {
        return Err(corrupt("the checksum does not match"));
    }
    Ok((record::decode(body)?, revision))
}

fn sum(revision: Revision, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&revision.0.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// When a record is due, as its file's time of modification.
fn due_mark(upload: &Upload) -> SystemTime {
    let at = upload.due_at().map_or(FAR, |at| at.as_millis().min(FAR));
    SystemTime::UNIX_EPOCH + Duration::from_millis(at)
}

/// Records whose newest version is seen but may be on no disk, because a sync failed after it was
/// given its name: the system may call the next sync a success and yet have lost the name. Each is
/// replaced anew before anybody is told what it says.
#[derive(Debug, Default)]
pub(crate) struct Doubtful {
    ids: Mutex<HashSet<UploadId>>,
    count: AtomicUsize,
}

impl Doubtful {
    fn has(&self, id: &UploadId) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.lock().contains(id)
    }

    fn add(&self, id: &UploadId) {
        let mut ids = self.lock();
        ids.insert(id.clone());
        self.count.store(ids.len(), Ordering::Release);
    }

    fn remove(&self, id: &UploadId) {
        if self.has(id) {
            let mut ids = self.lock();
            ids.remove(id);
            self.count.store(ids.len(), Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<UploadId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn read_record(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        let name = layout::record(id);
        let file = self.dir.open(&name, Open::Read).during("open", &name)?;
        regular(&file).during("look at", &name)?;
        let bytes = file.read_all(record::MAX_LEN + MAX_HEAD + 1).during("read", &name)?;
        let (upload, revision) = unseal(&bytes)
            .map_err(|error| StoreError::new(error.kind(), format!("{name}: {error}")))?;
        if upload.id != *id {
            // Some file systems take two names for one that differ in their letters' case.
            if upload.id.as_str().eq_ignore_ascii_case(id.as_str()) {
                let text = format!("there is {}, but no {id}", upload.id);
                return Err(StoreError::new(StoreErrorKind::NotFound, text));
            }
            let text = format!("{name} is the record of upload {}", upload.id);
            return Err(StoreError::new(StoreErrorKind::Corrupt, text));
        }
        Ok((upload, revision))
    }

    /// Writes a record aside, under the name that it returns.
    fn write_record(&self, upload: &Upload, revision: Revision) -> Result<String, StoreError> {
        let bytes = seal(upload, revision)?;
        let temp = layout::record_temp(&upload.id);
        let file = self.dir.open_fresh(&temp).during("create", &temp)?;
        let write = || {
            file.write_all_at(&bytes, 0)?;
            file.set_modified(due_mark(upload))?;
            match self.durability {
                Durability::Power => file.sync_all(),
                Durability::Process => Ok(()),
            }
        };
        match write().during("write", &temp) {
            Ok(()) => Ok(temp),
            Err(error) => {
                // On a full disk even this would be in the way; else the next attempt has it.
                if let Err(error) = self.dir.unlink(&temp) {
                    tracing::warn!(upload = %upload.id, %error, "{temp} is left");
                }
                Err(error)
            }
        }
    }

    fn create_record(&self, upload: &Upload) -> Result<Revision, StoreError> {
        let name = layout::record(&upload.id);
        if self.dir.stat(&name).during("look for", &name)?.is_some() {
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, format!("{name} exists")));
        }
        let first = Revision(1);
        let temp = self.write_record(upload, first)?;
        self.dir.rename_new(&temp, &self.dir, &name).during("create", &name)?;
        self.settle_names().inspect_err(|_| {
            // Nobody will be told of it, and its bytes are about to be removed.
            let gone = self.dir.unlink(&name).during("remove", &name);
            if let Err(error) = gone.and_then(|_| self.settle_names()) {
                tracing::warn!(upload = %upload.id, %error, "{name} may be left");
            }
        })?;
        Ok(first)
    }

    fn update_record(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        let (_, current) = self.read_record(&upload.id)?;
        if current != expected {
            let text = format!("upload {} is at revision {}", upload.id, current.0);
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        }
        let next = Revision(current.0.wrapping_add(1));
        self.replace_record(upload, next)?;
        Ok(next)
    }

    fn replace_record(&self, upload: &Upload, revision: Revision) -> Result<(), StoreError> {
        let name = layout::record(&upload.id);
        let temp = self.write_record(upload, revision)?;
        self.dir.rename(&temp, &self.dir, &name).during("replace", &name)?;
        match self.settle_names() {
            Ok(()) => self.doubtful.remove(&upload.id),
            Err(error) => {
                self.doubtful.add(&upload.id);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Replaces a record by itself, so that its name is durable if the next sync says so.
    fn renew_record(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        let (upload, revision) = self.read_record(id)?;
        if self.doubtful.has(id) {
            self.replace_record(&upload, revision)?;
        }
        Ok((upload, revision))
    }

    fn remove_record(&self, id: &UploadId) -> Result<(), StoreError> {
        for name in [layout::record_temp(id), layout::record(id)] {
            self.dir.unlink(&name).during("remove", &name)?;
        }
        // Also when nothing was there: an attempt before this one may not have come so far.
        self.settle_names()?;
        self.doubtful.remove(id);
        Ok(())
    }

    /// Makes what was created, renamed and removed in the upload directory durable.
    pub(crate) fn settle_names(&self) -> Result<(), StoreError> {
        match self.durability {
            Durability::Power => self.dir.sync().during("sync", "the upload directory"),
            Durability::Process => Ok(()),
        }
    }

    fn due_records(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let mut first = BTreeSet::new();
        for name in self.dir.names().during("list", "the upload directory")? {
            let name = name.during("list", "the upload directory")?;
            let id = name.strip_suffix(layout::RECORD_SUFFIX).and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            // What comes before this page or after it need not be read.
            let from = after.map_or(Timestamp::from_millis(0), |after| after.at);
            let to = if first.len() < limit { None } else { first.last().map(|due: &Due| due.at) };
            match self.due_record(&id, &name, from..=to.unwrap_or(now)) {
                Ok(Some(at)) => {
                    let due = Due { at, id };
                    if after.is_none_or(|after| due > *after) {
                        first.insert(due);
                    }
                }
                Ok(None) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => tracing::warn!(upload = %id, %error, "its record cannot be read"),
            }
            if first.len() > limit {
                first.pop_last();
            }
        }
        Ok(first.into_iter().collect())
    }

    fn due_record(
        &self,
        id: &UploadId,
        name: &str,
        range: RangeInclusive<Timestamp>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(found) = self.dir.stat(name).during("look at", name)? else {
            return Ok(None);
        };
        // In whole seconds, rounded down.
        let mark = u64::try_from(found.modified).unwrap_or(0).saturating_mul(1000);
        let is_before = mark.saturating_add(1000) < range.start().as_millis();
        if is_before || mark > range.end().as_millis() {
            return Ok(None);
        }
        let (upload, _) = self.read_record(id)?;
        Ok(upload.due_at().filter(|at| range.contains(at)))
    }
}

impl FsStore {
    /// Does something with the record of one upload, after whatever else was begun with it.
    async fn on_record<T: Send + 'static>(
        &self,
        id: &UploadId,
        job: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pass = self.0.records.enter(id).await;
        let inner = self.0.clone();
        blocking(move || {
            let _pass = pass;
            job(&inner)
        })
        .await
    }
}

#[async_trait]
impl MetaStore for FsStore {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        let record = upload.clone();
        self.on_record(&upload.id, move |inner| inner.create_record(&record)).await
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        // An update whose caller has gone may be under way; what is read must not be older.
        if self.0.doubtful.has(id) || self.0.records.is_busy(id) {
            let target = id.clone();
            return self.on_record(id, move |inner| inner.renew_record(&target)).await;
        }
        self.0.read_record(id)
    }

    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        let record = upload.clone();
        self.on_record(&upload.id, move |inner| inner.update_record(&record, expected)).await
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        let target = id.clone();
        self.on_record(id, move |inner| inner.remove_record(&target)).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let (inner, after) = (self.0.clone(), after.cloned());
        blocking(move || inner.due_records(now, after.as_ref(), limit)).await
    }
}
