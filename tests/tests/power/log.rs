//! Everything that was done with the disk, in order, and what was told in between.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::SystemTime,
};

use tus_fs::watch::{Act, Answer, Node, Open, Outcome, Watch};
use tus_tests::disk::Mark;

/// An entry of the log.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Something was done with the disk.
    Done(Done),
    /// Somebody did or heard something.
    Heard(Mark),
}

/// A name in a directory.
pub(crate) type At = (Node, String);

/// Something that was done with the disk.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Opened {
        at: At,
        node: Node,
        how: Open,
    },
    Entered {
        at: At,
        node: Node,
    },
    MadeDir {
        at: At,
    },
    Wrote {
        node: Node,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        node: Node,
        length: u64,
    },
    SetTime {
        node: Node,
        to: SystemTime,
    },
    SetMode {
        node: Node,
        mode: u32,
    },
    Linked {
        from: At,
        to: At,
    },
    Renamed {
        from: At,
        to: At,
    },
    Unlinked {
        at: At,
    },
    /// Whatever was done before the entry `upto` is durable.
    Synced {
        node: Node,
        all: bool,
        modified: SystemTime,
        upto: usize,
    },
    SyncedDir {
        node: Node,
        upto: usize,
    },
    /// A sync failed: what it was to make durable is lost, whatever later syncs say.
    Lost {
        node: Node,
        upto: usize,
    },
}

/// Writes the log, and may break links or one sync.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    no_links: Option<i32>,
    /// The sync that fails, counted from 1.
    breaks: Option<usize>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Entry>,
    /// Where the log was when a thread began to sync.
    syncing: HashMap<ThreadId, usize>,
    syncs: usize,
}

impl Recorder {
    pub(crate) fn new(no_links: Option<i32>, breaks: Option<usize>) -> Self {
        Self { state: Mutex::default(), no_links, breaks }
    }

    pub(crate) fn hear(&self, mark: &Mark) {
        self.lock().log.push(Entry::Heard(mark.clone()));
    }

    pub(crate) fn log(&self) -> Vec<Entry> {
        self.lock().log.clone()
    }

    /// How often something was synced.
    pub(crate) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Watch for Recorder {
    fn before(&self, act: &Act<'_>) -> Answer {
        let mut state = self.lock();
        match act {
            Act::Link { .. } => self.no_links.map_or(Answer::GoOn, Answer::Fail),
            Act::Sync { .. } | Act::SyncDir { .. } => {
                let now = state.log.len();
                state.syncing.insert(thread::current().id(), now);
                state.syncs += 1;
                match self.breaks == Some(state.syncs) {
                    true => Answer::Fail(5),
                    false => Answer::GoOn,
                }
            }
            _ => Answer::GoOn,
        }
    }

    fn after(&self, act: &Act<'_>, result: Result<Outcome, i32>) {
        let mut state = self.lock();
        let upto = state.syncing.remove(&thread::current().id()).unwrap_or(0);
        let at = |name: &tus_fs::watch::Name<'_>| (name.dir, name.name.to_owned());
        let done = match (act, result) {
            (Act::Sync { file, .. }, Err(_)) => Done::Lost { node: file.node, upto },
            (Act::SyncDir { dir }, Err(_)) => Done::Lost { node: *dir, upto },
            (_, Err(_)) => return,
            (Act::Open { at: name, how }, Ok(Outcome::Opened(node))) => {
                Done::Opened { at: at(name), node, how: *how }
            }
            (Act::Enter { at: name }, Ok(Outcome::Opened(node))) => {
                Done::Entered { at: at(name), node }
            }
            (Act::MakeDir { at: name, .. }, Ok(_)) => Done::MadeDir { at: at(name) },
            (Act::Write { file, at, bytes, .. }, Ok(Outcome::Count(count))) => {
                Done::Wrote { node: file.node, at: *at, bytes: bytes[..count].to_vec() }
            }
            (Act::SetLen { file, length }, Ok(_)) => {
                Done::SetLen { node: file.node, length: *length }
            }
            (Act::SetTime { file, to }, Ok(_)) => Done::SetTime { node: file.node, to: *to },
            (Act::SetMode { file, mode }, Ok(_)) => Done::SetMode { node: file.node, mode: *mode },
            (Act::Link { from, to, .. }, Ok(_)) => Done::Linked { from: at(from), to: at(to) },
            (Act::Rename { from, to, .. }, Ok(_)) => Done::Renamed { from: at(from), to: at(to) },
            (Act::Unlink { at: name, .. } | Act::RemoveDir { at: name }, Ok(_)) => {
                Done::Unlinked { at: at(name) }
            }
            (Act::Sync { file, all }, Ok(Outcome::Synced(modified))) => {
                Done::Synced { node: file.node, all: *all, modified, upto }
            }
            (Act::SyncDir { dir }, Ok(_)) => Done::SyncedDir { node: *dir, upto },
            (act, Ok(outcome)) if act.changes() => panic!("{act:?} gave {outcome:?}"),
            _ => return,
        };
        state.log.push(Entry::Done(done));
    }
}
