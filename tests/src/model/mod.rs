//! What the service should do, without a store, a lease or a byte on a disk.

mod operation;
mod reference;

pub use operation::{Bytes, Operation, Proof};
pub use reference::{Expected, MAX_SIZE, PERIOD, Reference};
