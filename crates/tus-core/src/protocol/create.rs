//! What a new upload may be (tus 1.0.0, Creation).

use crate::model::{Create, Policy, Refusal};

/// Checks a creation against the policy, before anything is asked or made.
pub(crate) fn check(create: &Create, policy: &Policy) -> Result<(), Refusal> {
    if create.metadata.raw().len() > policy.max_metadata {
        return Err(Refusal::MetadataTooLarge);
    }
    check_size(create.length, policy.max_size)?;
    // A body that is known to be longer than the upload is refused from its head.
    let body = create.content.as_ref().and_then(|content| content.length).unwrap_or(0);
    if create.length.is_some_and(|length| body > length) {
        return Err(Refusal::BodyTooLong);
    }
    check_size(Some(body), policy.max_size)
}

/// The most bytes that any file system can hold in one file.
pub(crate) const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// Whether a length is within a bound (tus 1.0.0, Creation, POST: 413).
pub(crate) fn check_size(length: Option<u64>, max: Option<u64>) -> Result<(), Refusal> {
    let max = max.unwrap_or(MAX_LENGTH);
    match length {
        Some(length) if length > max => Err(Refusal::TooLarge { max }),
        _ => Ok(()),
    }
}

/// The smaller of two bounds.
pub(crate) fn tighter(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
