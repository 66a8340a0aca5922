//! What a store author reads, and nothing else.
//!
//! An upload is a small *record* and its *bytes*. Records live in a [`MetaStore`], bytes in a
//! [`ChunkStore`], and a [`Locker`] says who may write. One type may be more than one of them
//! (the file store is both stores).
//!
//! A store never sees a stream, a checksum, a client's error or a header. The engine pulls the
//! body and pushes [`Bytes`](bytes::Bytes) into a [`ChunkWriter`]; whatever goes wrong with the
//! client, a writer only ever hears *write*, *sync* or nothing more.
//!
//! To write a store of your own, implement the verbs of the trait, and let the suites of
//! `tus_core::conformance` (feature `conformance`) say which promise does not hold.

mod chunks;
mod error;
#[cfg(feature = "conformance")]
pub(crate) mod flaky;
mod forward;
mod lock;
#[cfg(feature = "engine")]
mod memory;
mod meta;
pub mod record;

pub use chunks::{
    Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, NewObject, PlaceAs,
    Stored,
};
pub use error::{StoreError, StoreErrorKind};
pub use lock::{Acquire, Lease, Locker};
#[cfg(feature = "engine")]
pub use memory::{MemoryLocker, MemoryStore};
pub use meta::{Due, MetaStore};
