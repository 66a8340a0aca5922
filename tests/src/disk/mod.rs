//! What the proofs about the disk share: an engine on a file store, a client that resumes and
//! knows what it may expect, and the things that clients do.

mod client;
mod house;
mod knowledge;
mod recovery;
mod scenes;

pub use client::{Client, How};
pub use house::{House, Placing, Setup, Sink, disks};
pub use knowledge::{Event, Flight, Knowledge, Known, Mark, Plan, Role};
pub use recovery::Salvaged;
pub use scenes::{Scene, at_random, large, scenes};
