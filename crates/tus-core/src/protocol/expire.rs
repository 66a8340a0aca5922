//! When an upload's time is up (tus 1.0.0, Expiration).

use crate::model::{Expiry, ExpiryMode, Gone, GoneReason, Phase, Policy, Timestamp, Upload};

/// When a new upload expires.
pub(crate) fn first_expiry(policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    policy.expiry.map(|expiry| now.after(expiry.period))
}

/// When an upload expires; `None` when it does not.
///
/// The record holds a lower bound; with a sliding expiry the last write moves it, and nothing
/// has to be recorded for that.
pub(crate) fn expires_at(
    upload: &Upload,
    modified: Option<Timestamp>,
    policy: &Policy,
) -> Option<Timestamp> {
    let recorded = upload.expires_at?;
    let waiting_for = !upload.finals.is_empty();
    let unfinished = match upload.phase {
        Phase::Open => upload.parts().is_none(),
        Phase::Announced { .. } => upload.is_partial() || upload.origin.is_some(),
        Phase::Refused { .. } => true,
        Phase::Complete { .. } | Phase::Gone(_) => false,
    };
    if !unfinished || waiting_for {
        return None;
    }
    match (policy.expiry, modified) {
        (Some(Expiry { mode: ExpiryMode::Sliding, period, .. }), Some(modified)) => {
            Some(recorded.max(modified.after(period)))
        }
        _ => Some(recorded),
    }
}

/// What the record of an upload becomes whose end has begun.
///
/// It names an event if there is one to be told.
pub(crate) fn gone(
    reason: GoneReason,
    policy: &Policy,
    now: Timestamp,
    (event, stored): (Option<String>, Option<u64>),
) -> Gone {
    let remember = match reason {
        GoneReason::Terminated => std::time::Duration::ZERO,
        GoneReason::Expired
        | GoneReason::PartLost
        | GoneReason::Moved
        | GoneReason::Outgrown
        | GoneReason::DigestMismatch => {
            policy.expiry.map_or(std::time::Duration::from_secs(24 * 3600), |e| e.remember)
        }
    };
    Gone { reason, since: now, forget_at: now.after(remember), unfinished: true, event, stored }
}
