//! What a new upload may be (tus 1.0.0, Creation).

use super::limits::{Limits, check_append, check_metadata};
use crate::model::{Create, Policy, Refusal};

/// Checks a creation against the policy, before anything is asked or made.
pub(crate) fn check(create: &Create, policy: &Policy) -> Result<(), Refusal> {
    check_metadata(&create.metadata, policy)?;
    let limits = Limits::of(policy, None);
    limits.check(create.length)?;
    if create.completes.is_declared() {
        let min = policy.min_size;
        if create.length.is_some_and(|length| length < min) {
            return Err(Refusal::TooSmall { min });
        }
        let content = create.content.as_ref().and_then(|content| content.length);
        check_append(create.completes, content, policy)?;
    }
    // A body that is known to be longer than the upload is refused from its head.
    let body = create.content.as_ref().and_then(|content| content.length).unwrap_or(0);
    if create.length.is_some_and(|length| body > length) {
        return Err(Refusal::BodyTooLong);
    }
    limits.check(Some(body))
}
