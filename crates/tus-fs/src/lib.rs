//! Keeps uploads in files.
//!
//! [`FsStore`] is both stores that the engine of `tus-core` asks for: records and bytes, in one
//! upload directory that one process owns. Finished uploads stay there, or get a name for people
//! in a destination directory.
//!
//! ```
//! use bytes::Bytes;
//! use tus_core::{
//!     UploadId,
//!     store::{Blocking, ChunkStore, NewObject},
//! };
//! use tus_fs::{FsStore, Naming};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let (data, done) = (home.path().join("data"), home.path().join("done"));
//! let store = FsStore::builder(data).destination(done).naming(Naming::Increment).open().await?;
//!
//! // What the engine does for the first bytes of an upload:
//! let id: UploadId = "24e533e02ec3bc40c387f1a0e460e216".parse()?;
//! let at = store.create(&NewObject::new(&id)).await?;
//! let mut writer = store.open(&at, 0, Blocking::InPlace).await?;
//! writer.write(Bytes::from("hello")).await?;
//! assert_eq!(writer.sync().await?, 5);
//! assert!(store.stat(&at).await?.synced);
//! # Ok(()) }
//! ```
//!
//! # What survives what
//!
//! While the machine stays up, the length of an upload's file is its offset, and an append writes
//! nothing else. Under [`Durability::Power`] every offset that is told is also a *sync point*: the
//! bytes are synced, then a small slot beside them says how many. After a reboot, what lies beyond
//! the last sync point proves nothing and is cut. A sync that fails puts its upload back to the
//! sync point before it at once; it is never tried again as if nothing had happened.
//!
//! Records are replaced as a whole, under a new name first. One that is damaged is found out by its
//! checksum and harms its own upload alone.
//!
//! # What lies where
//!
//! In the upload directory, flat, for its owner alone: `<id>.bin` (bytes), `<id>.rec` (record),
//! `<id>.slot` (sync points, `power` only), `<id>.place` (where a finish that was begun is going)
//! and `.lock`. The time of modification of `<id>.rec` is when that upload is due for a look, which
//! may be in the future; a sweep so opens only the records that are due.
//!
//! To move a store to another machine, stop the server, copy both directories with their times (as
//! `rsync -a` and `cp -a` do) and start it there. A placed file is known by its path, length and
//! time of last write: one that was changed or replaced since is no longer the upload's, and is
//! neither served nor deleted through its URL.
//!
//! A creation that was cut off by a crash can leave an empty `<id>.bin` that has no record; the
//! engine's sweeper removes it. Files of an upload whose record is gone, which are back if the
//! system failed to sync their removal and then lost its power, are left alone; they may be deleted.
//!
//! # Which file systems
//!
//! Any that keeps what it has synced, on any Unix. Links within the destination are never followed,
//! directories there are never replaced, and nothing is removed that was not placed by an upload.
//! Network file systems report some write errors only when a file is synced: use
//! [`Durability::Power`] on them.

#[cfg(not(unix))]
compile_error!("tus-fs needs a Unix-like system");

mod builder;
mod chunks;
mod destination;
mod disk;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod layout;
mod lock;
mod meta;
mod naming;
mod note;
mod object;
mod place;
mod reader;
mod reserve;
mod slots;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

pub use builder::{FsStoreBuilder, OpenError};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use disk::watch;
pub use naming::{
    FolderTemplate, FolderTemplateError, Naming, OnConflict, ParseNamingError, ParseOnConflictError,
};
pub use reserve::Reserve;

use crate::{
    destination::Destination,
    disk::{Dir, File},
    gate::Gates,
    meta::Doubtful,
};

/// Uploads in a directory: their records, their bytes, and where they go when they are whole.
///
/// Cheap to clone; the directory is held until the last clone and the last writer are dropped.
#[derive(Clone, Debug)]
pub struct FsStore(Arc<Inner>);

/// What the promises of a store survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The loss of power: whatever is told has been synced.
    #[default]
    Power,
    /// The loss of the process: whatever is told has been written. After a loss of power, uploads
    /// may be shorter than was told, or hold zeros where bytes were lost.
    Process,
}

#[derive(Debug)]
pub(crate) struct Inner {
    dir: Dir,
    destination: Option<Destination>,
    durability: Durability,
    reserve: Reserve,
    /// Which boot of the machine this is.
    boot: u64,
    /// Which start of the store this is; no two are alike.
    start: u64,
    bytes: Arc<Gates>,
    records: Arc<Gates>,
    doubtful: Doubtful,
    _lock: File,
}

impl FsStore {
    /// Opens a store that keeps finished uploads where they are, with [`Durability::Power`].
    ///
    /// # Errors
    ///
    /// What [`OpenError`] lists.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(dir).open().await
    }

    /// Settings of a store in this upload directory.
    pub fn builder(dir: impl Into<PathBuf>) -> FsStoreBuilder {
        FsStoreBuilder::new(dir.into())
    }
}
