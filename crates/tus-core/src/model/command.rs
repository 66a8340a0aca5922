use http::HeaderValue;

use super::{Algorithm, Digest, Metadata, Refusal, UploadId};

/// What a request asks for, whatever dialect it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Tell what the server can do.
    Discover,
    /// Make a new upload, perhaps with its first bytes.
    Create(Create),
    /// Tell how far an upload is.
    Inspect,
    /// Add bytes to an upload; or why its head cannot mean that, which a final never gets to say.
    Append(Result<Append, Refusal>),
    /// End an upload and free what it holds.
    Terminate,
    /// Send the bytes of a complete upload.
    Read(Read),
    /// Send the bytes of a complete upload, or tell how far one is that is not.
    ReadOrInspect(Read),
}

/// A new upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    /// The declared whole in bytes; `None` when it is deferred or follows from the parts.
    pub length: Option<u64>,
    /// Its role.
    pub kind: CreateKind,
    /// What the client says about it.
    pub metadata: Metadata,
    /// The text that chose the role, to be returned as it came.
    pub concat: Option<String>,
    /// When it is complete.
    pub completes: Completes,
    /// Whether a resource of the application's is to process it, the one that the request names.
    pub elsewhere: bool,
    /// The first bytes, when the request brings some.
    pub content: Option<Content>,
    /// What is said of all bytes together.
    pub whole: Whole,
}

/// The role that a creation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CreateKind {
    /// An ordinary upload.
    Single,
    /// A part.
    Partial,
    /// A final made of these parts.
    Final(Vec<UploadId>),
}

/// Bytes for an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    /// The offset at which the client believes the upload to be.
    pub at: u64,
    /// A length declared late.
    pub length: Option<u64>,
    /// When the upload is complete.
    pub completes: Completes,
    /// The bytes.
    pub content: Content,
    /// What all bytes of the upload together have to be.
    pub expected: Option<Digest>,
}

/// When an upload is complete, as the client of one request sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Completes {
    /// Once its offset reaches its length (tus 1.0.0).
    #[default]
    AtItsLength,
    /// When this body has ended as it should (RUFH, `Upload-Complete: ?1`).
    WithThisBody,
    /// Later: another request will say so (RUFH, `Upload-Complete: ?0`).
    Later,
}

impl Completes {
    /// Whether the client says by itself when an upload is complete.
    pub(crate) fn is_declared(self) -> bool {
        self != Self::AtItsLength
    }
}

/// What the head says about the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// How many bytes it will have, when the head says so.
    pub length: Option<u64>,
    /// What is promised about them.
    pub digest: Promise,
}

impl Content {
    /// No bytes, and nothing promised about them.
    pub(crate) const fn empty() -> Self {
        Self { length: Some(0), digest: Promise::None }
    }
}

/// What a request promises about the bytes of its body.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Promise {
    /// Nothing.
    #[default]
    None,
    /// This digest.
    Digest(Digest),
    /// A digest that follows the body in a trailer (tus 1.0.0, Checksum).
    Trailer,
}

/// What a creation says of the digest of all bytes of the upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// What it has to be.
    pub expected: Option<Digest>,
    /// Which one the client wants to hear.
    pub wanted: Option<Algorithm>,
}

/// A download.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// The one range asked for; anything else that `Range` may say is ignored, as RFC 9110,
    /// section 14.2 allows.
    pub range: Option<RangeSpec>,
    /// The validator under which the range holds (RFC 9110, section 13.1.5).
    pub if_range: Option<HeaderValue>,
    /// The validators that the client already has (RFC 9110, section 13.1.2).
    pub if_none_match: Option<HeaderValue>,
}

/// One range of bytes (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeSpec {
    /// From the first position to the last, inclusive, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}
