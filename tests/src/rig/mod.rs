//! What the fault and property tests share: a store that forgets what was not synced, an
//! application that writes down what it is told, and requests without a network.

mod ask;
mod lossy;
mod world;

pub use ask::{Answer, Ask, Frames, Piece, crc32};
pub use lossy::{Lossy, Manner};
pub use world::{Application, Clock, Kept, Memory, Told, World, found};
