//! May this request write, from where, how much, and what must be proven about it?

use super::{
    digests, expire,
    limits::{self, Limits},
};
use crate::model::{
    Append, Completes, Digest, GoneReason, Phase, Policy, Promise, Refusal, Timestamp, Upload,
};

/// The leave to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The offset at which the first byte belongs.
    pub(crate) start: u64,
    /// The declared whole, with what this request declares.
    pub(crate) length: Option<u64>,
    /// Whether this request declared it.
    pub(crate) declares: bool,
    /// How many bytes may be taken, and what it means if there are more.
    pub(crate) bound: Bound,
    /// How many bytes the head announced.
    pub(crate) announced: Option<u64>,
    /// What must be proven before the bytes count.
    pub(crate) promise: Promise,
    /// Whether the upload has all its bytes, so that none can be stored.
    pub(crate) sealed: bool,
    /// When the upload is complete.
    pub(crate) completes: Completes,
    /// Whether the upload is complete in another way from this request on than it was before: by
    /// its length, or when a client says so.
    pub(crate) turns: bool,
    /// What all bytes of the upload have to be, if the record does not know that yet.
    pub(crate) expected: Option<Digest>,
}

/// How many bytes a request may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// What the upload lacks: more contradicts what the client declared.
    Lacking(u64),
    /// What the policy allows: more is too large, but what fits is the client's.
    Allowed {
        /// So many bytes more.
        left: u64,
        /// The most that the upload may have.
        max: u64,
    },
    /// What one request may bring: what fits is the client's.
    OneRequest {
        /// So many bytes.
        left: u64,
        /// The same, for the client to read.
        max: u64,
    },
}

/// Refuses what the head and the record alone show to be wrong.
///
/// Only a request that passes may ask the upload's holder to let go: a hopeless one must not
/// stop a transfer.
pub(crate) fn check_head(append: &Append, upload: &Upload, policy: &Policy) -> Result<(), Refusal> {
    match &upload.phase {
        Phase::Gone(gone) => return Err(Refusal::Gone(gone.reason)),
        Phase::Refused { rejection, .. } => return Err(Refusal::refused(rejection)),
        Phase::Open | Phase::Complete { .. } | Phase::Announced { .. } => {}
    }
    // tus 1.0.0, Concatenation: 403 to PATCH against a final.
    if upload.parts().is_some() {
        return Err(Refusal::FinalIsReadOnly);
    }
    let length = declared(append, upload)?;
    if append.length.is_some_and(|length| length < append.at) {
        return Err(Refusal::LengthTooShort);
    }
    digests::newly_expected(upload, append.expected.as_ref())?;
    let limits = Limits::of(policy, upload.max_size);
    limits.check(append.length)?;
    limits::check_append(append.completes, append.content.length, policy)?;
    let end = append.at.saturating_add(append.content.length.unwrap_or(0));
    if length.is_some_and(|length| append.at <= length && end > length) {
        return Err(Refusal::BodyTooLong);
    }
    if length.is_none() {
        limits.check(Some(end))?;
    }
    Ok(())
}

/// Admits an append to an upload of which `stored` bytes are there.
pub(crate) fn admit(
    append: &Append,
    upload: &Upload,
    stored: u64,
    modified: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<Admission, Refusal> {
    check_head(append, upload, policy)?;
    let expires_at = expire::expires_at(upload, Some(modified), policy);
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::Gone(GoneReason::Expired));
    }
    let sealed = !upload.is_open();
    // Nothing can be added, and nothing more is to come (RUFH, section 4.1.2).
    if sealed && append.completes == Completes::Later {
        return Err(Refusal::AlreadyComplete);
    }
    let start = if sealed { upload.length.unwrap_or(stored) } else { stored };
    // tus 1.0.0, PATCH: 409 without modifying the upload resource.
    if append.at != start {
        return Err(Refusal::OffsetMismatch { expected: start, provided: append.at });
    }
    let length = declared(append, upload)?;
    if length.is_some_and(|length| length < start) {
        return Err(Refusal::LengthTooShort);
    }
    let bound = Limits::of(policy, upload.max_size).bound(length, start);
    let bound = limits::bound_append(append.completes, bound, policy);
    Ok(Admission {
        start,
        length,
        declares: upload.length.is_none() && append.length.is_some(),
        bound,
        announced: append.content.length,
        promise: append.content.digest.clone(),
        sealed,
        completes: append.completes,
        turns: !sealed && upload.awaits_end != awaits_end(append.completes, upload),
        expected: digests::newly_expected(upload, append.expected.as_ref())?,
    })
}

/// Whether the upload waits for a client to say that it is complete, from this request on.
///
/// Who spoke last decides: a client of tus 1.0.0 says nothing when it is through, and one that
/// sends the last bytes has said it.
fn awaits_end(completes: Completes, upload: &Upload) -> bool {
    match completes {
        // Nobody but a client's request has the application process it.
        Completes::AtItsLength => upload.origin.is_some(),
        Completes::WithThisBody => upload.awaits_end,
        Completes::Later => true,
    }
}

/// The length after this request; once set it must not be changed (tus 1.0.0, Creation).
fn declared(append: &Append, upload: &Upload) -> Result<Option<u64>, Refusal> {
    match (append.length, upload.length) {
        (Some(new), Some(old)) if new != old => Err(Refusal::LengthMismatch),
        (new, old) => Ok(old.or(new)),
    }
}
