//! The fuzz targets: one body each, driven by libFuzzer (`fuzz/`) and, on a stable toolchain, by
//! `tests/fuzzed.rs`.
//!
//! A target takes any bytes at all and panics when something does not hold. Besides: nothing may
//! panic, what is written is read as the same, and no input takes long.

mod fields;
mod heads;
mod operations;
mod records;
mod seeds;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest that one input may keep a processor busy, in a build without optimisation.
const PATIENCE: Duration = Duration::from_millis(100);

/// The most bytes of an input; a longer one is cut.
pub const MOST: usize = 4096;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, here and in `fuzz/fuzz_targets`.
    pub name: &'static str,
    body: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// Whole request heads through the reader of the wire and through the engine.
pub const HEADS: Target = Target { name: "heads", body: heads::run, seeds: seeds::heads };
/// The values of single headers.
pub const FIELDS: Target = Target { name: "fields", body: fields::run, seeds: seeds::fields };
/// What lies in an upload directory.
pub const RECORDS: Target = Target { name: "records", body: records::run, seeds: seeds::records };

/// Requests of two clients, the sweeper, the clock and crashes, against the reference model.
pub const OPERATIONS: Target =
    Target { name: "operations", body: operations::run, seeds: seeds::operations };

/// All of them.
pub const TARGETS: [Target; 4] = [HEADS, FIELDS, RECORDS, OPERATIONS];

impl Target {
    /// Tries one input.
    ///
    /// # Panics
    ///
    /// If something does not hold.
    pub fn run(&self, data: &[u8]) {
        let data = data.get(..MOST).unwrap_or(data);
        let before = busy();
        (self.body)(data);
        let took = busy().saturating_sub(before);
        assert!(took < PATIENCE, "{}: an input of {} bytes took {took:?}", self.name, data.len());
    }

    /// Inputs to begin with.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// How long this thread has kept a processor busy; a machine with much to do is no slow input.
fn busy() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}
