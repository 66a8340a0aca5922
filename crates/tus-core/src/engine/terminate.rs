use std::sync::Arc;

use uuid::Uuid;

use super::{
    Inner, complete, concat,
    exchange::{Exchange, refuse},
    finish,
    session::Session,
};
use crate::{
    hooks::{Action, Ended, Hooks as _},
    model::{Gone, GoneReason, Outcome, Phase, Refusal, Upload, UploadId},
    protocol::expire,
};

/// Ends an upload and frees what it holds (tus 1.0.0, Termination).
///
/// Order: what is complete is announced; the record says that the upload is gone and which event
/// is to be told, durably; the bytes go; the application is told; the record goes. A crash in
/// between leaves a record that is due, and whoever sweeps goes on.
pub(super) async fn terminate(exchange: &Exchange<'_>, id: &UploadId) -> Result<Outcome, Refusal> {
    let tus = exchange.tus;
    let upload = exchange.peek(id).await?;
    exchange.authorize(Action::Terminate, Some(&upload)).await?;
    if let Phase::Gone(gone) = &upload.phase {
        return Err(Refusal::Gone(gone.reason));
    }
    let asked = tus.hooks.before_terminate(exchange.request.clone(), Arc::clone(&upload));
    tus.hook("before_terminate", asked).await?;
    // No recovery first: what is to be removed need not be put right.
    let mut session = Session::lease_peeked(tus, &upload).await?;
    let ended = terminate_leased(exchange, &mut session).await;
    session.release().await;
    concat::part_lost(tus, ended?.as_ref()).await;
    Ok(Outcome::Terminated)
}

async fn terminate_leased(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
) -> Result<Arc<Upload>, Refusal> {
    // What was being placed may lie in its place already, where only a repeat finds it.
    let id = &session.upload.id.clone();
    if let Err(finish::Unplaced { refusal, at }) = finish::try_place(session).await {
        tracing::warn!(upload = %id, ?refusal, "terminated while it could not be placed");
        if let Some(at) = at {
            // No record will ever say that it is there. While the old place has the bytes, a crash
            // leaves nothing worse than a placing to be repeated.
            let removed = session.tus.chunks.remove(&at).await;
            removed.map_err(|error| refuse(&error, "remove", id))?;
        }
    } else if session.tus.retries.until(id).is_none() {
        // What is complete is announced first (P5). But nobody has to keep an upload because the
        // application fails: it was asked, and hears next that the upload has ended.
        match complete::announce(session, Some(&exchange.request)).await {
            Ok(()) | Err(Refusal::Refused(_)) => {}
            Err(refusal) => tracing::warn!(upload = %id, ?refusal, "terminated unannounced"),
        }
    }
    end(session, GoneReason::Terminated, Tell::Application(None)).await
}

/// Who is to hear that an upload has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tell {
    /// Nobody: no client ever knew the upload, or none has ended it.
    Nobody,
    /// The application, with the number of bytes that were stored, if that is known.
    Application(Option<u64>),
}

/// Makes an upload gone, for good: the record first, then everything else.
///
/// Returns the record as it was.
pub(super) async fn end(
    session: &mut Session<'_>,
    reason: GoneReason,
    tell: Tell,
) -> Result<Arc<Upload>, Refusal> {
    let before = Arc::new(session.upload.clone());
    let tus = session.tus;
    match &before.phase {
        Phase::Gone(gone) => return Err(Refusal::Gone(gone.reason)),
        Phase::Complete { superseded: Some(superseded), .. } => {
            // The record is about to forget them.
            let removed = tus.chunks.remove(superseded).await;
            removed.map_err(|error| refuse(&error, "remove", &before.id))?;
        }
        _ => {}
    }
    let event = match tell {
        Tell::Application(stored) if tus.hooks.hears(reason) => {
            (Some(Uuid::new_v4().to_string()), stored)
        }
        Tell::Application(_) | Tell::Nobody => (None, None),
    };
    let gone = expire::gone(reason, &tus.policy, session.now(), event);
    let record = |upload: &mut Upload| upload.phase = Phase::Gone(gone.clone());
    match session.update(record).await {
        Ok(()) => {}
        // A full disk must let itself be emptied: the bytes go first, which makes room for the
        // record. Should that be interrupted, the record names bytes that are gone, and expires.
        Err(Refusal::Full) => {
            remove_bytes(session).await?;
            match session.update(record).await {
                Ok(()) => {}
                Err(Refusal::Full) => {
                    // There is still no room to remember it, so it is told and forgotten at once.
                    // Until that succeeds the record stays, and whoever asks again comes by here.
                    record(&mut session.upload);
                    tell_ended(tus, &session.upload, &gone).await?;
                    forget(session).await?;
                    return Ok(before);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Err(refusal) => return Err(refusal),
    }
    tracing::info!(upload = %before.id, ?reason, "gone");
    match conclude(session).await? {
        End::Remembered | End::Forgotten => {}
        End::Untold(retry_after) => {
            tracing::info!(upload = %before.id, ?retry_after, "its end is told later");
        }
    }
    Ok(before)
}

/// How far the end of an upload has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// Its record is kept for a while.
    Remembered,
    /// Nothing of it is left.
    Forgotten,
    /// The application has yet to hear of it; it is tried again after this time.
    Untold(std::time::Duration),
}

/// Goes on with an end that is recorded, from wherever it was interrupted.
pub(super) async fn conclude(session: &mut Session<'_>) -> Result<End, Refusal> {
    let Phase::Gone(gone) = session.upload.phase.clone() else { return Ok(End::Remembered) };
    let tus = session.tus;
    remove_bytes(session).await?;
    if session.upload.holds_parts {
        concat::release_parts(tus, &session.upload, false).await?;
        session.update(|upload| upload.holds_parts = false).await?;
    }
    if let Err(refusal) = tell_ended(tus, &session.upload, &gone).await {
        let retry_after = tus.retries.later(&session.upload.id);
        tracing::debug!(upload = %session.upload.id, ?refusal, "the application was not told");
        return Ok(End::Untold(retry_after));
    }
    tus.retries.forget(&session.upload.id);
    if gone.forget_at <= session.now() {
        forget(session).await?;
        return Ok(End::Forgotten);
    }
    if gone.unfinished {
        let told = Gone { unfinished: false, event: None, ..gone };
        session.update(|upload| upload.phase = Phase::Gone(told.clone())).await?;
    }
    Ok(End::Remembered)
}

/// Tells the application of an upload that has ended, if it has not heard yet.
async fn tell_ended(tus: &Arc<Inner>, upload: &Upload, gone: &Gone) -> Result<(), Refusal> {
    let Some(event) = gone.event.clone() else { return Ok(()) };
    let ended = Ended::new(event, Arc::new(upload.clone()), gone.stored);
    let told = match gone.reason {
        GoneReason::Terminated | GoneReason::Outgrown | GoneReason::DigestMismatch => {
            tus.hook("on_terminated", tus.hooks.on_terminated(ended)).await
        }
        GoneReason::Expired => tus.hook("on_expired", tus.hooks.on_expired(ended)).await,
        GoneReason::PartLost | GoneReason::Moved => Ok(()),
    };
    if let Err(Refusal::Rejected(_)) = told {
        tracing::error!(upload = %upload.id, "there is nothing to reject; it is told again");
    }
    told
}

/// Removes the bytes of an upload; its record stays.
async fn remove_bytes(session: &Session<'_>) -> Result<(), Refusal> {
    let removed = session.tus.chunks.remove(&session.upload.locator).await;
    removed.map_err(|error| refuse(&error, "remove", &session.upload.id))
}

/// Removes the record of an upload of which nothing else is left.
async fn forget(session: &Session<'_>) -> Result<(), Refusal> {
    let removed = session.tus.meta.remove(&session.upload.id).await;
    removed.map_err(|error| refuse(&error, "remove", &session.upload.id))
}
