use uuid::Uuid;

use super::{complete::name_taken, exchange::refuse, session::Session};
use crate::{
    model::{Phase, Refusal, Reply},
    store::{FinishAs, StoreErrorKind},
};

/// Puts the bytes of a whole upload where they belong, and records it.
///
/// Order (DESIGN, section 11): the store places, durably; then the record says so, with the event
/// that is to be announced. A crash between the two repeats the placing, which finds its own work.
/// A partial is neither placed nor announced.
pub(super) async fn place(session: &mut Session<'_>) -> Result<(), Refusal> {
    let since = session.now();
    if session.upload.is_partial() {
        let phase = Phase::Announced { since, reply: Reply::new() };
        return session.update(|upload| upload.phase = phase.clone()).await;
    }
    let length = session.stored.length;
    let old = session.upload.locator.clone();
    let placed = session.tus.chunks.finish(&old, &FinishAs::of(&session.upload, length)).await;
    match placed {
        Ok(locator) => {
            tracing::info!(upload = %session.upload.id, length, at = locator.as_str(), "complete");
            let superseded = (locator != old).then_some(old);
            let event = Uuid::new_v4().to_string();
            let phase = Phase::Complete { event, since, superseded };
            session
                .update(|upload| {
                    upload.phase = phase.clone();
                    upload.locator = locator.clone();
                })
                .await
        }
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            tracing::warn!(
                upload = %session.upload.id, at = old.as_str(), %error,
                "the name is taken; the bytes stay where they are until they expire"
            );
            let phase = Phase::Refused { since, rejection: name_taken() };
            session.update(|upload| upload.phase = phase.clone()).await
        }
        Err(error) => Err(refuse(&error, "finish", &session.upload.id)),
    }
}
