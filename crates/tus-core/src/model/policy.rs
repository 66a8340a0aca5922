use std::time::Duration;

use super::{Cors, TrustedProxy};

/// What the operator allows; the same for every store and every adapter.
///
/// Start from [`Policy::default`] and change what you need:
///
/// ```
/// use std::time::Duration;
/// use tus_core::{Expiry, Policy};
///
/// let mut policy = Policy::default();
/// policy.max_size = Some(5 << 30);
/// policy.expiry = Some(Expiry::sliding(Duration::from_secs(3600)));
/// policy.download = true;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Whether tus 1.0.0 is spoken. Default yes.
    pub tus: bool,
    /// Whether RUFH is spoken, the IETF's *Resumable Uploads for HTTP*. Default yes.
    ///
    /// Its clients need not mark a HEAD, a DELETE or a GET of an upload, so where it is spoken
    /// those without `Tus-Resumable` are its own, and are not refused with 412.
    pub rufh: bool,
    /// When 104 (Upload Resumption Supported) is sent to clients of RUFH. Default
    /// [`InterimMode::Auto`].
    pub interim: InterimMode,
    /// How often at most one request is told of its progress by a 104; what is told is made durable
    /// first. Zero tells of none. Default once a second.
    pub interim_every: Duration,
    /// The most bytes an upload may have (`Tus-Max-Size`); `None` is no bound. Default 10 GiB.
    pub max_size: Option<u64>,
    /// The fewest bytes an upload by RUFH may have, where its length is known; fewer are refused.
    /// Default 0.
    pub min_size: u64,
    /// The most bytes that one request of RUFH may bring; `None` (the default) is no bound.
    pub max_append_size: Option<u64>,
    /// The fewest bytes that one request of RUFH has to bring, unless it brings none or is the
    /// last. Default 0.
    pub min_append_size: u64,
    /// When unfinished uploads expire; `None` (the default) is never.
    pub expiry: Option<Expiry>,
    /// Whether a length may be declared later. Default yes.
    pub defer_length: bool,
    /// Whether a creation may bring the first bytes. Default yes.
    pub creation_with_upload: bool,
    /// Whether a request may promise a digest of its body, and an upload one of the whole; else
    /// checksums of tus are refused, and the digest fields of RFC 9530 ignored. Default yes.
    pub checksum: bool,
    /// Whether clients may terminate uploads. Default yes.
    pub termination: bool,
    /// Whether uploads may be made of parts, where the store can. Default yes.
    pub concatenation: bool,
    /// Whether parts are removed once a final holds their bytes; else they are kept until they
    /// expire, and can be used again. Default no.
    pub remove_used_parts: bool,
    /// Whether complete uploads can be read with GET, where the store can. Default no.
    pub download: bool,
    /// Whether `X-HTTP-Method-Override` on a POST is obeyed. Default yes.
    pub method_override: bool,
    /// Which web pages may use the uploads.
    pub cors: Cors,
    /// The most bytes of `Upload-Metadata`; more is 413. Default 4 KiB.
    pub max_metadata: usize,
    /// The most pairs of `Upload-Metadata`; more is 413. Default 32.
    pub max_metadata_pairs: usize,
    /// The most bytes of a key of `Upload-Metadata`; more is 413. Default 128.
    pub max_metadata_key: usize,
    /// The most bytes of a value of `Upload-Metadata`, decoded; more is 413. Default 2 KiB.
    pub max_metadata_value: usize,
    /// The most parts of a final. Default 1000.
    pub max_parts: usize,
    /// How long a body may pause before what arrived is kept and the request ends. Default 30 s.
    pub idle_timeout: Duration,
    /// The fewest bytes a second that a body may bring on average; one that is slower ends as one
    /// that pauses does. Zero is no bound. Default 1 KiB.
    pub min_rate: u64,
    /// Over how long that average is taken, the time that the server itself took not counted.
    /// Default 30 s.
    pub min_rate_over: Duration,
    /// The most uploads that may receive bytes at once, creations of finals among them; more are 503
    /// with `Retry-After`. Default 1024.
    pub max_transfers: usize,
    /// The most of them for one owner; more are 429 with `Retry-After`. `None` (the default) is no
    /// bound.
    pub max_transfers_per_owner: Option<usize>,
    /// The most of them from one client's address (with IPv6, from one network of 64 bits); more
    /// are 429 with `Retry-After`. Requests over
    /// a unix socket, and those of a trusted proxy that does not say for whom, are not counted.
    /// `None` (the default) is no bound.
    pub max_transfers_per_address: Option<usize>,
    /// How long a request waits for the upload after asking its holder to let go. Default 5 s.
    pub lease_wait: Duration,
    /// How long a request waits for `on_finish` of a complete upload before it is told to come
    /// back. Default 5 s.
    pub finish_wait: Duration,
    /// How long one call of a hook may take; then it counts as failed. Default 60 s.
    pub hook_timeout: Duration,
    /// How long an application's own handler may take to process an upload; then its client hears
    /// 503, and may have it asked again. Default 1 hour.
    pub handler_timeout: Duration,
    /// For how long the answer of an application's own handler is kept, so that a client that lost
    /// it gets it again. Default 1 hour.
    pub remember: Duration,
    /// How often `on_progress` may be called for one request. Default once a second.
    pub progress_every: Duration,
    /// How many bytes of one body may be accepted without making them durable. Default 64 MiB.
    pub sync_every: u64,
    /// How often expired uploads are looked for. Default 10 minutes.
    pub sweep_every: Duration,
    /// The URL of the mount as clients see it, when it cannot be derived from the request: an
    /// absolute URL or a path. `None` (the default) derives it.
    pub public_url: Option<String>,
    /// The peers whose forwarding headers are believed. Default none.
    pub trusted_proxies: Vec<TrustedProxy>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tus: true,
            rufh: true,
            interim: InterimMode::Auto,
            interim_every: Duration::from_secs(1),
            max_size: Some(10 << 30),
            min_size: 0,
            max_append_size: None,
            min_append_size: 0,
            expiry: None,
            defer_length: true,
            creation_with_upload: true,
            checksum: true,
            termination: true,
            concatenation: true,
            remove_used_parts: false,
            download: false,
            method_override: true,
            cors: Cors::default(),
            max_metadata: 4 * 1024,
            max_metadata_pairs: 32,
            max_metadata_key: 128,
            max_metadata_value: 2 * 1024,
            max_parts: 1000,
            idle_timeout: Duration::from_secs(30),
            min_rate: 1024,
            min_rate_over: Duration::from_secs(30),
            max_transfers: 1024,
            max_transfers_per_owner: None,
            max_transfers_per_address: None,
            lease_wait: Duration::from_secs(5),
            finish_wait: Duration::from_secs(5),
            hook_timeout: Duration::from_secs(60),
            handler_timeout: Duration::from_secs(3600),
            remember: Duration::from_secs(3600),
            progress_every: Duration::from_secs(1),
            sync_every: 64 << 20,
            sweep_every: Duration::from_secs(600),
            public_url: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// When 104 (Upload Resumption Supported) is sent (RUFH, section 5).
///
/// Never over HTTP/1.0, never to a client that does not name a version of the draft that is spoken
/// here, and only where the connection can: `tus-interim` has what that needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterimMode {
    /// Unless a proxy stands between: some take an interim response for the final one. A request
    /// with `Via`, `Forwarded` or `X-Forwarded-For` has come through one.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// When unfinished uploads expire (tus 1.0.0, Expiration).
///
/// Parts count as unfinished, complete or not, unless a final waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// How long an upload lives.
    pub period: Duration,
    /// From when on.
    pub mode: ExpiryMode,
    /// For how long clients of an expired upload hear 410 rather than 404.
    pub remember: Duration,
}

impl Expiry {
    /// Expires uploads so long after their creation.
    pub const fn fixed(period: Duration) -> Self {
        Self { period, mode: ExpiryMode::Fixed, remember: period }
    }

    /// Expires uploads so long after their last byte.
    pub const fn sliding(period: Duration) -> Self {
        Self { period, mode: ExpiryMode::Sliding, remember: period }
    }
}

/// From when on an expiry period runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpiryMode {
    /// From the creation.
    Fixed,
    /// From the last byte.
    Sliding,
}
