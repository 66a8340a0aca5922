//! Test clients and the adapter suite (not published).
//!
//! - [`Client`] speaks HTTP/1.1 byte by byte: it can send half of a body, dribble, stall, leave
//!   with a FIN or a RST, and says exactly what came back. [`Upload`] knows the requests of tus.
//! - [`Watched`] wraps a store: it counts what is written and can hold a call until a test lets
//!   it go on. [`Discard`] keeps nothing but lengths.
//! - [`adapter_suite!`] is one list of cases, expanded to tests for every [`Harness`]: a real
//!   server of a framework with uploads mounted the way its users mount them.
//!
//! Everything here panics where it meets what a test did not ask for, with words that say what
//! was awaited. Nothing waits longer than [`PATIENCE`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test client reports by panicking"
)]

mod client;
mod harness;
mod head;
mod payload;
mod process;
mod response;
mod store;
mod suite;
mod upload;
mod waiting;

pub use client::Client;
pub use harness::{Abilities, App, Harness, Launch, Server, User};
pub use head::Head;
pub use payload::{Random, pattern, sha1};
pub use process::{Peak, resident};
pub use response::Response;
pub use store::{Call, Discard, Hold, Watched};
pub use suite::run;
pub use upload::{Framing, Upload};
pub use waiting::{PATIENCE, eventually, within};
