//! Interim responses for servers on hyper, until hyper has them.
//!
//! A server may answer a request with any number of interim responses (1xx) before the final one;
//! resumable uploads tell their URL and their progress so (104). hyper has no way to send them.
//! This crate adds one from outside, for whoever owns the connection: each request carries an
//! [`Interim`] in its extensions. What is sent through it, and to whom, is not decided here.
//!
//! - [`http1::Io`] goes around the stream of a connection that hyper or actix-web serves.
//! - [`http2`] (feature `http2`) is a driver of connections in hyper's place: HTTP/2 has its
//!   frames, which nobody can slip a head between from outside.
//! - [`server`] (feature `server`) serves a connection in whichever version its peer speaks.
//!
//! Nothing is ever sent to a request of HTTP/1.0, in the middle of another message, or after the
//! final response has begun. A client that does not read is sent only so much, and keeps no
//! upload from going on. Should hyper send interim responses one day, an [`Interim`] around that
//! takes the place of all this.

mod head;
pub mod http1;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "server")]
pub mod server;

pub use tus_core::{Interim, InterimGuard, SendInterim};
