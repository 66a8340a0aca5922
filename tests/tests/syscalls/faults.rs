//! One thing that goes wrong with the disk, and what clients then hear.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

use tus_fs::watch::{Act, Answer, Open, Outcome, Watch};
use tus_tests::disk::{Mark, Setup};

pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = if cfg!(target_os = "linux") { 122 } else { 69 };

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One call fails.
    Once(i32),
    /// It and the next ones that could fail so.
    While(i32, usize),
    /// One call writes or reads so many bytes at most.
    Short(usize),
}

pub(crate) const FAULTS: [Fault; 12] = [
    Fault::Once(EIO),
    Fault::Once(ENOSPC),
    Fault::Once(EINTR),
    Fault::Short(1),
    Fault::While(ENOSPC, 8),
    Fault::Once(EDQUOT),
    Fault::Once(EMFILE),
    Fault::Once(EROFS),
    Fault::While(EIO, 4),
    Fault::Short(100),
    Fault::Once(ENOMEM),
    Fault::While(EINTR, 20),
];

impl Fault {
    /// Whether the store has to get over it by itself.
    pub(crate) fn is_nothing(self) -> bool {
        matches!(self, Self::Short(_) | Self::Once(EINTR) | Self::While(EINTR, _))
    }

    /// Whether clients are to hear that there is no room.
    fn is_full(self) -> bool {
        matches!(self, Self::Once(ENOSPC | EDQUOT) | Self::While(ENOSPC | EDQUOT, _))
    }

    /// Whether clients are to hear that they may come back soon.
    fn is_passing(self) -> bool {
        matches!(self, Self::Once(EMFILE | ENOMEM))
    }

    /// Whether the system may answer this act so.
    fn may_strike(self, act: &Act<'_>) -> bool {
        let opens = matches!(act, Act::Open { .. } | Act::Enter { .. } | Act::List { .. });
        let makes_room = matches!(act, Act::Unlink { .. } | Act::RemoveDir { .. });
        let creates = match act {
            Act::Open { how: Open::Read | Open::Write, .. } => false,
            // Opened already, it needs no more room and no right to write.
            Act::SetLen { .. } | Act::SetMode { .. } | Act::SetTime { .. } => false,
            act => act.changes() && !makes_room,
        };
        match self {
            Self::Short(_) => {
                matches!(act, Act::Write { bytes, .. } if !bytes.is_empty())
                    || matches!(act, Act::Read { length: 1.., .. })
            }
            Self::Once(errno) | Self::While(errno, _) => match errno {
                ENOSPC | EDQUOT => creates,
                EROFS => act.changes() && !matches!(act, Act::Write { .. } | Act::Sync { .. }),
                EMFILE => opens,
                ENOMEM => opens || matches!(act, Act::Look { .. } | Act::MakeDir { .. }),
                // Nobody asks the disk about a file that is open.
                _ => !matches!(act, Act::Stat { .. } | Act::Room { .. }),
            },
        }
    }
}

/// Makes the n-th call that can fail so fail.
#[derive(Debug)]
pub(crate) struct Faulty {
    fault: Option<Fault>,
    n: usize,
    no_links: Option<i32>,
    is_moody: bool,
    /// Calls that could fail so.
    seen: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    struck: Option<String>,
    /// Since the last request was sent.
    struck_now: Option<&'static str>,
    complaints: Vec<String>,
}

impl Faulty {
    pub(crate) fn new(fault: Option<Fault>, n: usize, setup: &Setup) -> Self {
        let (seen, state) = (AtomicUsize::new(0), Mutex::default());
        let (no_links, is_moody) = (setup.no_links, setup.fails > 0);
        Self { fault, n, no_links, is_moody, seen, state }
    }

    /// What was struck.
    pub(crate) fn struck(&self) -> Option<String> {
        self.lock().struck.clone()
    }

    /// Calls that could have failed so.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.lock().complaints.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Looks whether an answer hides what went wrong, or blames it on the wrong one.
    pub(crate) fn hear(&self, mark: &Mark) {
        let (Mark::Asked(what, status), Some(fault)) = (mark, self.fault) else { return };
        let mut state = self.lock();
        let Some(status) = status else {
            state.struck_now = None;
            return;
        };
        let Some(verb) = state.struck_now.take() else { return };
        let is_success = (200..300).contains(status);
        let wrong = match verb {
            _ if fault.is_nothing() => {
                (*status >= 500 && !self.is_moody).then_some("it should get over that")
            }
            // What was written or synced is what is told; other things may be done later, or in
            // another way. A HEAD may be answered after somebody else has tried again.
            "write" | "sync" | "sync-dir" if is_success && what.starts_with('P') => {
                // What was taken before the disk was full is synced and kept; and a final is
                // whole before its parts are told.
                let is_kept = what.starts_with("POST") && fault.is_full();
                (!is_kept && !what.ends_with("(a final)")).then_some("a failure is hidden")
            }
            _ if fault.is_full() && *status == 500 => Some("a full disk is 507"),
            _ if fault.is_passing() && *status == 500 => Some("what passes is 503"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let text = format!("{what} gives {status} after a failed {verb}: {wrong}");
            state.complaints.push(text);
        }
    }
}

impl Watch for Faulty {
    fn before(&self, act: &Act<'_>) -> Answer {
        if let (Act::Link { .. }, Some(errno)) = (act, self.no_links) {
            return Answer::Fail(errno);
        }
        let Some(fault) = self.fault.filter(|fault| fault.may_strike(act)) else {
            return Answer::GoOn;
        };
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let times = match fault {
            Fault::While(_, times) => times,
            Fault::Once(_) | Fault::Short(_) => 1,
        };
        if !(self.n..self.n + times).contains(&seen) {
            return Answer::GoOn;
        }
        let mut state = self.lock();
        state.struck.get_or_insert_with(|| format!("{} {}", act.verb(), act.name()));
        state.struck_now.get_or_insert(act.verb());
        match fault {
            Fault::Once(errno) | Fault::While(errno, _) => Answer::Fail(errno),
            Fault::Short(most) => Answer::Short(most),
        }
    }

    fn after(&self, _act: &Act<'_>, _result: Result<Outcome, i32>) {}
}
