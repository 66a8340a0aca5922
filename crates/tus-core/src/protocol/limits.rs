//! The one gate for sizes: whatever can make an upload larger comes by here, whether its length is
//! declared, deferred or declared late, and whether it is sent or made of parts.

use super::admit::Bound;
use crate::model::{Completes, Metadata, Policy, Refusal, Timestamp, UploadLimits};

/// How large one upload may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    max: u64,
}

impl Limits {
    /// The most bytes that any file system can hold in one file.
    const MOST: u64 = i64::MAX.unsigned_abs();

    /// The policy's bound, or the upload's own where that is tighter.
    pub(crate) fn of(policy: &Policy, own: Option<u64>) -> Self {
        let bounds = [policy.max_size, own].into_iter().flatten();
        Self { max: bounds.fold(Self::MOST, u64::min) }
    }

    /// Whether an upload may reach so far, where that is known (tus 1.0.0, Creation, POST: 413).
    pub(crate) fn check(self, end: Option<u64>) -> Result<(), Refusal> {
        match end {
            Some(end) if end > self.max => Err(Refusal::TooLarge { max: self.max }),
            _ => Ok(()),
        }
    }

    /// How many bytes may be taken from `start` on, whatever the head of the request says.
    pub(crate) fn bound(self, length: Option<u64>, start: u64) -> Bound {
        match length {
            Some(length) => Bound::Lacking(length.saturating_sub(start)),
            None => Bound::Allowed { left: self.max.saturating_sub(start), max: self.max },
        }
    }
}

/// Whether one request may bring so many bytes (RUFH, section 4.1.4).
///
/// Clients of tus 1.0.0 cannot learn of these bounds, which do not hold for them. A small body is
/// as good as any if it is the last one, or if there is none.
pub(crate) fn check_append(
    completes: Completes,
    content: Option<u64>,
    policy: &Policy,
) -> Result<(), Refusal> {
    let Some(content) = content.filter(|_| completes.is_declared()) else { return Ok(()) };
    if let Some(max) = policy.max_append_size.filter(|max| content > *max) {
        return Err(Refusal::AppendTooLarge { max });
    }
    if completes == Completes::Later && content > 0 && content < policy.min_append_size {
        return Err(Refusal::AppendTooSmall { min: policy.min_append_size });
    }
    Ok(())
}

/// The bound of a body, or that of any body where that is tighter.
pub(crate) fn bound_append(completes: Completes, bound: Bound, policy: &Policy) -> Bound {
    let Some(max) = policy.max_append_size.filter(|_| completes.is_declared()) else {
        return bound;
    };
    match bound {
        Bound::Lacking(left) | Bound::Allowed { left, .. } if left > max => {
            Bound::OneRequest { left: max, max }
        }
        bound => bound,
    }
}

/// What clients may be told of the limits that hold for an upload (RUFH, section 4.1.4).
pub(crate) fn told(
    policy: &Policy,
    own: Option<u64>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> UploadLimits {
    let max_size = [policy.max_size, own].into_iter().flatten().min();
    let positive = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    UploadLimits {
        max_size,
        min_size: positive(policy.min_size),
        max_append_size: policy.max_append_size,
        min_append_size: positive(policy.min_append_size),
        max_age: expires_at.map(|at| at.since(now)),
    }
}

/// Whether metadata is small enough to be kept.
pub(crate) fn check_metadata(metadata: &Metadata, policy: &Policy) -> Result<(), Refusal> {
    let mut pairs = metadata.iter();
    let fits = metadata.raw().len() <= policy.max_metadata
        && metadata.iter().count() <= policy.max_metadata_pairs
        && pairs.all(|(key, value)| {
            key.len() <= policy.max_metadata_key && value.len() <= policy.max_metadata_value
        });
    if fits { Ok(()) } else { Err(Refusal::MetadataTooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_bound_holds_and_there_always_is_one() {
        let mut policy = Policy::default();
        for (max, own, expected) in [
            (Some(10), None, 10),
            (Some(10), Some(5), 5),
            (Some(10), Some(15), 10),
            (None, Some(15), 15),
            (None, None, Limits::MOST),
        ] {
            policy.max_size = max;
            let limits = Limits::of(&policy, own);
            assert_eq!(limits.check(Some(expected)), Ok(()));
            assert_eq!(limits.check(None), Ok(()));
            let too_large = Refusal::TooLarge { max: expected };
            assert_eq!(limits.check(Some(expected + 1)), Err(too_large));
            let left = Bound::Allowed { left: expected - 1, max: expected };
            assert_eq!(limits.bound(None, 1), left);
            assert_eq!(limits.bound(Some(3), 1), Bound::Lacking(2));
        }
    }

    #[test]
    fn metadata_is_bounded_in_every_direction() {
        let mut policy = Policy::default();
        (policy.max_metadata, policy.max_metadata_pairs) = (40, 2);
        (policy.max_metadata_key, policy.max_metadata_value) = (4, 6);
        for (raw, fits) in [
            ("", true),
            ("abcd MTIzNDU2,b", true),
            ("abcde MQ==", false),
            ("a MTIzNDU2Nw==", false),
            ("a,b,c", false),
            ("a MTIzNDU2,b MTIzNDU2, ", false),
        ] {
            let Ok(metadata) = Metadata::parse(raw) else {
                assert!(!fits, "{raw:?}");
                continue;
            };
            assert_eq!(check_metadata(&metadata, &policy).is_ok(), fits, "{raw:?}");
        }
    }
}
