//! Stores that tests look into.

mod discard;
mod watched;

pub use discard::Discard;
pub use watched::{Call, Hold, Watched};
