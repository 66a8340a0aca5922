//! Resumable uploads: the protocols and the engine, framework-agnostic.
//!
//! **The offset we tell is never more than what is stored, and never goes down.**
//!
//! An application mounts a [`Tus`] with an adapter (`tus-axum`, `tus-actix`), as a tower
//! [service](Tus::service), or calls [`Tus::handle`] itself. It gives it a store (`tus-fs`, or one
//! of its own, see [`store`]), a [`Policy`], and [hooks](Hooks) for the moments in which it has
//! its say. Clients speak tus 1.0.0 or the IETF's draft *Resumable Uploads for HTTP* (RUFH) on the same
//! URLs.
//!
//! # The house
//!
//! | floor | module | what it holds |
//! |---|---|---|
//! | 0 | `model` | the nouns: commands, outcomes, uploads, policy |
//! | 1 | `wire` | text to nouns and back; no rules, no IO |
//! | 1 | `protocol` | the rules, pure; the time is an argument |
//! | 2 | [`store`] | what a store author reads |
//! | 3 | `engine` | the only async code, a file for each verb |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `engine` | yes | [`Tus`], hooks, the tower service, the memory store |
//! | `store` | by `engine` | the store traits and the record codec alone, for store crates |
//! | `conformance` | no | suites that prove a store (cases are added in minor versions) |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod hooks;
#[cfg(feature = "engine")]
mod interim;
mod model;
#[cfg(feature = "engine")]
mod protocol;
#[cfg(feature = "engine")]
mod service;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "engine")]
mod wire;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use wire::fuzzing;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use model::{
    Algorithm, Cors, Digest, DigestState, Expiry, ExpiryMode, Gone, GoneReason, InterimMode,
    InvalidId, InvalidOrigin, InvalidProxy, InvalidRequestId, Kind, Locator, Metadata,
    MetadataError, Origin, OriginPattern, Origins, Phase, Placement, Policy, Rejection, Reply,
    RequestId, Revision, Timestamp, TrustedProxy, Upload, UploadId, WholeDigest,
};

#[cfg(feature = "engine")]
pub use engine::{Arrival, Body, BuildError, Resumed, ResumedBody, SweepReport, Tus, TusBuilder};
#[cfg(feature = "engine")]
pub use hooks::{
    Action, Ended, Finished, HookError, Hooks, Intent, NewUpload, Progress, RequestContext,
};
#[cfg(feature = "engine")]
pub use interim::{Interim, InterimGuard, SendInterim};
#[cfg(feature = "engine")]
pub use service::{PeerAddr, TusService, detached, detached_resume};
#[cfg(feature = "engine")]
pub use store::{MemoryLocker, MemoryStore};

/// The crates whose types stand in this one's signatures.
pub mod reexports {
    pub use bytes;
    pub use http;
    #[cfg(feature = "engine")]
    pub use http_body;
}
