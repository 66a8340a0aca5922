//! What time does: expiry, the sweeper, restarts.

use super::{
    Mood, PERIOD, ROUND, Reference,
    reference::{Kind, Phase},
    verbs::minutes,
};

impl Reference {
    pub(super) fn awaited(&self, part: usize) -> bool {
        self.uploads.iter().any(|one| {
            one.phase == Phase::Open
                && matches!(&one.kind, Kind::Final(parts) if parts.contains(&part))
        })
    }

    /// When an upload expires; `None` if it does not.
    pub(super) fn expires(&self, upload: usize) -> Option<i64> {
        let one = &self.uploads[upload];
        let unfinished = match (&one.kind, one.phase) {
            (_, Phase::Refused) => return Some(one.until),
            (Kind::Final(_), _) => false,
            (_, Phase::Open) | (Kind::Partial, Phase::Done) => true,
            _ => false,
        };
        let sliding = one.until.max(one.modified + minutes(PERIOD));
        (unfinished && !self.awaited(upload)).then_some(sliding)
    }

    /// Whether an upload's time is up, though nobody may have swept it yet.
    pub fn is_expired(&self, upload: usize) -> bool {
        self.expires(upload).is_some_and(|at| at <= self.now)
    }

    /// The sweeper comes once; it expires nothing while the clock cannot be believed.
    pub(super) fn sweep(&mut self, expires: bool) {
        self.forget();
        let gone = Phase::Gone(self.now + minutes(PERIOD));
        for upload in 0..self.uploads.len() {
            let one = &self.uploads[upload];
            if let (Kind::Final(parts), Phase::Open) = (&one.kind, one.phase)
                && one.created <= self.now
            {
                let last = parts.iter().map(|part| self.uploads[*part].modified).max();
                let last = last.unwrap_or(one.created).max(one.created);
                match expires && last + minutes(PERIOD) <= self.now {
                    true => self.uploads[upload].phase = gone,
                    false => {
                        self.try_final(upload);
                    }
                }
            }
        }
        for upload in 0..self.uploads.len() {
            let held = self.holding(upload).is_some();
            let due = self.uploads[upload].until <= self.now;
            let Some(at) = self.expires(upload).filter(|_| due && !held) else { continue };
            let one = &mut self.uploads[upload];
            if at > self.now {
                one.until = at;
            } else if expires {
                one.phase = gone;
                self.owes |= one.mood == Mood::DeafOnce;
                self.tell_finals(upload);
            }
        }
    }

    fn forget(&mut self) {
        for one in &mut self.uploads {
            if matches!(one.phase, Phase::Gone(until) if until <= self.now) {
                one.phase = Phase::Unknown;
            }
        }
    }

    /// The sweeper comes by itself. It believes the wall clock if that has gone on as far as time
    /// has, give or take ten minutes.
    pub(super) fn round(&mut self, off: i64) {
        self.idle();
        self.passed += minutes(ROUND);
        self.now = self.read + self.passed + off;
        let believed = off.abs() <= 10;
        self.sweep(believed);
        if believed {
            // What it could not see in its first pass, it sees in the ones that the operator asks
            // for.
            (0..3).for_each(|_| self.sweep(true));
        }
        (self.read, self.passed) = (self.now, 0);
    }

    /// The process dies, and another one takes over: bytes that were not made durable are lost.
    pub fn restart(&mut self) {
        self.transfers.clear();
        for one in &mut self.uploads {
            one.bytes.truncate(one.durable);
        }
        (self.read, self.passed) = (self.now, 0);
        self.sweep(false);
    }
}
