//! The streams of an HTTP/2 connection: one whose peer takes nothing is cut, and no other.
//!
//! Over HTTP/1 a peer that takes nothing stops the connection, and `Io` sees it. Over HTTP/2 it
//! may leave one stream without a window, and be as busy as can be with the others.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::credit::Credit;

tokio::task_local! {
    /// That of the stream whose task this is.
    static DRAIN: Arc<Drain>;
}

/// The drain for the answer to the request that this task serves.
pub(super) fn drain() -> Arc<Drain> {
    DRAIN.try_with(Clone::clone).unwrap_or_else(|_| Arc::new(Drain::unwatched()))
}

/// Runs the streams of HTTP/2, each in a task that ends when its peer is too slow.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    patience: Duration,
    rate: Option<u64>,
}

impl Streams {
    pub(super) fn new(patience: Duration, rate: Option<u64>) -> Self {
        Self { patience, rate }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let drain = Arc::new(Drain::watched(Credit::new(self.patience, self.rate)));
        let patience = self.patience;
        let watched = drain.clone();
        tokio::spawn(DRAIN.scope(drain, async move {
            tokio::select! {
                _ended = stream => {}
                () = watched.exhausted(patience) => {
                    // Dropping it resets the stream.
                    tracing::debug!("a peer takes too little of an answer");
                }
            }
        }));
    }
}

/// What of an answer waits for the peer.
#[derive(Debug)]
pub(super) struct Drain(Mutex<State>);

#[derive(Debug)]
struct State {
    /// How long the peer may be slow; none where somebody else sees to that.
    credit: Option<Credit>,
    /// Whether a piece is under way.
    full: bool,
    waker: Option<Waker>,
}

impl Drain {
    fn watched(credit: Credit) -> Self {
        Self(Mutex::new(State { credit: Some(credit), full: false, waker: None }))
    }

    fn unwatched() -> Self {
        Self(Mutex::new(State { credit: None, full: false, waker: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is the peer's turn: it has to make room for what comes.
    pub(super) fn begin(&self) {
        if let Some(credit) = &mut self.state().credit {
            let _end = credit.wait(Instant::now());
        }
    }

    /// It is our turn: there is nothing yet for the peer to take.
    pub(super) fn rest(&self) {
        if let Some(credit) = &mut self.state().credit {
            credit.rest(Instant::now());
        }
    }

    /// A piece is under way.
    pub(super) fn give(&self) {
        self.state().full = true;
    }

    /// The peer took so many bytes of it.
    pub(super) fn took(&self, bytes: usize) {
        if let Some(credit) = &mut self.state().credit {
            credit.earn(Instant::now(), bytes);
        }
    }

    /// No piece is under way any more.
    pub(super) fn gone(&self) {
        let mut state = self.state();
        state.full = false;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether no piece is under way.
    pub(super) fn is_empty(&self) -> bool {
        !self.state().full
    }

    /// Completes when no piece is under way.
    pub(super) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.full {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Completes when the peer has no credit left, at most half a `patience` late.
    async fn exhausted(&self, patience: Duration) {
        loop {
            let end = self.state().credit.as_ref().and_then(Credit::end);
            match end {
                Some(end) if end <= Instant::now() => return,
                Some(end) => sleep_until(end).await,
                None => sleep(patience / 2).await,
            }
        }
    }
}
