use std::sync::Arc;

use super::{
    concat,
    exchange::{Exchange, refuse},
    finish,
    session::Session,
};
use crate::{
    hooks::{Action, Ended, Hooks as _},
    model::{GoneReason, Outcome, Phase, Refusal, Upload, UploadId},
    protocol::expire,
};

/// Ends an upload and frees what it holds (tus 1.0.0, Termination).
///
/// Order: the record says that it is gone, durably; then the bytes go, then the record. A crash
/// in between leaves a record that is due, and whoever sweeps goes on.
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
    // But what was being placed may lie in its place already, where only a repeat finds it.
    if let Err(refusal) = finish::place(&mut session).await {
        tracing::warn!(upload = %id, ?refusal, "terminated while it could not be placed");
    }
    let ended = end(&mut session, GoneReason::Terminated).await;
    session.release().await;
    let ended = ended?;
    concat::part_lost(tus, &ended).await;
    let told = tus.hooks.on_terminated(Ended::new(Arc::clone(&ended), None));
    // Best effort: the upload is gone whatever the hook does, and the log has its panic.
    let _told = tus.guarded("on_terminated", told).await;
    Ok(Outcome::Terminated)
}

/// Makes an upload gone: the record first, then the bytes, then (for a termination) the record.
///
/// Returns the record as it was.
pub(super) async fn end(
    session: &mut Session<'_>,
    reason: GoneReason,
) -> Result<Arc<Upload>, Refusal> {
    if let Phase::Gone(gone) = &session.upload.phase {
        return Err(Refusal::Gone(gone.reason));
    }
    let tus = session.tus;
    let before = Arc::new(session.upload.clone());
    let gone = expire::gone(reason, &tus.policy, session.now());
    match session.update(|upload| upload.phase = gone.clone()).await {
        Ok(()) => remove_bytes(session, &before).await?,
        // A full disk must let itself be emptied: the bytes go first, which makes room for the
        // record. Should that be interrupted, the record names bytes that are gone, and expires.
        Err(Refusal::Full) => {
            remove_bytes(session, &before).await?;
            if session.update(|upload| upload.phase = gone.clone()).await.is_err() {
                // There is still no room to remember it, so it is forgotten at once.
                let removed = tus.meta.remove(&before.id).await;
                removed.map_err(|error| refuse(&error, "remove", &before.id))?;
                tracing::info!(upload = %before.id, ?reason, "gone");
                return Ok(before);
            }
        }
        Err(refusal) => return Err(refusal),
    }
    tracing::info!(upload = %before.id, ?reason, "gone");
    if before.holds_parts {
        concat::release_parts(tus, &before, false).await?;
        session.update(|upload| upload.holds_parts = false).await?;
    }
    if reason == GoneReason::Terminated {
        let removed = tus.meta.remove(&before.id).await;
        removed.map_err(|error| refuse(&error, "remove", &before.id))?;
    }
    Ok(before)
}

/// Removes whatever a record says there is.
pub(super) async fn remove_bytes(session: &Session<'_>, upload: &Upload) -> Result<(), Refusal> {
    let superseded = match &upload.phase {
        Phase::Complete { superseded, .. } => superseded.as_ref(),
        _ => None,
    };
    for locator in superseded.into_iter().chain([&upload.locator]) {
        let removed = session.tus.chunks.remove(locator).await;
        removed.map_err(|error| refuse(&error, "remove", &upload.id))?;
    }
    Ok(())
}
