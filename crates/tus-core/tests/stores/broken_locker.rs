use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::oneshot;
use tus_core::{
    UploadId,
    store::{Acquire, Lease, Locker, MemoryLocker, StoreError, StoreErrorKind},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LockerFlaw {
    GrantsAll,
    ChecksBeforeItGrants,
    GrantsTheImpatient,
    OneForAllUploads,
    NeverWaits,
    WaitsForEver,
    TimesOutAsUnavailable,
    KeepsOnRelease,
    KeepsOnDrop,
    NeverTells,
    AlwaysTells,
    TellsOnlyThoseWhoListen,
    NumbersStandStill,
    CancelledWaitersStay,
}

impl LockerFlaw {
    pub(crate) const ALL: [(Self, &str); 14] = [
        (Self::GrantsAll, "what_is_held_is_not_granted"),
        (Self::ChecksBeforeItGrants, "of_many_one_holds_it_at_a_time"),
        (Self::GrantsTheImpatient, "what_is_held_is_not_granted"),
        (Self::OneForAllUploads, "uploads_do_not_wait_for_each_other"),
        (Self::NeverWaits, "a_release_hands_over"),
        (Self::WaitsForEver, "what_is_held_is_not_granted"),
        (Self::TimesOutAsUnavailable, "what_is_held_is_not_granted"),
        (Self::KeepsOnRelease, "waiting_ends_in_time"),
        (Self::KeepsOnDrop, "a_drop_hands_over"),
        (Self::NeverTells, "waiting_alone_takes_nothing"),
        (Self::AlwaysTells, "uploads_do_not_wait_for_each_other"),
        (Self::TellsOnlyThoseWhoListen, "a_holder_that_listens_late_is_told"),
        (Self::NumbersStandStill, "numbers_grow"),
        (Self::CancelledWaitersStay, "waiters_that_give_up_are_passed_over"),
    ];

    pub(crate) fn locker(self) -> BrokenLocker {
        BrokenLocker { within: MemoryLocker::new(), spare: MemoryLocker::new(), flaw: self }
    }
}

#[derive(Debug)]
pub(crate) struct BrokenLocker {
    within: MemoryLocker,
    /// Holds what is also granted by mistake.
    spare: MemoryLocker,
    flaw: LockerFlaw,
}

impl BrokenLocker {
    /// Two that see the end of a lease together both get one.
    async fn checks_before_it_grants(
        &self,
        id: &UploadId,
        how: Acquire,
    ) -> Result<Box<dyn Lease>, StoreError> {
        let checked = self.within.acquire(id, how).await?;
        checked.release().await;
        tokio::task::yield_now().await;
        let once = Acquire { wait: Duration::ZERO, ..how };
        match self.within.acquire(id, once).await {
            Ok(lease) => Ok(lease),
            Err(_) => self.spare.acquire(id, how).await,
        }
    }
}

#[derive(Debug)]
struct BrokenLease {
    /// `None` once it is let go, for those that let go.
    within: Option<Box<dyn Lease>>,
    flaw: LockerFlaw,
    listening: AtomicBool,
}

#[async_trait]
impl Locker for BrokenLocker {
    async fn acquire(&self, id: &UploadId, mut how: Acquire) -> Result<Box<dyn Lease>, StoreError> {
        let anywhere = "anywhere".parse().unwrap();
        let id = if self.flaw == LockerFlaw::OneForAllUploads { &anywhere } else { id };
        match self.flaw {
            LockerFlaw::NeverWaits => how.wait = Duration::ZERO,
            LockerFlaw::WaitsForEver => how.wait += Duration::from_secs(3_600),
            _ => {}
        }
        let within = match self.flaw {
            LockerFlaw::GrantsAll => MemoryLocker::new().acquire(id, how).await,
            LockerFlaw::CancelledWaitersStay => {
                let (within, id) = (self.within.clone(), id.clone());
                let (given, grant) = oneshot::channel();
                tokio::spawn(async move {
                    // Whoever waited for it may be gone by now.
                    given.send(within.acquire(&id, how).await).unwrap_or_else(std::mem::forget);
                });
                grant.await.unwrap()
            }
            LockerFlaw::ChecksBeforeItGrants if how.preempt => {
                self.checks_before_it_grants(id, how).await
            }
            _ => self.within.acquire(id, how).await,
        };
        let within = match (self.flaw, within) {
            (LockerFlaw::GrantsTheImpatient, Err(_)) => MemoryLocker::new().acquire(id, how).await,
            (LockerFlaw::TimesOutAsUnavailable, Err(error)) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, error))
            }
            (_, within) => within,
        };
        let (flaw, listening) = (self.flaw, AtomicBool::new(false));
        Ok(Box::new(BrokenLease { within: Some(within?), flaw, listening }))
    }
}

#[async_trait]
impl Lease for BrokenLease {
    async fn preempted(&self) {
        match (&self.within, self.flaw) {
            (_, LockerFlaw::AlwaysTells) => {}
            (_, LockerFlaw::NeverTells) | (None, _) => std::future::pending().await,
            (Some(within), LockerFlaw::TellsOnlyThoseWhoListen) => {
                let told = within.preempted();
                tokio::pin!(told);
                let late = futures_util::poll!(&mut told).is_ready();
                if late && !self.listening.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                self.listening.store(true, Ordering::SeqCst);
                if !late {
                    told.await;
                }
            }
            (Some(within), _) => within.preempted().await,
        }
    }

    fn fence(&self) -> u64 {
        match (&self.within, self.flaw) {
            (_, LockerFlaw::NumbersStandStill) | (None, _) => 1,
            (Some(within), _) => within.fence(),
        }
    }

    async fn release(mut self: Box<Self>) {
        match (self.flaw, self.within.take()) {
            (LockerFlaw::KeepsOnRelease, within) => std::mem::forget(within),
            (_, Some(within)) => within.release().await,
            (_, None) => {}
        }
    }
}

impl Drop for BrokenLease {
    fn drop(&mut self) {
        if self.flaw == LockerFlaw::KeepsOnDrop {
            std::mem::forget(self.within.take());
        }
    }
}
