//! Stores without a disk: for tests, for examples, and to be read by authors of other stores.

mod chunks;
mod locker;
#[cfg(test)]
mod locker_tests;
mod records;
mod signal;
#[cfg(test)]
mod signal_tests;
mod sync;

pub use locker::MemoryLocker;

use self::{
    chunks::Objects,
    records::Records,
    sync::{Arc, Mutex},
};

/// Keeps records and bytes in the process's memory.
///
/// Clones share what they keep, so a clone is what another process would see on a shared disk:
/// a test that "restarts" keeps one, drops everything else, and begins anew. Bytes stay where
/// they are when an upload is complete.
///
/// ```
/// # use tus_core::store::{MemoryStore, MetaStore};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// let missing = MetaStore::load(&store, &"nobody".parse().unwrap()).await;
/// assert!(missing.unwrap_err().is_not_found());
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    records: Arc<Mutex<Records>>,
    objects: Arc<Mutex<Objects>>,
}

impl MemoryStore {
    /// A store that keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}
