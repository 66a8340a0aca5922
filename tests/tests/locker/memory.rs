//! The locker's own sources, on the scheduler's threads.

#[path = "../../../crates/tus-core/src/store/memory/locker.rs"]
#[allow(dead_code, reason = "it is made for more than these tests")]
mod locker;
#[path = "../../../crates/tus-core/src/store/memory/signal.rs"]
mod signal;
#[path = "sync.rs"]
mod sync;

pub use locker::MemoryLocker;

impl super::Tidy for MemoryLocker {
    fn lines(&self) -> usize {
        self.lanes().len()
    }
}
