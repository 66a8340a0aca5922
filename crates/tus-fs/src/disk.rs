//! The one place that touches the disk.
//!
//! Everything that this crate opens, reads, changes, syncs or lists goes through [`Dir`] and
//! [`File`]; `tests/tests/floors.rs` holds it to that. So a test can stand between the store and
//! the disk (feature `faults`, [`watch`]): it is asked before each operation and told after it,
//! can make it fail or write less, and can reconstruct what a loss of power might have left.
//! Without the feature none of that is compiled.
//!
//! Calls that a signal interrupted are made again here, and writes that took less than everything
//! go on with the rest, so that no caller has to think of either.

mod dir;
mod file;
mod tap;
pub mod watch;

pub(crate) use dir::{Dir, Room};
pub(crate) use file::{File, regular};
pub(crate) use tap::Tap;
pub(crate) use watch::{Node, Open};

/// Which boot of the machine this is, where the system says so.
pub(crate) fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}
