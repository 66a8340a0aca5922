//! Responses before the response (RFC 9110, section 15.2): the one place that the engine and
//! whoever owns the connection share, so that either can change without the other.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, StatusCode};

/// Sends interim responses (1xx) to one request, on the connection that it came by.
///
/// Implement it where connections are served, and put an [`Interim`] around it into the extensions
/// of each request. Should hyper have such a thing one day, it goes here.
pub trait SendInterim: Send + Sync + 'static {
    /// Sends an interim response as soon as it can be sent without splitting any other message.
    ///
    /// Must not wait. Returns whether it is on its way; `false` is no error: an interim response
    /// is never more than a courtesy.
    fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool;
}

/// The way to send interim responses to one request; goes into its extensions.
///
/// It works until the final response is about to be written: whoever waits for that holds an
/// [`InterimGuard`], so that a request whose answer was given up (by a timeout, say) can never
/// write into the answer to the next one.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use http::{HeaderMap, StatusCode};
/// use tus_core::{Interim, SendInterim};
///
/// #[derive(Default)]
/// struct Count(AtomicUsize);
///
/// impl SendInterim for Count {
///     fn send(&self, _status: StatusCode, _headers: &HeaderMap) -> bool {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         true
///     }
/// }
///
/// let count = Arc::new(Count::default());
/// let interim = Interim::new(count.clone());
/// let guard = interim.guard();
/// assert!(interim.send(StatusCode::PROCESSING, &HeaderMap::new()));
/// drop(guard);
/// assert!(!interim.send(StatusCode::PROCESSING, &HeaderMap::new()));
/// assert_eq!(count.0.load(Ordering::Relaxed), 1);
/// ```
#[derive(Clone)]
pub struct Interim(Arc<Mutex<Option<Arc<dyn SendInterim>>>>);

impl Interim {
    /// A way to send interim responses to one request.
    pub fn new(sender: Arc<dyn SendInterim>) -> Self {
        Self(Arc::new(Mutex::new(Some(sender))))
    }

    /// Sends an interim response; returns whether it is on its way.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        // The lock is held while it is sent: once a guard is gone, nothing is being sent either.
        self.sender().as_ref().is_some_and(|sender| sender.send(status, headers))
    }

    /// Ends it all when dropped: nothing is sent from then on, by any clone.
    #[must_use]
    pub fn guard(&self) -> InterimGuard {
        InterimGuard(self.clone())
    }

    fn sender(&self) -> MutexGuard<'_, Option<Arc<dyn SendInterim>>> {
        // It is either there or not: a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interim").field(&self.sender().is_some()).finish()
    }
}

/// Ends an [`Interim`] when dropped.
#[derive(Debug)]
pub struct InterimGuard(Interim);

impl Drop for InterimGuard {
    fn drop(&mut self) {
        *self.0.sender() = None;
    }
}
