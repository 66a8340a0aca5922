//! What a connection is doing, as far as it decides when it has to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::connection::Version;

/// The span in which requests that are taken back are counted.
const RESETS_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection may do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// Without a request, after the first one.
    pub(super) kept: Duration,
    /// In all, before it takes no further request.
    pub(super) life: Option<Duration>,
    /// How many requests of an HTTP/2 connection may be taken back within ten seconds.
    pub(super) resets: usize,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What it was asked is answered first.
    Gently,
    /// At once.
    Now(&'static str),
}

/// Shared by the stream, the requests and the connection itself.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    version: Version,
    state: watch::Sender<State>,
    /// Whether the next byte that is read is the first of a head.
    between: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are not answered to the last byte.
    in_flight: usize,
    /// When that became zero.
    since: Instant,
    /// Whether there was a request at all.
    served: bool,
    /// When the first byte of the next head came.
    head: Option<Instant>,
    /// Requests that were taken back since a moment.
    resets: (Instant, usize),
}

impl Pulse {
    /// That of a connection whose first bytes have just come.
    pub(super) fn new(version: Version) -> Self {
        let first = Instant::now();
        let head = (version == Version::Http1).then_some(first);
        let state = State { in_flight: 0, since: first, served: false, head, resets: (first, 0) };
        let shared = Shared { version, state: watch::Sender::new(state), between: false.into() };
        Self(Arc::new(shared))
    }

    /// Bytes came in.
    ///
    /// Those that a client sends before it has its answer are taken for a part of the body: a head
    /// that begins among them is bounded only by the time that a connection may be without a
    /// request. HTTP/2 has frames that belong to no request.
    pub(super) fn beat(&self) {
        if self.0.between.swap(false, Ordering::Relaxed) {
            self.0.state.send_modify(|state| {
                if state.in_flight == 0 {
                    state.head = Some(Instant::now());
                }
            });
        }
    }

    /// A request came in.
    pub(super) fn enter(&self) -> Entered {
        self.0.between.store(false, Ordering::Relaxed);
        self.0.state.send_modify(|state| {
            state.in_flight += 1;
            state.served = true;
            state.head = None;
        });
        Entered { pulse: self.clone(), answered: AtomicBool::new(false) }
    }

    fn leave(&self, answered: bool) {
        self.0.state.send_modify(|state| {
            let now = Instant::now();
            state.in_flight -= 1;
            state.since = now;
            if !answered {
                if now - state.resets.0 >= RESETS_WITHIN {
                    state.resets = (now, 0);
                }
                state.resets.1 += 1;
            }
            let idle = state.in_flight == 0 && self.0.version == Version::Http1;
            self.0.between.store(idle, Ordering::Relaxed);
        });
    }

    /// Completes when the connection has to end.
    pub(super) async fn end(&self, terms: Terms, born: Instant) -> End {
        let mut seen = self.0.state.subscribe();
        let expires = terms.life.map(|life| born + life);
        let mut timer = std::pin::pin!(sleep_until(born));
        loop {
            let state = *seen.borrow_and_update();
            if state.resets.1 > terms.resets && self.0.version == Version::Http2 {
                return End::Now("the peer takes back too many requests");
            }
            let idle = if state.served { terms.kept } else { terms.idle };
            let next = match (state.in_flight, state.head) {
                (0, Some(began)) => Some((began + terms.head, End::Now("the head took too long"))),
                (0, None) => Some((state.since + idle, End::Gently)),
                _ => None,
            };
            let life = expires.map(|expires| (expires, End::Gently));
            let next = [next, life].into_iter().flatten().min_by_key(|(at, _)| *at);
            let now = Instant::now();
            match next {
                Some((at, end)) if at <= now => return end,
                // The timer is moved only when it would come too late: most requests are short.
                Some((at, _)) if timer.is_elapsed() || at < timer.deadline() => {
                    timer.as_mut().reset(at);
                }
                _ => {}
            }
            tokio::select! {
                // This cannot fail: `self` is a sender.
                _ = seen.changed() => {}
                () = timer.as_mut(), if next.is_some() => {}
            }
        }
    }

    /// Completes once no request has been in flight for this long.
    pub(super) async fn quiet_for(&self, period: Duration) {
        let mut seen = self.0.state.subscribe();
        loop {
            // Neither wait can fail: `self` is a sender.
            let _ = seen.wait_for(|state| state.in_flight == 0).await;
            if tokio::time::timeout(period, seen.wait_for(|state| state.in_flight > 0))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// One request in flight, until dropped.
#[derive(Debug)]
pub(super) struct Entered {
    pulse: Pulse,
    answered: AtomicBool,
}

impl Entered {
    /// The answer is there; before, a request that is dropped was taken back.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.pulse.leave(*self.answered.get_mut());
    }
}
