//! The shared nouns: what the wire says, what the rules decide on and what stores keep.
//!
//! Plain data. No rules, no text formats, no IO.

#[cfg(feature = "engine")]
mod command;
mod cors;
mod digest;
#[cfg(feature = "engine")]
mod hashers;
mod metadata;
mod origin;
#[cfg(feature = "engine")]
mod outcome;
mod policy;
mod proxy;
mod rejection;
mod request;
mod time;
mod upload;

#[cfg(feature = "engine")]
pub(crate) use command::{
    Append, Command, Completes, Content, Create, CreateKind, Promise, RangeSpec, Read, Whole,
};
pub use cors::{Cors, InvalidOrigin, OriginPattern, Origins};
pub use digest::{Algorithm, Digest, DigestState, WholeDigest};
#[cfg(feature = "engine")]
pub(crate) use hashers::{Hasher, Hashers};
pub use metadata::{Metadata, MetadataError};
pub use origin::Origin;
#[cfg(feature = "engine")]
pub(crate) use outcome::{
    Discovery, Extension, Outcome, ReadView, Refusal, UploadLimits, UploadView,
};
pub use policy::{Expiry, ExpiryMode, InterimMode, Policy};
pub use proxy::{InvalidProxy, TrustedProxy};
pub use rejection::{Rejection, Reply};
pub use request::{InvalidRequestId, RequestId};
pub use time::Timestamp;
pub use upload::{
    Gone, GoneReason, InvalidId, Kind, Locator, Phase, Placement, Revision, Upload, UploadId,
};
