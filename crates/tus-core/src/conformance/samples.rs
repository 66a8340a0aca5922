//! Ids, records and bytes to try stores with.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::model::{
    Algorithm, Digest, DigestState, Gone, GoneReason, Kind, Locator, Metadata, Origin, Phase,
    Placement, Rejection, Reply, Timestamp, Upload, UploadId, WholeDigest,
};

/// An id that is known to be one.
#[expect(clippy::expect_used, reason = "every id of the suites is spelt out in them")]
pub(super) fn id(text: impl Into<String>) -> UploadId {
    UploadId::try_from(text.into()).expect("an id")
}

#[expect(clippy::expect_used, reason = "all metadata of the suites is spelt out in them")]
fn metadata(raw: &str) -> Metadata {
    Metadata::parse(raw).expect("metadata")
}

/// A name that any object of this id may have.
pub(super) fn locator(id: &UploadId) -> Locator {
    Locator::new(format!("somewhere/{id}"))
}

/// A plain record of an open upload.
pub(super) fn upload(id: &UploadId) -> Upload {
    Upload {
        id: id.clone(),
        kind: Kind::Single,
        phase: Phase::Open,
        length: Some(100),
        metadata: metadata("filename d29ybGQucGRm"),
        concat: None,
        owner: None,
        url: format!("/files/{id}"),
        locator: locator(id),
        placement: Placement::default(),
        origin: None,
        awaits_end: false,
        fence: None,
        digests: Vec::new(),
        max_size: None,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: None,
        holds_parts: false,
        finals: Vec::new(),
    }
}

/// Records, all of this id, that between them use every field and every variant.
pub(super) fn uploads(id: &UploadId) -> Vec<Upload> {
    let mut all = Vec::new();
    for phase in phases() {
        for kind in kinds() {
            all.push(Upload { phase: phase.clone(), kind, ..upload(id) });
        }
    }
    // The texts come back to clients exactly as sent, odd spacing and all.
    for raw in ["", "k", "a YQ==,b", " a  YQ==, b ,c AP8N ", "filename w7xuw68uYmlu"] {
        all.push(Upload { metadata: metadata(raw), ..upload(id) });
    }
    for number in [None, Some(0), Some(1 << 53), Some(u64::MAX)] {
        all.push(Upload { length: number, fence: number, max_size: number, ..upload(id) });
    }
    for at in [Timestamp::EPOCH, Timestamp::from_millis(1), Timestamp::from_millis(u64::MAX)] {
        all.push(Upload { created_at: at, expires_at: Some(at), ..upload(id) });
    }
    for text in ["", " ", "Zoë \"Ω\" \\ '; DROP 🦀\n\t", "null"] {
        all.push(Upload {
            owner: Some(text.to_owned()),
            concat: Some(text.to_owned()),
            url: text.to_owned(),
            locator: Locator::new(text),
            placement: Placement { folder: Some(text.to_owned()), name: Some(text.to_owned()) },
            ..upload(id)
        });
    }
    all.push(Upload { awaits_end: true, ..upload(id) });
    let mut headers = HeaderMap::new();
    headers.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let (uri, event) = (Uri::from_static("/a?b=%20"), "event".to_owned());
    let mount = "/uploads".to_owned();
    let origin = Origin { method: Method::PUT, uri, mount, headers, event };
    all.push(Upload { origin: Some(origin), ..upload(id) });
    for algorithm in Algorithm::ALL {
        let value = Digest { algorithm, value: (0..=u8::MAX).collect() };
        let mut asked = WholeDigest::new(algorithm);
        asked.state = Some(DigestState::new(u32::MAX, u64::MAX, (0..=u8::MAX).collect()));
        let mut known = WholeDigest::new(algorithm);
        (known.expected, known.value, known.told) = (Some(value.clone()), Some(value), true);
        all.push(Upload { digests: vec![asked, known], ..upload(id) });
    }
    let finals = vec![self::id("final-2"), self::id("final-1"), self::id("final-2")];
    all.push(Upload { finals, ..upload(id) });
    all
}

fn kinds() -> [Kind; 4] {
    let parts = vec![id("part-b"), id("part-a"), id("part-b")];
    [Kind::Single, Kind::Partial, Kind::Final { parts }, Kind::Final { parts: Vec::new() }]
}

fn phases() -> Vec<Phase> {
    let since = Timestamp::from_millis(1_700_000_000_123);
    let name = HeaderName::from_static("x-twice");
    let bytes = || Bytes::from_iter(0..=u8::MAX);
    let latin = HeaderValue::from_bytes(b"caf\xe9");
    let latin = latin.unwrap_or_else(|_| HeaderValue::from_static("ascii"));
    let reply = Reply::new()
        .with_status(StatusCode::ACCEPTED)
        .with_body(HeaderValue::from_static("application/octet-stream"), bytes())
        .with_header(name.clone(), HeaderValue::from_static("one"))
        .with_header(name.clone(), latin.clone());
    let rejection = Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "no \u{1F980} here")
        .with_header(name.clone(), HeaderValue::from_static(""))
        .with_header(name, latin);
    let mut phases = vec![
        Phase::Open,
        Phase::Complete { event: "01-é".to_owned(), since, placed: false, superseded: None },
        Phase::Complete {
            event: String::new(),
            since,
            placed: true,
            superseded: Some(Locator::new("old")),
        },
        Phase::Announced { since, reply: Reply::new() },
        Phase::Announced { since, reply },
        Phase::Refused { since, rejection: Rejection::forbidden(""), unwanted: false },
        Phase::Refused { since, rejection, unwanted: true },
    ];
    for reason in [GoneReason::Expired, GoneReason::Terminated, GoneReason::PartLost] {
        let forget_at = Timestamp::from_millis(1_800_000_000_000);
        let unfinished = false;
        let gone = Gone { reason, since, forget_at, unfinished, event: None, stored: None };
        phases.push(Phase::Gone(gone.clone()));
        let event = Some("an event".to_owned());
        phases.push(Phase::Gone(Gone { unfinished: true, event, stored: Some(7), ..gone }));
    }
    phases
}

/// `length` bytes that look random and differ with the seed, so that none is where another
/// belongs by chance.
pub(super) fn bytes(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
