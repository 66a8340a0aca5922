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
