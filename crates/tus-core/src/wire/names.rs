//! Every header name and media type, once.

use http::HeaderName;

macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: HeaderName = HeaderName::from_static($text);)*
    };
}

headers! {
    TUS_RESUMABLE = "tus-resumable";
    TUS_VERSION = "tus-version";
    TUS_EXTENSION = "tus-extension";
    TUS_MAX_SIZE = "tus-max-size";
    TUS_CHECKSUM_ALGORITHM = "tus-checksum-algorithm";
    UPLOAD_OFFSET = "upload-offset";
    UPLOAD_LENGTH = "upload-length";
    UPLOAD_DEFER_LENGTH = "upload-defer-length";
    UPLOAD_METADATA = "upload-metadata";
    UPLOAD_CONCAT = "upload-concat";
    UPLOAD_CHECKSUM = "upload-checksum";
    UPLOAD_EXPIRES = "upload-expires";
    UPLOAD_COMPLETE = "upload-complete";
    UPLOAD_INCOMPLETE = "upload-incomplete";
    UPLOAD_LIMIT = "upload-limit";
    INTEROP_VERSION = "upload-draft-interop-version";
    CONTENT_DIGEST = "content-digest";
    REPR_DIGEST = "repr-digest";
    WANT_CONTENT_DIGEST = "want-content-digest";
    WANT_REPR_DIGEST = "want-repr-digest";
    METHOD_OVERRIDE = "x-http-method-override";
    X_FORWARDED_FOR = "x-forwarded-for";
    X_FORWARDED_HOST = "x-forwarded-host";
    X_FORWARDED_PROTO = "x-forwarded-proto";
    X_FORWARDED_PREFIX = "x-forwarded-prefix";
    X_CONTENT_TYPE_OPTIONS = "x-content-type-options";
    X_REQUEST_ID = "x-request-id";
}

/// The one version of tus that is spoken here.
pub(crate) const VERSION: &str = "1.0.0";

/// The media type of bytes for an upload (tus 1.0.0, PATCH).
pub(crate) const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

/// The media type of bytes for an upload (RUFH, section 6).
pub(crate) const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// The media type of a problem document (RFC 9457, section 3).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What keeps browsers and proxies from remembering an answer (tus 1.0.0, HEAD).
pub(crate) const CACHE_CONTROL_NO_STORE: &str = "no-store";

/// Every request header that is read, for preflights.
pub(crate) static READ: &[&HeaderName] = &[
    &CONTENT_DIGEST,
    &http::header::CONTENT_DISPOSITION,
    &http::header::CONTENT_TYPE,
    &http::header::IF_NONE_MATCH,
    &http::header::IF_RANGE,
    &http::header::RANGE,
    &REPR_DIGEST,
    &TUS_RESUMABLE,
    &UPLOAD_CHECKSUM,
    &UPLOAD_COMPLETE,
    &UPLOAD_CONCAT,
    &UPLOAD_DEFER_LENGTH,
    &INTEROP_VERSION,
    &UPLOAD_INCOMPLETE,
    &UPLOAD_LENGTH,
    &UPLOAD_METADATA,
    &UPLOAD_OFFSET,
    &WANT_CONTENT_DIGEST,
    &WANT_REPR_DIGEST,
    &METHOD_OVERRIDE,
    &X_REQUEST_ID,
];

/// Every response header that is sent, for browsers that must be told what they may see.
pub(crate) static SENT: &[&HeaderName] = &[
    &http::header::ACCEPT_RANGES,
    &http::header::ALLOW,
    &CONTENT_DIGEST,
    &http::header::CONTENT_DISPOSITION,
    &http::header::CONTENT_LENGTH,
    &http::header::CONTENT_RANGE,
    &http::header::ETAG,
    &http::header::LOCATION,
    &REPR_DIGEST,
    &http::header::RETRY_AFTER,
    &TUS_CHECKSUM_ALGORITHM,
    &TUS_EXTENSION,
    &TUS_MAX_SIZE,
    &TUS_RESUMABLE,
    &TUS_VERSION,
    &UPLOAD_COMPLETE,
    &UPLOAD_CONCAT,
    &UPLOAD_DEFER_LENGTH,
    &INTEROP_VERSION,
    &UPLOAD_EXPIRES,
    &UPLOAD_INCOMPLETE,
    &UPLOAD_LENGTH,
    &UPLOAD_LIMIT,
    &UPLOAD_METADATA,
    &UPLOAD_OFFSET,
    &WANT_CONTENT_DIGEST,
    &WANT_REPR_DIGEST,
    &X_REQUEST_ID,
];
