use std::sync::Arc;

use super::{
    Inner, complete,
    digests::Running,
    exchange::{refuse, refuse_bytes},
    finish,
};
use crate::{
    model::{Refusal, Revision, Timestamp, Upload, UploadId},
    protocol::recover::{self, Recovery},
    store::{Acquire, Blocking, Lease, StoreErrorKind, Stored},
};

/// An upload under its lease: its record, and what is stored of it.
pub(super) struct Session<'t> {
    pub(super) tus: &'t Arc<Inner>,
    pub(super) lease: Box<dyn Lease>,
    pub(super) upload: Upload,
    pub(super) stored: Stored,
    /// The digests of the whole, as far as this session has computed them.
    pub(super) running: Option<Running>,
    revision: Revision,
}

/// The record of an upload under its lease, without anything else of the session.
pub(super) struct Record<'s, 't> {
    pub(super) tus: &'t Arc<Inner>,
    pub(super) upload: &'s mut Upload,
    revision: &'s mut Revision,
}

impl Record<'_, '_> {
    /// Changes it, on top of whatever others have changed in it meanwhile.
    ///
    /// Under the lease nobody else writes bytes, but a final may add itself to its parts' records
    /// at any time; so a conflict reads again and applies the change anew.
    pub(super) async fn update(&mut self, change: impl Fn(&mut Upload)) -> Result<(), Refusal> {
        let read = (&*self.upload, *self.revision);
        (*self.upload, *self.revision) = update(self.tus, read, true, change).await?;
        Ok(())
    }

    /// Reads it again: an update that failed may have taken effect all the same.
    pub(super) async fn reload(&mut self) -> Result<(), Refusal> {
        let id = &self.upload.id;
        let loaded = self.tus.meta.load(id).await;
        (*self.upload, *self.revision) = loaded.map_err(|error| refuse(&error, "load", id))?;
        Ok(())
    }
}

impl<'t> Session<'t> {
    /// Takes the lease, reads what is there, and puts right what a crash left.
    ///
    /// For every verb this is the one place that recovers: it syncs a tail before it is told, cuts
    /// unproven bytes, and repeats a finish that was begun. It runs no hook.
    pub(super) async fn open(
        tus: &'t Arc<Inner>,
        id: &UploadId,
        how: Acquire,
    ) -> Result<Self, Refusal> {
        Self::lease(tus, id, how).await?.recovered().await
    }

    /// Opens the upload that was looked at without a lease, asking its holder to let go.
    ///
    /// # Errors
    ///
    /// `NotFound` if another one has its id by now: it is not the one that was authorized.
    pub(super) async fn open_peeked(tus: &'t Arc<Inner>, peeked: &Upload) -> Result<Self, Refusal> {
        Self::lease_peeked(tus, peeked).await?.recovered().await
    }

    /// As [`open_peeked`](Self::open_peeked); waits for the holder instead, if that is wanted.
    pub(super) async fn open_peeked_as(
        tus: &'t Arc<Inner>,
        peeked: &Upload,
        preempt: bool,
    ) -> Result<Self, Refusal> {
        let how = Acquire { preempt, ..Self::preempting(tus) };
        Self::lease_as(tus, peeked, how).await?.recovered().await
    }

    /// As [`open_peeked`](Self::open_peeked), without looking at the bytes.
    pub(super) async fn lease_peeked(
        tus: &'t Arc<Inner>,
        peeked: &Upload,
    ) -> Result<Self, Refusal> {
        Self::lease_as(tus, peeked, Self::preempting(tus)).await
    }

    async fn lease_as(tus: &'t Arc<Inner>, peeked: &Upload, how: Acquire) -> Result<Self, Refusal> {
        let session = Self::lease(tus, &peeked.id, how).await?;
        let found = &session.upload;
        if found.created_at == peeked.created_at && found.owner == peeked.owner {
            return Ok(session);
        }
        session.release().await;
        Err(Refusal::NotFound)
    }

    async fn recovered(self) -> Result<Self, Refusal> {
        let mut session = self;
        match session.recover().await {
            Ok(()) => Ok(session),
            Err(refusal) => {
                session.release().await;
                Err(refusal)
            }
        }
    }

    /// Takes the lease and reads the record, without looking at the bytes.
    pub(super) async fn lease(
        tus: &'t Arc<Inner>,
        id: &UploadId,
        how: Acquire,
    ) -> Result<Self, Refusal> {
        let lease = tus.locker.acquire(id, how).await.map_err(|e| refuse(&e, "acquire", id))?;
        match tus.meta.load(id).await {
            Ok((upload, revision)) => {
                let stored = Stored { length: 0, synced: true, modified: upload.created_at };
                Ok(Self { tus, lease, upload, stored, running: None, revision })
            }
            Err(error) => {
                lease.release().await;
                Err(refuse(&error, "load", id))
            }
        }
    }

    /// How a request of a client asks for the lease.
    pub(super) fn preempting(tus: &Inner) -> Acquire {
        Acquire { wait: tus.policy.lease_wait, preempt: true }
    }

    /// Lets go.
    pub(super) async fn release(self) {
        self.lease.release().await;
    }

    /// What a request needs that writes, each on its own.
    pub(super) fn split(&mut self) -> (&dyn Lease, Record<'_, 't>, &mut Option<Running>) {
        let Self { tus, lease, upload, running, revision, .. } = self;
        (&**lease, Record { tus, upload, revision }, running)
    }

    /// Changes the record, as [`Record::update`] does.
    pub(super) async fn update(&mut self, change: impl Fn(&mut Upload)) -> Result<(), Refusal> {
        self.split().1.update(change).await
    }

    /// Reads the record again, as [`Record::reload`] does.
    pub(super) async fn reload(&mut self) -> Result<(), Refusal> {
        self.split().1.reload().await
    }

    /// Reads again how many bytes there are.
    pub(super) async fn restat(&mut self) -> Result<(), Refusal> {
        let stat = self.tus.chunks.stat(&self.upload.locator).await;
        self.stored = stat.map_err(|error| refuse_bytes(&error, "stat", &self.upload.id))?;
        Ok(())
    }

    /// Finds out what is stored after a write failed, and makes it durable.
    pub(super) async fn reread_stored(&mut self) -> Result<(), Refusal> {
        self.restat().await?;
        self.sync_tail().await
    }

    /// Goes back to what is known to be durable after a sync failed: the system may have dropped
    /// what was to be synced, and yet call the next sync a success.
    pub(super) async fn distrust(&mut self, synced: u64, full: bool) -> Result<(), Refusal> {
        // A full disk refuses bytes before it takes them; what it took can still be synced.
        if full && self.reread_stored().await.is_ok() {
            return Ok(());
        }
        self.truncate(synced).await
    }

    /// Cuts the bytes back.
    pub(super) async fn truncate(&mut self, length: u64) -> Result<(), Refusal> {
        let cut = self.tus.chunks.truncate(&self.upload.locator, length).await;
        cut.map_err(|error| refuse_bytes(&error, "truncate", &self.upload.id))?;
        self.restat().await
    }

    pub(super) fn now(&self) -> Timestamp {
        self.tus.now()
    }

    async fn recover(&mut self) -> Result<(), Refusal> {
        if self.upload.is_complete() && self.upload.is_partial() {
            // It needs nothing but can still expire, counted from its last byte.
            return self.restat().await;
        }
        if !self.upload.is_open() || self.upload.parts().is_some() {
            return Ok(());
        }
        self.restat().await?;
        if let Recovery::CutTo(fence) = recover::diagnose(&self.upload, self.stored.length) {
            if self.stored.length > fence {
                self.truncate(fence).await?;
            }
            self.update(|upload| upload.fence = None).await?;
        }
        self.sync_tail().await?;
        match recover::diagnose(&self.upload, self.stored.length) {
            Recovery::Finish => {
                finish::begin(self).await?;
                complete::tell_finals(self);
                Ok(())
            }
            Recovery::Corrupt => {
                tracing::error!(
                    upload = %self.upload.id, stored = self.stored.length,
                    length = self.upload.length, "more is stored than was declared"
                );
                Err(Refusal::Internal)
            }
            Recovery::CutTo(_) | Recovery::None => Ok(()),
        }
    }

    /// Makes durable what is about to be told (P1).
    async fn sync_tail(&mut self) -> Result<(), Refusal> {
        if self.stored.synced {
            return Ok(());
        }
        let (locator, length) = (&self.upload.locator, self.stored.length);
        let synced =
            async { self.tus.chunks.open(locator, length, Blocking::Offload).await?.sync().await };
        let length = synced.await.map_err(|error| refuse_bytes(&error, "sync", &self.upload.id))?;
        self.stored = Stored { length, synced: true, ..self.stored };
        Ok(())
    }
}

/// Changes a record by compare-and-set, starting from a version that was read.
///
/// Under the lease only the finals of a part may have changed meanwhile; anything else means that
/// the lease is not ours any more, and that whoever has it decides.
async fn update(
    tus: &Inner,
    (read, revision): (&Upload, Revision),
    leased: bool,
    change: impl Fn(&mut Upload),
) -> Result<(Upload, Revision), Refusal> {
    let id = &read.id;
    let (mut upload, mut revision) = (read.clone(), revision);
    // Each conflict means that somebody else got through; so many in a row means a loop.
    for _ in 0..64 {
        change(&mut upload);
        match tus.meta.update(&upload, revision).await {
            Ok(revision) => return Ok((upload, revision)),
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                let fresh = tus.meta.load(id).await.map_err(|error| refuse(&error, "load", id))?;
                let same = Upload { finals: read.finals.clone(), ..fresh.0.clone() } == *read;
                if leased && !same {
                    tracing::error!(upload = %id, "somebody else writes to a leased upload");
                    return Err(Refusal::Locked);
                }
                (upload, revision) = fresh;
            }
            Err(error) => return Err(refuse(&error, "update", id)),
        }
    }
    tracing::error!(upload = %id, "the record changes faster than it can be updated");
    Err(Refusal::Locked)
}

/// Changes a record without its lease, where the change does not depend on the bytes.
pub(super) async fn update_unleased(
    tus: &Inner,
    id: &UploadId,
    change: impl Fn(&mut Upload),
) -> Result<Upload, Refusal> {
    let (upload, revision) = tus.meta.load(id).await.map_err(|error| refuse(&error, "load", id))?;
    update(tus, (&upload, revision), false, change).await.map(|(upload, _)| upload)
}
