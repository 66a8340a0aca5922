//! Text to nouns and nouns to text: the only place that knows headers, media types and statuses.
//!
//! No rules, no clock, no IO. What a request *means* is said here; whether it is *allowed* is
//! said in [`protocol`](crate::protocol).

mod answer;
mod cors;
mod describe;
mod dialect;
mod digests;
mod disposition;
mod download;
mod fields;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod location;
mod names;
mod refusals;
mod rufh;
mod structured;
mod trailers;
mod tus1;

use http::{HeaderMap, Method};

use crate::model::{Command, Discovery, UploadId};

pub(crate) use answer::{Answer, Words};
pub(crate) use cors::{add_cors, is_preflight};
pub(crate) use describe::describe;
pub(crate) use dialect::{Dialect, Said, advertise, begins, read, write};
pub(crate) use digests::{add_content_digest, wanted_of_answer};
pub(crate) use location::{Mount, Target};
pub(crate) use refusals::sign;
pub(crate) use rufh::{Interop, interim, representation};
pub(crate) use trailers::read_trailers;

/// The head of a request, as far as the dialects care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The method on the request line.
    pub(crate) method: &'a Method,
    /// The resource.
    pub(crate) target: &'a Target,
    /// All header fields.
    pub(crate) headers: &'a HeaderMap,
    /// What is known of the body before it is read.
    pub(crate) body: BodyShape,
    /// Where uploads live, to resolve the URLs of parts.
    pub(crate) mount: &'a Mount,
}

/// What is known of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyShape {
    /// Whether it is known to be empty.
    pub(crate) empty: bool,
    /// Its exact length, if known.
    pub(crate) length: Option<u64>,
}

/// What this server offers at this mount, through this adapter.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The extensions.
    pub(crate) discovery: Discovery,
    /// Whether GET sends bytes.
    pub(crate) download: bool,
    /// Whether a POST may override its method.
    pub(crate) method_override: bool,
    /// Whether tus 1.0.0 is spoken.
    pub(crate) tus: bool,
    /// Whether RUFH is spoken.
    pub(crate) rufh: bool,
}

/// A request, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Understood {
    /// The method that counts.
    pub(crate) method: Method,
    /// The upload that it names, if any.
    pub(crate) id: Option<UploadId>,
    /// What it asks for.
    pub(crate) command: Command,
}
