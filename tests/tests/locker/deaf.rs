//! The locker's own source, over a signal that can be missed: what the schedules must find.

#[path = "../../../crates/tus-core/src/store/memory/locker.rs"]
#[allow(dead_code, reason = "it is made for more than these tests")]
mod locker;
#[path = "sync.rs"]
mod sync;

pub use locker::MemoryLocker;

impl super::Tidy for MemoryLocker {
    fn lines(&self) -> usize {
        self.lanes().len()
    }
}

mod signal {
    use std::task::{Poll, Waker};

    use super::sync::{Mutex, lock};

    /// Asks whether it has happened, and only then, after a moment without the mutex, says whom
    /// to wake.
    #[derive(Default)]
    pub(super) struct Signal {
        given: Mutex<bool>,
        waiting: Mutex<Vec<Waker>>,
    }

    impl Signal {
        pub(super) fn give(&self) {
            *lock(&self.given) = true;
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            waiting.into_iter().for_each(Waker::wake);
        }

        pub(super) async fn heard(&self) {
            std::future::poll_fn(|context| {
                if *lock(&self.given) {
                    return Poll::Ready(());
                }
                lock(&self.waiting).push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}
