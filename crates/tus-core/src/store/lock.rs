use std::{fmt, time::Duration};

use async_trait::async_trait;

use super::StoreError;
use crate::model::UploadId;

/// Says who may write to an upload.
///
/// # Contract
///
/// - At most one lease of an id is held at any time. A locker that grants two lets two requests
///   write at the same offset.
/// - The number that a lease carries grows with every grant of its id.
/// - A lease ends by [`Lease::release`], by being dropped, or (where processes can die) by a
///   time-to-live; never because somebody else wants it.
#[async_trait]
pub trait Locker: Send + Sync + fmt::Debug + 'static {
    /// Waits for the upload, asking its holder to let go if that is wanted.
    ///
    /// # Errors
    ///
    /// `Conflict` when it was not granted within the time; `Unavailable` when the locker itself
    /// cannot be reached. Never a weaker lock instead.
    async fn acquire(&self, id: &UploadId, how: Acquire) -> Result<Box<dyn Lease>, StoreError>;
}

/// How to wait for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// For how long at most.
    pub wait: Duration,
    /// Whether the holder is asked to let go.
    pub preempt: bool,
}

/// The right to write to one upload.
#[async_trait]
pub trait Lease: Send + Sync + fmt::Debug {
    /// Returns when somebody else asks for the upload; pending as long as nobody does.
    async fn preempted(&self);

    /// A number that is larger than that of every earlier lease of this upload.
    fn fence(&self) -> u64;

    /// Lets go, after all writes have ended.
    async fn release(self: Box<Self>);
}
