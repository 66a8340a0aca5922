use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Revision, Timestamp, Upload, UploadId};

/// Keeps the records of uploads: small, few writes, never the bytes.
///
/// A meta store never answers how many bytes there are; on the file store nothing is written
/// here while bytes arrive, so a record may lag behind them.
///
/// # Contract
///
/// - *Create is not save.* Of two creations of one id exactly one succeeds. A store that lets
///   both succeed hands one client's upload to another.
/// - *Update is compare-and-set.* It succeeds only if the stored revision is still the one given.
///   A store that overwrites blindly lets a writer that lost its lease undo what a newer one
///   recorded.
/// - What a successful call wrote survives the loss of the process at the next instruction (and,
///   where the store promises it, of power). A client is told so.
/// - A damaged record is [`Corrupt`](super::StoreErrorKind::Corrupt) for that upload alone.
#[async_trait]
pub trait MetaStore: Send + Sync + fmt::Debug + 'static {
    /// Stores a new record.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the id is taken; nothing is changed then.
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError>;

    /// Reads a record and its revision.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Corrupt` when it cannot be read back.
    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError>;

    /// Replaces a record, if its revision is still `expected`.
    ///
    /// # Errors
    ///
    /// `Conflict` if the revision moved on, `NotFound` if the record is gone; nothing is changed
    /// in either case.
    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError>;

    /// Forgets a record; forgetting an unknown one succeeds.
    ///
    /// # Errors
    ///
    /// Only the store's own failures.
    async fn remove(&self, id: &UploadId) -> Result<(), StoreError>;

    /// The next records whose [`due_at`](Upload::due_at) is at or before `now`, oldest first, at
    /// most `limit`, after the one given.
    ///
    /// Memory is bounded by `limit`, however many records there are. A record that cannot be read
    /// is left out and reported in the log.
    ///
    /// # Errors
    ///
    /// Only the store's own failures.
    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError>;
}

/// A record that a sweeper should look at, and since when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Since when.
    pub at: Timestamp,
    /// Which.
    pub id: UploadId,
}
