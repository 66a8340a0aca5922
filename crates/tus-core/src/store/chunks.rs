use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::model::{Locator, Metadata, Placement, Timestamp, UploadId};

/// Keeps the bytes of uploads.
///
/// # Contract
///
/// - [`stat`](Self::stat) *is the truth about the offset.* It never goes down except by
///   [`truncate`](Self::truncate), and what it calls synced survives the loss of the process
///   (and of power, where the store promises that). A store that reports more than it keeps
///   makes clients skip bytes that nobody has.
/// - Writes are positional: the same bytes written again at the same offset change nothing.
/// - A write that was begun has ended when the call returns or its writer is dropped: nothing may
///   land after the engine has let go of the upload.
/// - A store that cannot do an optional verb says so in its [`Capabilities`] and answers
///   `Unsupported`.
#[async_trait]
pub trait ChunkStore: Send + Sync + fmt::Debug + 'static {
    /// Makes an empty object.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the id is taken, or if the store knows already that the name under
    /// which the finished bytes would be placed is taken and may not be replaced.
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError>;

    /// How many bytes are stored, and since when.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object.
    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError>;

    /// Opens an object for writing at its stored length.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if `offset` is not the stored length.
    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError>;

    /// Cuts an object to `length` bytes, durably; a shorter one is left as it is.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object.
    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError>;

    /// The bytes are whole: puts them where they belong, durably, and says where that is.
    ///
    /// Safe to repeat after a crash at any point: a second call finds what the first one did. The
    /// bytes stay readable under the old locator until [`remove`](Self::remove) of it, which the
    /// engine calls once the new one is recorded. A store that leaves the bytes where they are
    /// returns the locator that it was given.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken and may not be replaced: the upload is refused for
    /// good, and its bytes stay where they are.
    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError>;

    /// Replaces what an object holds by the bytes of others, in this order, durably, and returns
    /// their sum; the others stay as they are.
    ///
    /// Safe to repeat after a crash at any point.
    ///
    /// # Errors
    ///
    /// `NotFound` if any is missing; `Unsupported`.
    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError>;

    /// Reads a range of bytes; the end may lie beyond what is stored.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such object, or an application has moved it away;
    /// `Unsupported`.
    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError>;

    /// Removes an object; removing an unknown one succeeds.
    ///
    /// # Errors
    ///
    /// Only the store's own failures.
    async fn remove(&self, at: &Locator) -> Result<(), StoreError>;

    /// Objects of which nothing was ever recorded, perhaps: those without a byte, in the order of
    /// their ids, at most `limit`, after the one given.
    ///
    /// A process that dies between creating an object and recording it leaves one behind. The
    /// engine removes what is named here if no record knows it, so an object that has bytes is
    /// never named. A store in which nothing can be left behind names none.
    ///
    /// # Errors
    ///
    /// Only the store's own failures.
    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError>;

    /// What this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Where an application that runs on the same machine finds the bytes, if they are a file.
    fn local_path(&self, at: &Locator) -> Option<std::path::PathBuf>;
}

/// Takes the bytes of one request.
///
/// Dropping it without [`sync`](Self::sync) is a crash: it may lose what was not synced, and
/// nothing else.
#[async_trait]
pub trait ChunkWriter: Send + fmt::Debug {
    /// Accepts the next bytes, perhaps into a buffer.
    ///
    /// # Errors
    ///
    /// After an error the writer is spent: what [`ChunkStore::stat`] says is what counts.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError>;

    /// Makes everything accepted durable, and returns the object's length.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). A failed sync is never tried again on the same writer.
    async fn sync(&mut self) -> Result<u64, StoreError>;
}

/// Gives the bytes of one download.
#[async_trait]
pub trait ChunkReader: Send + fmt::Debug {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The store's own failures; the answer is cut off then.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError>;
}

/// What a store is told when an object is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewObject<'a> {
    /// The upload's id.
    pub id: &'a UploadId,
    /// The declared whole, when it is known.
    pub length: Option<u64>,
    /// Whether it will be placed when it is whole (partials are not), and how.
    pub place: Option<PlaceAs<'a>>,
}

impl<'a> NewObject<'a> {
    /// An object for this id, never to be placed, of unknown length.
    pub fn new(id: &'a UploadId) -> Self {
        Self { id, length: None, place: None }
    }
}

/// What decides the place and name of a finished upload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlaceAs<'a> {
    /// The client's metadata.
    pub metadata: &'a Metadata,
    /// The application's wishes.
    pub placement: &'a Placement,
    /// The owner.
    pub owner: Option<&'a str>,
    /// When the upload was created.
    pub created_at: Timestamp,
}

/// What a store is told when an object is whole.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FinishAs<'a> {
    /// The upload's id.
    pub id: &'a UploadId,
    /// How many bytes it has.
    pub length: u64,
    /// What decides its place.
    pub place: PlaceAs<'a>,
}

impl<'a> PlaceAs<'a> {
    /// What decides the place of this upload.
    pub fn of(upload: &'a crate::model::Upload) -> Self {
        Self {
            metadata: &upload.metadata,
            placement: &upload.placement,
            owner: upload.owner.as_deref(),
            created_at: upload.created_at,
        }
    }
}

impl<'a> FinishAs<'a> {
    /// This upload, whole at `length` bytes.
    pub fn of(upload: &'a crate::model::Upload, length: u64) -> Self {
        Self { id: &upload.id, length, place: PlaceAs::of(upload) }
    }
}

/// What is stored of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// How many bytes.
    pub length: u64,
    /// Whether all of them are as durable as the store promises. If not, the engine syncs before
    /// it tells the length to anybody.
    pub synced: bool,
    /// When the last byte was written, by the store's clock.
    pub modified: Timestamp,
}

/// What a chunk store can do besides taking bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`ChunkStore::concat`] works.
    pub concat: bool,
    /// [`ChunkStore::read`] works.
    pub read: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self { concat: true, read: true };
}

/// How a store may wait for slow calls (a disk's) on the thread it runs on.
///
/// The adapter knows the runtime and says which; a store never guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On a worker of a multi-threaded runtime: short calls inline, longer ones inside
    /// `tokio::task::block_in_place`.
    InPlace,
    /// On a thread that must never block, such as an actix worker or a current-thread runtime:
    /// everything goes to `tokio::task::spawn_blocking`.
    Offload,
}
