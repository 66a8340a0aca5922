//! What comes before a response.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, StatusCode};
use tus_core::SendInterim;

/// An interim response.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
}

/// A connection that writes down what it is to send before the response.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    /// What was sent so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SendInterim for Log {
    fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.lock().push(Told { status: status.as_u16(), headers: headers.clone() });
        true
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            write!(f, " {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        Ok(())
    }
}
