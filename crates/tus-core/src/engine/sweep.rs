use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Inner, Tus, complete, concat,
    exchange::refuse,
    later,
    session::Session,
    terminate::{self, End, Tell},
};
use crate::{
    model::{GoneReason, Phase, Refusal, Timestamp, UploadId},
    protocol::expire,
    store::Acquire,
};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Uploads whose time was up.
    pub expired: usize,
    /// Finishes that were repeated.
    pub announced: usize,
    /// Records of ended uploads that were forgotten.
    pub forgotten: usize,
    /// Uploads that somebody held, or that could not be dealt with; the log says why.
    pub left: usize,
}

/// Announcements that failed and are to be tried again.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: Mutex<HashMap<UploadId, Retry>>,
    changed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    backoff: Duration,
}

impl Retries {
    const FIRST: Duration = Duration::from_secs(1);
    const LAST: Duration = Duration::from_secs(300);

    /// Notes a failure; returns when it is tried again.
    pub(super) fn later(&self, id: &UploadId) -> Duration {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let backoff = waiting.get(id).map_or(Self::FIRST, |r| (r.backoff * 2).min(Self::LAST));
        waiting.insert(id.clone(), Retry { at: Instant::now() + backoff, backoff });
        self.changed.notify_one();
        backoff
    }

    /// How long until one that failed is tried again; `None` if none has, or its time has come.
    pub(super) fn until(&self, id: &UploadId) -> Option<Duration> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = waiting.get(id)?.at.checked_duration_since(Instant::now())?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// Notes that it is settled.
    pub(super) fn forget(&self, id: &UploadId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Those whose time has come, and when the next one's does.
    fn due(&self, now: Instant) -> (Vec<UploadId>, Option<Instant>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let due = waiting.iter().filter(|(_, retry)| retry.at <= now);
        let due = due.map(|(id, _)| id.clone()).collect();
        let next = waiting.values().map(|retry| retry.at).filter(|at| *at > now).min();
        (due, next)
    }
}

/// Whether the two clocks of the machine agree about how much time went by.
#[derive(Debug)]
struct Clocks {
    wall: Timestamp,
    steady: Instant,
}

impl Clocks {
    const TOLERANCE: Duration = Duration::from_secs(600);

    /// Reads both; `false` if one of them has jumped since the last reading.
    fn agree(&mut self, wall: Timestamp) -> bool {
        let steady = Instant::now();
        let by_steady = steady.duration_since(self.steady);
        let expected = self.wall.after(by_steady);
        let off = wall.since(expected).max(expected.since(wall));
        *self = Self { wall, steady };
        off <= Self::TOLERANCE
    }
}

impl Tus {
    /// Looks once at every upload that is due: announces what is complete, removes what has
    /// expired, forgets what ended. The engine does this by itself every
    /// [`Policy::sweep_every`](crate::Policy::sweep_every).
    ///
    /// Nothing is touched that a request holds, that is complete, or that no record names.
    pub async fn sweep(&self) -> SweepReport {
        sweep(&self.0, self.0.now(), true).await
    }
}

impl Inner {
    /// Starts the sweeper, once; it ends with the service.
    pub(super) fn start_sweeper(self: &Arc<Self>) {
        self.sweeper.get_or_init(|| {
            // Tracked: what it is in the midst of ends before the process does.
            self.running.spawn(run(Arc::downgrade(self)));
        });
    }
}

/// Sweeps as long as the service lives.
///
/// The first round only goes on with what a crash interrupted: whether something has expired is
/// asked an interval later, when the clock has been seen to run.
async fn run(weak: Weak<Inner>) {
    let Some(tus) = weak.upgrade() else { return };
    let mut clocks = Clocks { wall: tus.now(), steady: Instant::now() };
    sweep(&tus, clocks.wall, false).await;
    let mut next_sweep = later(Instant::now(), tus.policy.sweep_every);
    drop(tus);
    loop {
        let Some(tus) = weak.upgrade() else { return };
        let now = Instant::now();
        if now >= next_sweep {
            let wall = tus.now();
            let agree = clocks.agree(wall);
            if !agree {
                tracing::warn!("the wall clock has jumped; nothing expires until it is seen again");
            }
            let report = sweep(&tus, wall, agree).await;
            tracing::debug!(?report, "swept");
            next_sweep = later(Instant::now(), tus.policy.sweep_every);
        }
        let (due, next_retry) = tus.retries.due(now);
        for id in due {
            if tus.draining.is_cancelled() {
                return;
            }
            retry(&tus, &id).await;
        }
        let until = next_retry.map_or(next_sweep, |at| at.min(next_sweep));
        let (changed, draining) = (Arc::clone(&tus.retries.changed), tus.draining.clone());
        // The service must be free to end while nobody needs it.
        drop(tus);
        let waited = wait(&weak, &changed, until);
        if draining.run_until_cancelled(waited).await.is_none() {
            return;
        }
    }
}

/// Waits until a moment, until a retry is noted, or until the service has ended.
async fn wait(weak: &Weak<Inner>, changed: &Notify, until: Instant) {
    while weak.strong_count() > 0 && Instant::now() < until {
        let step = until.min(Instant::now() + Duration::from_secs(1));
        tokio::select! {
            () = changed.notified() => return,
            () = tokio::time::sleep_until(step) => {}
        }
    }
}

async fn retry(tus: &Arc<Inner>, id: &UploadId) {
    match look(tus, id, None).await {
        Ok(_) | Err(Refusal::Refused(_) | Refusal::NotFound | Refusal::Gone(_)) => {
            tus.retries.forget(id);
        }
        Err(refusal) => {
            tracing::debug!(upload = %id, ?refusal, "not told yet");
            // A hook that failed again has noted so itself.
            if tus.retries.until(id).is_none() {
                tus.retries.later(id);
            }
        }
    }
}

/// So many are asked for at once; a store may have to look at all it has for each page.
const PAGE: usize = 1000;

/// One pass over everything that is due, a page at a time.
///
/// Whether something has expired is decided by the one reading of the clock that was found
/// trustworthy, however long the pass takes.
async fn sweep(tus: &Arc<Inner>, now: Timestamp, expire: bool) -> SweepReport {
    let mut report = SweepReport::default();
    if let Err(refusal) = remove_unrecorded(tus).await {
        tracing::warn!(?refusal, "objects that nobody recorded are left for the next sweep");
    }
    let expire = expire.then_some(now);
    let mut after = None;
    loop {
        let page = match tus.meta.due(now, after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "cannot ask what is due");
                return report;
            }
        };
        for due in &page {
            if tus.draining.is_cancelled() {
                return report;
            }
            match look(tus, &due.id, expire).await {
                Ok(Done::Expired) => report.expired += 1,
                Ok(Done::Announced) => report.announced += 1,
                Ok(Done::Forgotten) => report.forgotten += 1,
                Ok(Done::Nothing) => {}
                Err(refusal) => {
                    tracing::debug!(upload = %due.id, ?refusal, "left for the next sweep");
                    report.left += 1;
                }
            }
        }
        if page.len() < PAGE {
            return report;
        }
        after = page.into_iter().next_back();
    }
}

/// Removes what is left of creations that never came as far as a record.
///
/// Whoever creates holds the lease from before the object is there until its record is; so what
/// has no record under the lease will never have one. Nothing that has a byte is even considered.
async fn remove_unrecorded(tus: &Inner) -> Result<(), Refusal> {
    let mut after = None;
    loop {
        let page = tus.chunks.unrecorded(after.as_ref(), PAGE).await;
        let page = page.map_err(|error| {
            tracing::warn!(%error, "cannot ask what was never recorded");
            Refusal::Internal
        })?;
        for (id, locator) in &page {
            let at_once = Acquire { wait: Duration::ZERO, preempt: false };
            // Somebody is at work there.
            let Ok(lease) = tus.locker.acquire(id, at_once).await else { continue };
            let removed = match tus.meta.load(id).await {
                Err(error) if error.is_not_found() => {
                    tracing::info!(upload = %id, "a creation that was never recorded is removed");
                    let removed = async {
                        tus.chunks.remove(locator).await?;
                        tus.meta.remove(id).await
                    };
                    removed.await
                }
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            };
            lease.release().await;
            if let Err(error) = removed {
                tracing::warn!(upload = %id, %error, "left for the next sweep");
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(id, _)| id);
    }
}

enum Done {
    Nothing,
    Expired,
    Announced,
    Forgotten,
}

/// Looks at one upload, under its lease, if nobody holds it; what should have ended by the time
/// `expire` expires.
async fn look(tus: &Arc<Inner>, id: &UploadId, expire: Option<Timestamp>) -> Result<Done, Refusal> {
    let at_once = Acquire { wait: Duration::ZERO, preempt: false };
    // Its bytes are not looked at: one whose bytes are lost must be able to expire too.
    let mut session = Session::lease(tus, id, at_once).await?;
    let looked = look_leased(&mut session, expire).await;
    let upload = session.upload.clone();
    session.release().await;
    let done = looked?;
    if let Done::Expired = done {
        concat::part_lost(tus, &upload).await;
    }
    let waiting = upload.parts().is_some() && upload.is_open();
    if let (Done::Nothing, true) = (&done, waiting) {
        let joined = concat::try_final(tus, id, None).await?;
        return Ok(if joined.is_some() { Done::Announced } else { Done::Nothing });
    }
    Ok(done)
}

/// Goes on with what is due: an announcement, an end that is to be told or forgotten, an expiry.
///
/// Order of an expiry: under the lease, the record is read and the last byte's time is looked at
/// again; then as [`terminate::end`] has it. A crash in between leaves an upload that is due.
async fn look_leased(
    session: &mut Session<'_>,
    expire: Option<Timestamp>,
) -> Result<Done, Refusal> {
    let tus = session.tus;
    match &session.upload.phase {
        Phase::Complete { .. } => {
            complete::announce(session, None).await?;
            return Ok(Done::Announced);
        }
        Phase::Refused { unwanted: true, .. } => complete::remove_unwanted(session).await?,
        Phase::Gone(_) => {
            return match terminate::conclude(session).await? {
                End::Forgotten => Ok(Done::Forgotten),
                End::Remembered => Ok(Done::Nothing),
                End::Untold(retry_after) => Err(Refusal::Unavailable { retry_after }),
            };
        }
        Phase::Open | Phase::Announced { .. } | Phase::Refused { .. } => {}
    }
    if !session.upload.is_open() {
        concat::after_final(session).await;
    }
    if session.upload.parts().is_some() && session.upload.is_open() {
        // A final whose parts have all been abandoned holds on to them no longer.
        let (Some(expiry), Some(now)) = (&tus.policy.expiry, expire) else {
            return Ok(Done::Nothing);
        };
        if concat::last_activity(session).await?.after(expiry.period) > now {
            return Ok(Done::Nothing);
        }
        terminate::end(session, GoneReason::Expired, Tell::Application(None)).await?;
        return Ok(Done::Expired);
    }
    if !session.upload.finals.is_empty() {
        concat::strike_ended(session).await?;
    }
    let stored = match tus.chunks.stat(&session.upload.locator).await {
        Ok(stored) => Some(stored),
        // A refused upload may have no bytes any more, and those of another may be lost.
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(refuse(&error, "stat", &session.upload.id)),
    };
    let modified = stored.map(|stored| stored.modified);
    match expire::expires_at(&session.upload, modified, &tus.policy) {
        Some(at) if expire.is_some_and(|now| at <= now) => {
            // That an answer is forgotten is no news.
            let tell = match session.upload.is_complete() && session.upload.origin.is_some() {
                true => Tell::Nobody,
                false => Tell::Application(stored.map(|stored| stored.length)),
            };
            terminate::end(session, GoneReason::Expired, tell).await?;
            Ok(Done::Expired)
        }
        // Its last byte has moved the bound: note that, so that it is not due again before.
        Some(at) if Some(at) != session.upload.expires_at && at > session.now() => {
            session.update(|upload| upload.expires_at = Some(at)).await?;
            Ok(Done::Nothing)
        }
        _ => Ok(Done::Nothing),
    }
}
