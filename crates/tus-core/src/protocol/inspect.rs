//! What a client may know of an upload (tus 1.0.0, HEAD).

use super::{expire, limits};
use crate::model::{Phase, Policy, Refusal, Timestamp, Upload, UploadView};

/// The view of an upload of which `stored` bytes can be told.
///
/// A refused upload shows its refusal, and one whose finish is not settled shows nothing yet:
/// offset = length would be taken for success.
pub(crate) fn view(
    upload: &Upload,
    stored: u64,
    modified: Option<Timestamp>,
    policy: &Policy,
    now: Timestamp,
) -> Result<UploadView, Refusal> {
    let expires_at = expire::expires_at(upload, modified, policy);
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::Gone(crate::model::GoneReason::Expired));
    }
    let mut view = UploadView {
        offset: Some(stored),
        length: upload.length,
        deferred: upload.length.is_none() && upload.parts().is_none(),
        metadata: upload.metadata.raw().to_owned(),
        concat: upload.concat.clone(),
        expires_at,
        reply: None,
        complete: false,
        limits: limits::told(policy, upload.max_size, expires_at, now),
        digest: upload.told_digest().cloned(),
    };
    match &upload.phase {
        Phase::Open if upload.parts().is_some() => view.offset = None,
        Phase::Open => {}
        Phase::Complete { .. } => return Err(Refusal::Locked),
        Phase::Announced { reply, .. } => {
            view.offset = upload.length;
            // What the application has answered is for whoever asks it.
            view.reply = upload.origin.is_none().then(|| reply.clone());
            view.complete = true;
        }
        Phase::Refused { rejection, .. } => return Err(Refusal::refused(rejection)),
        Phase::Gone(gone) => return Err(Refusal::Gone(gone.reason)),
    }
    Ok(view)
}
