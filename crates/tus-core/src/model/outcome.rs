use std::time::Duration;

use http::Method;

use super::{Algorithm, Digest, GoneReason, Rejection, Reply, Timestamp};

/// What became of a request, whatever dialect it spoke.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// What the server can do.
    Discovered(Discovery),
    /// The upload exists now.
    Created {
        /// Its URL, as the client is to be told.
        location: String,
        /// Bytes stored of the request's body; `None` when it brought none.
        offset: Option<u64>,
        /// When it expires, if it does.
        expires_at: Option<Timestamp>,
        /// What `on_finish` said, when it is complete already.
        reply: Option<Reply>,
        /// Whether it is complete.
        complete: bool,
        /// What bounds it.
        limits: UploadLimits,
        /// What stopped its body, of which some bytes are kept.
        stopped: Option<Refusal>,
        /// The digest of all its bytes, when it is complete and its client wants to hear it.
        digest: Option<Digest>,
    },
    /// The resource that the upload was sent to has answered.
    Answered {
        /// What it said.
        reply: Reply,
        /// Bytes stored in all.
        offset: u64,
        /// Whether that is the last word; if not, it can be asked again.
        complete: bool,
        /// The upload's URL, as its client knows it.
        location: String,
    },
    /// How far the upload is.
    Inspected(UploadView),
    /// The bytes are stored.
    Appended {
        /// Bytes stored in all.
        offset: u64,
        /// When it expires, if it does.
        expires_at: Option<Timestamp>,
        /// What `on_finish` said, when it is complete.
        reply: Option<Reply>,
        /// Whether it is complete.
        complete: bool,
        /// The upload's URL, as its client knows it.
        location: String,
        /// What bounds it.
        limits: UploadLimits,
        /// The digest of all its bytes, when it is complete and its client wants to hear it.
        digest: Option<Digest>,
    },
    /// The upload is no more.
    Terminated,
    /// The bytes follow.
    Read(ReadView),
    /// The client has these bytes already.
    NotModified {
        /// Their validator.
        etag: String,
    },
}

/// What the server can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// The extensions that policy, store and adapter have together.
    pub extensions: Vec<Extension>,
    /// The most bytes an upload may have.
    pub max_size: Option<u64>,
    /// The digests it can verify.
    pub algorithms: Vec<Algorithm>,
    /// What bounds an upload.
    pub limits: UploadLimits,
}

impl Discovery {
    /// Whether an extension is offered.
    pub(crate) fn has(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }
}

/// An extension of tus 1.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Extension {
    /// Creation.
    Creation,
    /// Creation With Upload.
    CreationWithUpload,
    /// Creation, with a deferred length.
    CreationDeferLength,
    /// Expiration.
    Expiration,
    /// Checksum.
    Checksum,
    /// Checksum, in a trailer.
    ChecksumTrailer,
    /// Termination.
    Termination,
    /// Concatenation.
    Concatenation,
    /// Concatenation, of parts that are not finished.
    ConcatenationUnfinished,
}

/// What bounds an upload, as far as clients are told (RUFH, section 4.1.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UploadLimits {
    /// The most bytes it may have.
    pub max_size: Option<u64>,
    /// The fewest bytes it may have.
    pub min_size: Option<u64>,
    /// The most bytes that one request may bring.
    pub max_append_size: Option<u64>,
    /// The fewest bytes that one request has to bring, unless it is the last.
    pub min_append_size: Option<u64>,
    /// For how long it will live.
    pub max_age: Option<Duration>,
}

/// How far an upload is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UploadView {
    /// Bytes stored; `None` for a final whose parts are awaited.
    pub offset: Option<u64>,
    /// The declared whole.
    pub length: Option<u64>,
    /// Whether the length is still to be declared.
    pub deferred: bool,
    /// The client's metadata, as sent; empty for none.
    pub metadata: String,
    /// The client's `Upload-Concat`, as sent.
    pub concat: Option<String>,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// What `on_finish` said.
    pub reply: Option<Reply>,
    /// Whether it is complete, whatever offset and length say.
    pub complete: bool,
    /// What bounds it.
    pub limits: UploadLimits,
    /// The digest of all its bytes, when it is complete and its client wants to hear it.
    pub digest: Option<Digest>,
}

/// What a download is about to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadView {
    /// The whole, in bytes.
    pub length: u64,
    /// The first byte sent, and the one after the last.
    pub range: std::ops::Range<u64>,
    /// Whether it answers a range.
    pub partial: bool,
    /// The validator of these bytes.
    pub etag: String,
    /// The client's name for the file.
    pub filename: Option<String>,
    /// The client's idea of the media type.
    pub filetype: Option<String>,
    /// What bounds the upload.
    pub limits: UploadLimits,
}

/// Why a request is refused, by meaning; status and text are chosen by the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The protocol version is missing or not one we speak.
    UnsupportedVersion,
    /// No such upload, or no such path.
    NotFound,
    /// The upload was here and is no more.
    Gone(GoneReason),
    /// The resource does not take this method.
    MethodNotAllowed {
        /// The methods it takes.
        allow: Vec<Method>,
    },
    /// `X-HTTP-Method-Override` names no method we know, or stands on a request that is no POST.
    InvalidOverride,
    /// A required header is missing.
    MissingHeader(&'static str),
    /// A header cannot be read, or stands there more than once.
    InvalidHeader(&'static str),
    /// Headers contradict each other.
    Contradiction(&'static str),
    /// An extension that is not offered was asked for.
    NotOffered(Extension),
    /// The body's media type is not the protocol's.
    UnsupportedMediaType,
    /// The offset is not the one given.
    OffsetMismatch {
        /// Where the upload is.
        expected: u64,
        /// Where the client believes it to be.
        provided: u64,
    },
    /// The length was declared before, as another one.
    LengthMismatch,
    /// The declared length is below what is stored already.
    LengthTooShort,
    /// The upload would be larger than is allowed.
    TooLarge {
        /// The most bytes allowed.
        max: u64,
    },
    /// The body is longer than what the upload still lacks.
    BodyTooLong,
    /// One request brings more bytes than it may.
    AppendTooLarge {
        /// The most bytes allowed.
        max: u64,
    },
    /// One request brings fewer bytes than it has to.
    AppendTooSmall {
        /// The fewest bytes allowed.
        min: u64,
    },
    /// The upload is complete, and this is no way to ask for what was said then.
    AlreadyComplete,
    /// The upload would be smaller than is allowed.
    TooSmall {
        /// The fewest bytes allowed.
        min: u64,
    },
    /// The metadata is larger than is allowed.
    MetadataTooLarge,
    /// A final has more parts than are allowed, or none.
    PartCount,
    /// A part is not a partial upload of ours.
    InvalidPart,
    /// A final takes no bytes.
    FinalIsReadOnly,
    /// The digest's algorithm is not one we know.
    UnknownDigest,
    /// The digest is not that of the bytes.
    DigestMismatch,
    /// The digest that was promised did not come.
    DigestMissing,
    /// All bytes of the upload together do not have the digest that they were to have.
    WholeDigestMismatch,
    /// Another request holds the upload, or its finish is still going on.
    Locked,
    /// Another request asked for the upload while this one wrote; its bytes are kept.
    Preempted,
    /// An upload with this id, or a file with this name, exists already.
    AlreadyExists,
    /// The body ended before it was whole; its bytes are kept.
    BodyBroken,
    /// The body paused for too long; its bytes are kept.
    BodyIdle,
    /// The body came too slowly; its bytes are kept.
    BodySlow,
    /// So many uploads receive bytes that there is no room for another.
    Busy,
    /// This client sends to more uploads at once than one may.
    TooMany,
    /// No byte of the range exists.
    RangeNotSatisfiable {
        /// The whole, in bytes.
        length: u64,
    },
    /// The server is stopping.
    Draining,
    /// There is no room for the bytes.
    Full,
    /// A store or an application's hook cannot answer now.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// A store or an application's hook failed.
    Internal,
    /// The application says no, in its own words.
    Rejected(Box<Rejection>),
    /// The application has refused the finished upload, for good.
    Refused(Box<Rejection>),
}

impl Refusal {
    /// What every client of an upload hears that the application has refused.
    pub(crate) fn refused(rejection: &Rejection) -> Self {
        Self::Refused(Box::new(rejection.clone()))
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}
