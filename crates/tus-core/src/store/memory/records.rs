use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Bound,
};

use async_trait::async_trait;

use super::{MemoryStore, sync::lock};
use crate::{
    model::{Revision, Timestamp, Upload, UploadId},
    store::{Due, MetaStore, StoreError, StoreErrorKind, record},
};

/// The records, and beside them the order in which they become due.
#[derive(Default)]
pub(super) struct Records {
    by_id: HashMap<UploadId, Row>,
    due: BTreeSet<Due>,
    /// Counts the changes of all records: a revision is never given twice, not even to a record
    /// that was removed and created again.
    changes: u64,
}

/// A record as it would lie on a disk, so that what does not survive there does not here.
struct Row {
    encoded: Vec<u8>,
    revision: Revision,
    due_at: Option<Timestamp>,
}

impl Records {
    fn next_row(&mut self, upload: &Upload, encoded: Vec<u8>) -> Row {
        self.changes += 1;
        let due_at = upload.due_at();
        self.due.extend(due_at.map(|at| Due { at, id: upload.id.clone() }));
        Row { encoded, revision: Revision(self.changes), due_at }
    }

    fn forget_due(&mut self, id: &UploadId, due_at: Option<Timestamp>) {
        if let Some(at) = due_at {
            self.due.remove(&Due { at, id: id.clone() });
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("count", &self.by_id.len()).finish_non_exhaustive()
    }
}

fn no_such_record(id: &UploadId) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("no record of upload {id}"))
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        let encoded = record::encode(upload)?;
        let mut records = lock(&self.records);
        if records.by_id.contains_key(&upload.id) {
            let text = format!("a record of upload {}", upload.id);
            return Err(StoreError::new(StoreErrorKind::AlreadyExists, text));
        }
        let row = records.next_row(upload, encoded);
        let revision = row.revision;
        records.by_id.insert(upload.id.clone(), row);
        Ok(revision)
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        let (encoded, revision) = {
            let records = lock(&self.records);
            let row = records.by_id.get(id).ok_or_else(|| no_such_record(id))?;
            (row.encoded.clone(), row.revision)
        };
        Ok((record::decode(&encoded)?, revision))
    }

    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        let encoded = record::encode(upload)?;
        let mut records = lock(&self.records);
        let row = records.by_id.get(&upload.id).ok_or_else(|| no_such_record(&upload.id))?;
        if row.revision != expected {
            let text = format!("upload {} is at another revision", upload.id);
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        }
        let due_before = row.due_at;
        records.forget_due(&upload.id, due_before);
        let row = records.next_row(upload, encoded);
        let revision = row.revision;
        records.by_id.insert(upload.id.clone(), row);
        Ok(revision)
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        let mut records = lock(&self.records);
        if let Some(row) = records.by_id.remove(id) {
            records.forget_due(id, row.due_at);
        }
        Ok(())
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let records = lock(&self.records);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = records.due.range::<Due, _>((from, Bound::Unbounded));
        Ok(rest.take_while(|due| due.at <= now).take(limit).cloned().collect())
    }
}
