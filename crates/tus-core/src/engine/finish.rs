use uuid::Uuid;

use super::{complete, digests, exchange::refuse_bytes, session::Session};
use crate::{
    model::{Locator, Phase, Refusal, Reply, Upload},
    store::{FinishAs, StoreErrorKind},
};

/// Records that all bytes of an upload are there, with the event that is to be announced.
///
/// From now on the upload is due: whatever is interrupted is gone on with, whether a client comes
/// back or not. A partial is neither placed nor announced, and is through with this.
///
/// Every completion comes by here, so it is here that the whole is what it has to be.
///
/// # Errors
///
/// `WholeDigestMismatch` if it is not: the upload has ended.
pub(super) async fn begin(session: &mut Session<'_>) -> Result<(), Refusal> {
    let digests = match digests::conclude(session).await {
        Ok(digests) => digests,
        Err(refusal) => {
            if !session.upload.is_open() {
                complete::tell_finals(session);
            }
            return Err(refusal);
        }
    };
    let since = session.now();
    let length = session.stored.length;
    let phase = if session.upload.is_partial() {
        Phase::Announced { since, reply: Reply::new() }
    } else {
        tracing::info!(upload = %session.upload.id, length, "complete");
        let event = Uuid::new_v4().to_string();
        Phase::Complete { event, since, placed: false, superseded: None }
    };
    let record = |upload: &mut Upload| {
        upload.phase = phase.clone();
        upload.digests.clone_from(&digests);
    };
    session.update(record).await
}

/// Puts the bytes of a complete upload where they belong, and records where that is.
///
/// The store places, durably; then the record says so. A crash between the two repeats the
/// placing, which finds its own work.
pub(super) async fn place(session: &mut Session<'_>) -> Result<(), Refusal> {
    try_place(session).await.map_err(|unplaced| unplaced.refusal)
}

/// Why the record does not say where the bytes are.
pub(super) struct Unplaced {
    pub(super) refusal: Refusal,
    /// Where they are nevertheless.
    pub(super) at: Option<Locator>,
}

impl From<Refusal> for Unplaced {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, at: None }
    }
}

/// As [`place`], for those who are about to end the upload.
pub(super) async fn try_place(session: &mut Session<'_>) -> Result<(), Unplaced> {
    let Phase::Complete { event, since, placed: false, .. } = session.upload.phase.clone() else {
        return Ok(());
    };
    let id = session.upload.id.clone();
    let length = session.upload.length.unwrap_or(session.stored.length);
    let old = session.upload.locator.clone();
    let placed = session.tus.chunks.finish(&old, &FinishAs::of(&session.upload, length)).await;
    match placed {
        // Nothing moved, so there is nothing to record.
        Ok(locator) if locator == old => Ok(()),
        Ok(locator) => {
            tracing::info!(upload = %id, at = locator.as_str(), "placed");
            let phase = Phase::Complete { event, since, placed: true, superseded: Some(old) };
            let recorded = session.update(|upload| {
                upload.phase = phase.clone();
                upload.locator = locator.clone();
            });
            recorded.await.map_err(|refusal| Unplaced { refusal, at: Some(locator) })
        }
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            tracing::warn!(
                upload = %id, at = old.as_str(), %error,
                "the name is taken; the bytes stay where they are until they expire"
            );
            let rejection = complete::name_taken();
            let phase = Phase::Refused { since: session.now(), rejection, unwanted: false };
            session.update(|upload| upload.phase = phase.clone()).await.map_err(Unplaced::from)
        }
        Err(error) => Err(refuse_bytes(&error, "finish", &id).into()),
    }
}
