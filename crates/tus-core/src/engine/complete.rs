use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::{Inner, concat, exchange::refuse, finish, session::Session};
use crate::{
    hooks::{Finished, HookError, Hooks as _, RequestContext},
    model::{Phase, Refusal, Rejection, Reply},
    store::Acquire,
};

/// Brings an upload whose bytes are all there to its end: recorded, placed, announced.
pub(super) async fn complete(
    session: &mut Session<'_>,
    request: Option<&RequestContext>,
) -> Result<(), Refusal> {
    finish::begin(session).await?;
    announce(session, request).await
}

/// Tells the application of a complete upload, and stores what it says.
///
/// # Errors
///
/// The refusal that the upload's clients hear from now on, or one that says to come back.
pub(super) async fn announce(
    session: &mut Session<'_>,
    request: Option<&RequestContext>,
) -> Result<(), Refusal> {
    let tus = session.tus;
    finish::place(session).await?;
    let upload = &session.upload;
    let (event, superseded) = match &upload.phase {
        Phase::Complete { event, superseded, .. } => (event.clone(), superseded.clone()),
        Phase::Refused { rejection, .. } => {
            let refusal = Refusal::refused(rejection);
            concat::after_final(session).await;
            return Err(refusal);
        }
        Phase::Announced { .. } => {
            tell_finals(session);
            return Ok(());
        }
        Phase::Open | Phase::Gone(_) => return Ok(()),
    };
    let id = upload.id.clone();
    if let Some(superseded) = &superseded {
        let removed = tus.chunks.remove(superseded).await;
        removed.map_err(|error| refuse(&error, "remove", &id))?;
    }
    let length = upload.length.unwrap_or(session.stored.length);
    let finished = Finished::new(
        event,
        Arc::new(upload.clone()),
        length,
        request.cloned(),
        tus.chunks.clone(),
    );
    let said = tus.guarded("on_finish", tus.hooks.on_finish(finished)).await;
    let since = session.now();
    match said {
        Some(Ok(reply)) if stored_size(&reply.headers, &reply.body) <= Reply::MAX_STORED => {
            let phase = Phase::Announced { since, reply };
            session.update(|upload| upload.phase = phase.clone()).await?;
            tus.retries.forget(&id);
            concat::after_final(session).await;
            Ok(())
        }
        Some(Err(HookError::Reject(rejection))) => {
            let rejection = bounded(rejection);
            let refusal = Refusal::refused(&rejection);
            let phase = Phase::Refused { since, rejection, unwanted: true };
            session.update(|upload| upload.phase = phase.clone()).await?;
            tus.retries.forget(&id);
            concat::after_final(session).await;
            if let Err(failed) = remove_unwanted(session).await {
                tracing::warn!(upload = %id, ?failed, "refused bytes are left to the sweeper");
            }
            Err(refusal)
        }
        failed => {
            match failed {
                Some(Err(HookError::Failed(error))) => {
                    tracing::error!(upload = %id, %error, "on_finish failed; it is tried again");
                }
                Some(Ok(_)) => tracing::error!(
                    upload = %id, "the reply of on_finish is larger than {} bytes; it is tried again",
                    Reply::MAX_STORED
                ),
                // A panic or time-out is in the log already.
                Some(Err(HookError::Reject(_))) | None => {}
            }
            let retry_after = tus.retries.later(&id);
            Err(Refusal::Unavailable { retry_after })
        }
    }
}

/// Removes the bytes that the application does not want; the record stays, to say so.
pub(super) async fn remove_unwanted(session: &mut Session<'_>) -> Result<(), Refusal> {
    let Phase::Refused { unwanted: true, .. } = session.upload.phase else { return Ok(()) };
    let removed = session.tus.chunks.remove(&session.upload.locator).await;
    removed.map_err(|error| refuse(&error, "remove", &session.upload.id))?;
    session
        .update(|upload| {
            if let Phase::Refused { unwanted, .. } = &mut upload.phase {
                *unwanted = false;
            }
        })
        .await
}

/// Bytes that storing headers and body takes, roughly.
pub(super) fn stored_size(headers: &HeaderMap, body: &[u8]) -> usize {
    let headers: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    headers + body.len()
}

/// A rejection that fits into a record.
fn bounded(rejection: Rejection) -> Rejection {
    if stored_size(&rejection.headers, &rejection.body) <= Reply::MAX_STORED {
        return rejection;
    }
    tracing::error!("a rejection of on_finish is larger than {} bytes; cut", Reply::MAX_STORED);
    Rejection::new(rejection.status, "")
}

/// What the upload's clients hear when its name is taken for good.
pub(super) fn name_taken() -> Rejection {
    Rejection::new(StatusCode::CONFLICT, "already_exists: A file of this name exists already.\n")
}

/// Has the finals that wait for a part look at it again, in a task of their own.
pub(super) fn tell_finals(session: &Session<'_>) {
    for id in session.upload.finals.clone() {
        let tus = Arc::clone(session.tus);
        session.tus.running.spawn(async move {
            // The sweeper is the backstop; whoever holds the final looks at its parts too.
            if let Err(refusal) = concat::try_final(&tus, &id, None).await {
                tracing::debug!(upload = %id, ?refusal, "the final still waits");
            }
        });
    }
}

/// Announces an upload that is complete and was not announced, without disturbing anybody.
pub(super) async fn announce_later(
    tus: &Arc<Inner>,
    id: &crate::model::UploadId,
    wait: std::time::Duration,
) -> Result<(), Refusal> {
    let mut session = Session::open(tus, id, Acquire { wait, preempt: false }).await?;
    // Whoever waited with this one may have tried in vain: that is tried again in its own time.
    let announced = match tus.retries.until(id) {
        Some(retry_after) => Err(Refusal::Unavailable { retry_after }),
        None => announce(&mut session, None).await,
    };
    session.release().await;
    announced
}
