//! What the locker shares between threads, as the scheduler of the tests sees it.

use std::{pin::pin, sync::PoisonError, time::Duration};

use futures_util::future::{Either, select};
pub(super) use shuttle::sync::{Arc, Mutex, MutexGuard};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time passes whenever the scheduler likes, except that for ever is for ever.
pub(super) async fn timeout<F: Future>(wait: Duration, future: F) -> Result<F::Output, ()> {
    if wait == Duration::MAX {
        return Ok(future.await);
    }
    let clock = shuttle::future::spawn(async {});
    match select(pin!(future), clock).await {
        Either::Left((output, _clock)) => Ok(output),
        Either::Right(_) => Err(()),
    }
}
