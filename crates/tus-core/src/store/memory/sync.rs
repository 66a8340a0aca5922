//! What the stores here share between threads. `tests/tests/locker.rs` compiles the locker against
//! another module of this name, whose threads a scheduler of its own interleaves.

use std::sync::PoisonError;
pub(super) use std::sync::{Arc, Mutex, MutexGuard};

pub(super) use tokio::time::timeout;

/// A panic elsewhere does not make what is kept wrong: every change here is made in one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
