//! What a final may be made of (tus 1.0.0, Concatenation).

use super::limits::Limits;
use crate::model::{Phase, Policy, Refusal, Upload, UploadId};

/// Whether the number of parts is allowed.
pub(crate) fn check_count(parts: &[UploadId], policy: &Policy) -> Result<(), Refusal> {
    if parts.is_empty() || parts.len() > policy.max_parts {
        return Err(Refusal::PartCount);
    }
    Ok(())
}

/// Whether an upload can be a part: a partial that still has its bytes.
pub(crate) fn check_part(part: &Upload) -> Result<(), Refusal> {
    match part.phase {
        _ if !part.is_partial() => Err(Refusal::InvalidPart),
        Phase::Gone(_) => Err(Refusal::NotFound),
        _ => Ok(()),
    }
}

/// The length of a final: the sum of its parts, once all of them are known.
///
/// `lookup` gives the record of each part; a part that stands there twice counts twice.
pub(crate) fn sum<'u>(
    parts: &[UploadId],
    lookup: impl Fn(&UploadId) -> Option<&'u Upload>,
    limits: Limits,
) -> Result<Option<u64>, Refusal> {
    let mut sum = Some(0_u64);
    for part in parts {
        let length = lookup(part).ok_or(Refusal::NotFound)?.length;
        sum = match (sum, length) {
            (Some(sum), Some(length)) => Some(sum.saturating_add(length)),
            _ => None,
        };
    }
    limits.check(sum)?;
    Ok(sum)
}
