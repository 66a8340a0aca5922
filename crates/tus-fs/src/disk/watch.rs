//! What a test sees of the disk, and what it may say to it.

#![cfg_attr(
    not(feature = "faults"),
    allow(dead_code, unreachable_pub, reason = "without a watcher nobody is told")
)]

use std::{fmt, time::SystemTime};

/// Stands between a store and the disk.
///
/// Called on whichever thread touches the disk; each [`before`](Self::before) is followed by one
/// [`after`](Self::after) on the same thread.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Says what is to become of what is about to be done.
    fn before(&self, act: &Act<'_>) -> Answer;

    /// Is told what became of it: what it gave, or the system's error.
    fn after(&self, act: &Act<'_>, result: Result<Outcome, i32>);
}

/// What becomes of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    GoOn,
    /// It is not done and fails with this error of the system.
    ///
    /// An `EINTR` is never seen by the store: the act is done again, and asked about again.
    Fail(i32),
    /// At most so many of its bytes are written or read; the rest is another act.
    Short(usize),
}

/// What came of an act that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing but what was asked for.
    Done,
    /// This was opened, or made and opened.
    Opened(Node),
    /// So many bytes were written or read.
    Count(usize),
    /// It is durable, last modified at this time.
    Synced(SystemTime),
}

/// A file or directory, whatever its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The file system.
    pub dev: u64,
    /// Its number there, which may be given to another file once it is gone.
    pub ino: u64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The directory.
    pub dir: Node,
    /// The name; that of a directory which is made on the way to a store's may be unreadable.
    pub name: &'a str,
}

/// An open file, and the name that it was opened under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Which file.
    pub node: Node,
    /// What it was called when it was opened.
    pub name: &'a str,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// To read what is there.
    Read,
    /// To read and write what is there.
    Write,
    /// A new one; one that is there is an error.
    New,
}

/// Something that is done with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Opens a file, and makes it if `how` says so.
    Open {
        /// Its name.
        at: Name<'a>,
        /// How.
        how: Open,
    },
    /// Makes a directory.
    MakeDir {
        /// Its name.
        at: Name<'a>,
        /// Its mode.
        mode: u32,
    },
    /// Removes a directory.
    RemoveDir {
        /// Its name.
        at: Name<'a>,
    },
    /// Writes bytes.
    Write {
        /// The file.
        file: Held<'a>,
        /// Where in the file.
        at: u64,
        /// What.
        bytes: &'a [u8],
        /// Whether the system copies them from another file.
        copied: bool,
    },
    /// Cuts a file, or makes it longer.
    SetLen {
        /// The file.
        file: Held<'a>,
        /// Its length from now on.
        length: u64,
    },
    /// Makes the bytes and the length of a file durable, and with `all` its mode and times.
    Sync {
        /// The file.
        file: Held<'a>,
        /// Whether more than the bytes is meant.
        all: bool,
    },
    /// Makes the names in a directory durable.
    SyncDir {
        /// The directory.
        dir: Node,
    },
    /// Gives a file a second name, which must be free.
    Link {
        /// Its first name.
        from: Name<'a>,
        /// The file that has it.
        node: Option<Node>,
        /// Its second.
        to: Name<'a>,
    },
    /// Gives a file another name.
    Rename {
        /// Its name so far.
        from: Name<'a>,
        /// The file that has it.
        node: Option<Node>,
        /// Its name from now on.
        to: Name<'a>,
        /// Whether that name may be taken, and is replaced.
        replace: bool,
    },
    /// Removes a name.
    Unlink {
        /// The name.
        at: Name<'a>,
        /// The file that has it.
        node: Option<Node>,
    },
    /// Sets the time of a file's last modification.
    SetTime {
        /// The file.
        file: Held<'a>,
        /// The time.
        to: SystemTime,
    },
    /// Sets the mode of a file.
    SetMode {
        /// The file.
        file: Held<'a>,
        /// The mode.
        mode: u32,
    },
    /// Opens a directory.
    Enter {
        /// Its name.
        at: Name<'a>,
    },
    /// Looks what is under a name.
    Look {
        /// The name.
        at: Name<'a>,
    },
    /// Looks what an open file or directory is.
    Stat {
        /// The file.
        file: Held<'a>,
    },
    /// Reads bytes.
    Read {
        /// The file.
        file: Held<'a>,
        /// Where in the file.
        at: u64,
        /// At most so many.
        length: usize,
    },
    /// Begins to list a directory.
    List {
        /// The directory.
        dir: Node,
    },
    /// Asks how much room a file system has.
    Room {
        /// A directory of it.
        dir: Node,
    },
}

impl Act<'_> {
    /// Whether it may change the disk; opening a file that is there does not.
    pub fn changes(&self) -> bool {
        match self {
            Act::Open { how, .. } => matches!(how, Open::New),
            Act::Enter { .. }
            | Act::Look { .. }
            | Act::Stat { .. }
            | Act::Read { .. }
            | Act::List { .. }
            | Act::Room { .. } => false,
            _ => true,
        }
    }

    /// The name of what is done, for reports.
    pub fn verb(&self) -> &'static str {
        match self {
            Act::Open { how: Open::Read | Open::Write, .. } => "open",
            Act::Open { .. } => "create",
            Act::MakeDir { .. } => "mkdir",
            Act::RemoveDir { .. } => "rmdir",
            Act::Write { .. } => "write",
            Act::SetLen { .. } => "truncate",
            Act::Sync { .. } => "sync",
            Act::SyncDir { .. } => "sync-dir",
            Act::Link { .. } => "link",
            Act::Rename { .. } => "rename",
            Act::Unlink { .. } => "unlink",
            Act::SetTime { .. } => "set-time",
            Act::SetMode { .. } => "set-mode",
            Act::Enter { .. } => "enter",
            Act::Look { .. } => "look",
            Act::Stat { .. } => "stat",
            Act::Read { .. } => "read",
            Act::List { .. } => "list",
            Act::Room { .. } => "room",
        }
    }

    /// The name that it is about, as far as there is one.
    pub fn name(&self) -> &str {
        match self {
            Act::Open { at, .. }
            | Act::MakeDir { at, .. }
            | Act::RemoveDir { at }
            | Act::Unlink { at, .. }
            | Act::Enter { at }
            | Act::Look { at } => at.name,
            Act::Link { to, .. } | Act::Rename { to, .. } => to.name,
            Act::Write { file, .. }
            | Act::SetLen { file, .. }
            | Act::Sync { file, .. }
            | Act::SetTime { file, .. }
            | Act::SetMode { file, .. }
            | Act::Stat { file }
            | Act::Read { file, .. } => file.name,
            Act::SyncDir { .. } | Act::List { .. } | Act::Room { .. } => ".",
        }
    }
}
