//! Waiting with a deadline, never for a fixed time.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// The longest that anything here waits: far more than any of it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits something, and panics with its name if it takes longer than [`PATIENCE`].
pub async fn within<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, awaited).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Asks again and again until the answer is something, and panics if it never is.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
