//! Stores to try the suites with: some that use every freedom that the contracts leave them, and
//! some that break one promise each, beside the case that must notice.

mod broken_chunks;
mod broken_locker;
mod broken_meta;
mod lawful;

pub(crate) use self::{
    broken_chunks::ChunkFlaw,
    broken_locker::LockerFlaw,
    broken_meta::MetaFlaw,
    lawful::{Frugal, Placing},
};

/// A pause in the middle of what should be one step, long enough for everybody else to begin it
/// too, also where the machine is busy.
async fn another_turn() {
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
}
