use std::{
    collections::{BTreeMap, HashMap, hash_map},
    fmt,
    time::Duration,
};

use async_trait::async_trait;

use super::{
    signal::Signal,
    sync::{Arc, Mutex, lock, timeout},
};
use crate::{
    model::{Timestamp, UploadId},
    store::{Acquire, Lease, Locker, StoreError, StoreErrorKind},
};

/// Leases within one process: the right locker wherever one process alone serves the uploads.
///
/// Whoever waits is served in the order of asking, and nobody polls. Memory is taken by uploads
/// that are held or waited for, and by no others. With a wait of zero it is tried once; the
/// holder is asked to let go even then, if that is wanted.
///
/// Clones share their leases.
#[derive(Clone, Default)]
pub struct MemoryLocker {
    lanes: Arc<Mutex<Lanes>>,
}

impl MemoryLocker {
    /// A locker with nothing held.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryLocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = lock(&self.lanes).by_id.len();
        f.debug_struct("MemoryLocker").field("held", &held).finish_non_exhaustive()
    }
}

/// Who holds and who waits, for all uploads. Nothing here is async; every step is whole.
///
/// Wakers run foreign code, so no method calls one: it returns whom to tell, and the caller
/// tells them once the mutex is free.
pub(super) struct Lanes {
    by_id: HashMap<UploadId, Lane>,
    /// The number of the latest turn. Turns are granted in their order, so a turn's number
    /// serves as the fence of its lease.
    last: u64,
}

impl Default for Lanes {
    /// Begins at the time of day, so that numbers go on growing when a process takes over from
    /// one that died: in steps of a millisecond over 2^20, more than can be granted in one.
    fn default() -> Self {
        Self { by_id: HashMap::new(), last: Timestamp::now().as_millis() << 20 }
    }
}

/// One upload's holder, and those who wait for it by number.
struct Lane {
    holder: Arc<Turn>,
    waiting: BTreeMap<u64, Arc<Turn>>,
}

/// A place in the line for one upload.
pub(super) struct Turn {
    number: u64,
    preempt: bool,
    granted: Signal,
    wanted: Signal,
}

impl Lanes {
    /// Takes a place in the line: the new turn, and the holder if there is one already.
    pub(super) fn enter(&mut self, id: &UploadId, preempt: bool) -> (Arc<Turn>, Option<Arc<Turn>>) {
        self.last += 1;
        let (granted, wanted) = Default::default();
        let turn = Arc::new(Turn { number: self.last, preempt, granted, wanted });
        match self.by_id.entry(id.clone()) {
            hash_map::Entry::Vacant(free) => {
                free.insert(Lane { holder: turn.clone(), waiting: BTreeMap::new() });
                (turn, None)
            }
            hash_map::Entry::Occupied(held) => {
                let lane = held.into_mut();
                lane.waiting.insert(turn.number, turn.clone());
                (turn, Some(lane.holder.clone()))
            }
        }
    }

    /// Gives a place up, held or waited for: who holds the upload next, and whether somebody who
    /// still waits has asked for it.
    pub(super) fn leave(&mut self, id: &UploadId, turn: &Turn) -> Option<(Arc<Turn>, bool)> {
        let lane = self.by_id.get_mut(id)?;
        if lane.holder.number != turn.number {
            lane.waiting.remove(&turn.number);
            return None;
        }
        let Some((_, next)) = lane.waiting.pop_first() else {
            self.by_id.remove(id);
            return None;
        };
        lane.holder = next.clone();
        Some((next, lane.waiting.values().any(|turn| turn.preempt)))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[cfg(test)]
    pub(super) fn last(&self) -> u64 {
        self.last
    }
}

#[cfg(test)]
impl MemoryLocker {
    pub(super) fn lanes(&self) -> super::sync::MutexGuard<'_, Lanes> {
        lock(&self.lanes)
    }
}

/// A place in the line, given up on drop: while it waits as well as while it holds. So an
/// acquisition that is dropped at any point, even after it was granted, passes the upload on.
struct Place {
    lanes: Arc<Mutex<Lanes>>,
    id: UploadId,
    turn: Arc<Turn>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = lock(&self.lanes).leave(&self.id, &self.turn);
        if let Some((next, asked)) = next {
            if asked {
                next.wanted.give();
            }
            next.granted.give();
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("id", &self.id)
            .field("number", &self.turn.number)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Locker for MemoryLocker {
    async fn acquire(&self, id: &UploadId, how: Acquire) -> Result<Box<dyn Lease>, StoreError> {
        let (turn, holder) = lock(&self.lanes).enter(id, how.preempt);
        let place = Place { lanes: self.lanes.clone(), id: id.clone(), turn };
        let Some(holder) = holder else {
            return Ok(Box::new(place));
        };
        if how.preempt {
            holder.wanted.give();
        }
        if how.wait > Duration::ZERO {
            let granted = timeout(how.wait, place.turn.granted.heard());
            if granted.await.is_ok() {
                return Ok(Box::new(place));
            }
        }
        let text = format!("upload {id} is held, and was not let go within {:?}", how.wait);
        Err(StoreError::new(StoreErrorKind::Conflict, text))
    }
}

#[async_trait]
impl Lease for Place {
    async fn preempted(&self) {
        self.turn.wanted.heard().await;
    }

    fn fence(&self) -> u64 {
        self.turn.number
    }

    async fn release(self: Box<Self>) {
        drop(self);
    }
}
