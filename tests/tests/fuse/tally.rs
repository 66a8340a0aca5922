//! What went wrong, and how much was tried.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

/// A promise that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Bytes that were told are not there, or an upload, or the end of one.
    Lost,
    /// An upload does not come to its end, or the server does not answer.
    Stuck,
    /// An upload can only be refused: what is stored of it contradicts itself.
    Damaged,
    /// Bytes count that their digest has not proven.
    Unproven,
    /// Bytes are not those that were sent.
    Corrupt,
    /// Bytes are zeros where others were sent.
    Zeros,
}

/// Why a client does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The power is off.
    Off,
    /// What it found; so many told bytes are lost.
    Fault(Fault, String, u64),
}

impl Stop {
    pub(crate) fn lost(what: impl Into<String>, bytes: u64) -> Self {
        Self::Fault(Fault::Lost, what.into(), bytes)
    }

    pub(crate) fn stuck(what: impl Into<String>) -> Self {
        Self::Fault(Fault::Stuck, what.into(), 0)
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Fault(Fault::Corrupt, what.into(), 0)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) created: u64,
    pub(crate) completed: u64,
    pub(crate) deleted: u64,
    /// How often what is stored was compared with what was sent.
    pub(crate) compared: u64,
    pub(crate) compared_bytes: u64,
    /// Requests whose answer was lost, by what they asked.
    pub(crate) unanswered: BTreeMap<&'static str, u64>,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) lost_bytes: u64,
    /// The faults in words.
    pub(crate) words: Vec<(Fault, String)>,
}

impl Tally {
    pub(crate) fn fault(&mut self, fault: Fault, words: String, bytes: u64) {
        *self.faults.entry(fault).or_default() += 1;
        self.lost_bytes += bytes;
        self.words.push((fault, words));
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or_default()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.completed += other.completed;
        self.deleted += other.deleted;
        self.compared += other.compared;
        self.compared_bytes += other.compared_bytes;
        self.lost_bytes += other.lost_bytes;
        for (what, count) in other.unanswered {
            *self.unanswered.entry(what).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.words.extend(other.words);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unanswered: u64 = self.unanswered.values().sum();
        write!(
            f,
            "{} uploads, {} completed, {} deleted; {} answers lost (",
            self.created, self.completed, self.deleted, unanswered
        )?;
        for (n, (what, count)) in self.unanswered.iter().enumerate() {
            write!(f, "{}{count} {what}", if n > 0 { ", " } else { "" })?;
        }
        let (times, bytes) = (self.compared, self.compared_bytes >> 20);
        let (lost, uploads) = (self.lost_bytes, self.count(Fault::Lost));
        write!(f, "); compared {times} times ({bytes} MiB): ")?;
        write!(f, "told and lost {lost} bytes of {uploads} uploads")?;
        let others = [Fault::Stuck, Fault::Damaged, Fault::Unproven, Fault::Corrupt, Fault::Zeros];
        others.iter().try_for_each(|fault| {
            let name = format!("{fault:?}").to_lowercase();
            write!(f, ", {name} {}", self.count(*fault))
        })
    }
}
