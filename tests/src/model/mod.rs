//! What the service should do, without a store, a lease or a byte on a disk.

mod crash;
mod create;
mod drive;
mod finals;
mod generate;
mod operation;
mod reference;
mod service;
mod tally;
mod time;
mod transfer;
mod verbs;

pub use drive::{TALLY, run};
pub use generate::{creation, operation, sequence};
pub use operation::{Bytes, Mood, Operation, Proof, Request, Says, Then};
pub use reference::{Expected, Heard, Reference, State, Who};
pub use tally::Tally;

/// The most bytes an upload may have.
pub const MAX_SIZE: u64 = 36;
/// So many bytes of one body may be taken before they are made durable.
pub const SYNC_EVERY: u64 = 8;
/// How many minutes an unfinished upload lives after its last byte, and is remembered after that.
pub const PERIOD: u64 = 60;
/// After so many minutes a body has paused for too long.
pub const IDLE: u64 = 10;
/// The sweeper comes by itself every so many minutes.
pub const ROUND: u64 = 24 * 60;
