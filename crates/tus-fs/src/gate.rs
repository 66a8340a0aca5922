//! One slow call at a time for each upload.
//!
//! A call that is cancelled leaves its job running on the blocking pool. The job carries the
//! [`Pass`], so whoever comes next for that upload waits until the job has ended: nothing that a
//! dropped call began can land later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tus_core::{
    UploadId,
    store::{StoreError, StoreErrorKind},
};

/// The uploads that something is going on with right now; empty when the store is idle.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<UploadId, Gate>>);

#[derive(Debug, Default)]
struct Gate {
    mutex: Arc<AsyncMutex<()>>,
    tickets: usize,
}

/// Keeps the entry of one upload as long as somebody waits for it or is inside.
#[derive(Debug)]
struct Ticket {
    gates: Arc<Gates>,
    id: UploadId,
}

/// The right to touch the files of one upload.
#[derive(Debug)]
pub(crate) struct Pass {
    // Fields are dropped in this order: the gate is opened before its entry may go.
    _guard: OwnedMutexGuard<()>,
    _ticket: Ticket,
}

impl Gates {
    /// Waits until everything that was begun for this upload has ended.
    pub(crate) async fn enter(self: &Arc<Self>, id: &UploadId) -> Pass {
        let mutex = {
            let mut gates = self.lock();
            let gate = gates.entry(id.clone()).or_default();
            gate.tickets += 1;
            gate.mutex.clone()
        };
        let ticket = Ticket { gates: self.clone(), id: id.clone() };
        Pass { _guard: mutex.lock_owned().await, _ticket: ticket }
    }

    /// Whether something goes on with this upload, or is waited with.
    pub(crate) fn is_busy(&self, id: &UploadId) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Gate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get_mut(&self.id) {
            gate.tickets -= 1;
            if gate.tickets == 0 {
                gates.remove(&self.id);
            }
        }
    }
}

/// Runs a job that may wait for a disk where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        // The runtime is shutting down: the job never ran.
        Err(error) if error.is_cancelled() => {
            Err(StoreError::new(StoreErrorKind::Unavailable, error))
        }
        Err(error) => Err(StoreError::new(StoreErrorKind::Other, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, task::Context};

    use super::*;

    #[tokio::test]
    async fn a_second_visitor_waits_for_the_first_and_an_idle_gate_is_forgotten() {
        let gates = Arc::new(Gates::default());
        let id: UploadId = "a".parse().unwrap();
        let other: UploadId = "b".parse().unwrap();
        let first = gates.enter(&id).await;
        let _elsewhere = gates.enter(&other).await;

        let mut second = Box::pin(gates.enter(&id));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        let second = second.await;
        assert_eq!(gates.lock().len(), 2);

        let mut cancelled = Box::pin(gates.enter(&id));
        assert!(cancelled.as_mut().poll(&mut context).is_pending());
        drop(second);
        drop(cancelled);
        assert_eq!(gates.lock().keys().collect::<Vec<_>>(), [&other]);
    }
}
