use std::{sync::Arc, time::Duration};

use super::{
    complete,
    exchange::{Exchange, refuse},
    session::Session,
};
use crate::{
    hooks::Action,
    model::{GoneReason, Outcome, Phase, Refusal, Timestamp, Upload, UploadId},
    protocol::inspect,
};

/// Tells how far an upload is (tus 1.0.0, HEAD).
///
/// An open upload is asked for under its lease, so that its holder stores what it has first; the
/// offset told is then the one at which a PATCH can go on.
pub(super) async fn inspect(
    exchange: &Exchange<'_>,
    id: &UploadId,
    preempt: bool,
) -> Result<Outcome, Refusal> {
    let tus = exchange.tus;
    let upload = exchange.peek(id).await?;
    exchange.authorize(Action::Inspect, Some(&upload)).await?;
    let takes_bytes = upload.is_open() && upload.parts().is_none();
    if !takes_bytes {
        let upload = settled(exchange, upload).await?;
        let modified = modified(exchange, &upload).await?;
        return view(exchange, &upload, 0, modified);
    }
    let session =
        Session::open_peeked_as(tus, &upload, preempt).await.map_err(|refusal| match refusal {
            // It was found whole, and is no more: that is not this request's doing.
            Refusal::WholeDigestMismatch => Refusal::Gone(GoneReason::DigestMismatch),
            refusal => refusal,
        })?;
    let (upload, stored) = (Arc::new(session.upload.clone()), session.stored);
    session.release().await;
    // Recovery may have found it whole.
    let upload = settled(exchange, upload).await?;
    view(exchange, &upload, stored.length, Some(stored.modified))
}

fn view(
    exchange: &Exchange<'_>,
    upload: &Upload,
    stored: u64,
    modified: Option<Timestamp>,
) -> Result<Outcome, Refusal> {
    let tus = exchange.tus;
    inspect::view(upload, stored, modified, &tus.policy, tus.now()).map(Outcome::Inspected)
}

/// When the last byte was written, for an upload that is whole and can still expire.
async fn modified(exchange: &Exchange<'_>, upload: &Upload) -> Result<Option<Timestamp>, Refusal> {
    if upload.expires_at.is_none() || !upload.is_partial() || !upload.is_complete() {
        return Ok(None);
    }
    let stat = exchange.tus.chunks.stat(&upload.locator).await;
    stat.map(|stored| Some(stored.modified)).map_err(|error| refuse(&error, "stat", &upload.id))
}

/// Waits a little for the announcement of a complete upload.
///
/// Nothing is announced on behalf of a HEAD: a task of the engine's own does it, as the sweeper
/// would a little later.
async fn settled(exchange: &Exchange<'_>, upload: Arc<Upload>) -> Result<Arc<Upload>, Refusal> {
    if !matches!(upload.phase, Phase::Complete { .. }) {
        return Ok(upload);
    }
    let (tus, id) = (Arc::clone(exchange.tus), upload.id.clone());
    // One that failed is tried again in its own time, not as often as somebody asks.
    if let Some(retry_after) = tus.retries.until(&id) {
        return Err(Refusal::Unavailable { retry_after });
    }
    let wait: Duration = tus.policy.finish_wait;
    let task = tus.running.spawn({
        let tus = Arc::clone(&tus);
        async move { complete::announce_later(&tus, &id, wait).await }
    });
    match tokio::time::timeout(wait, task).await {
        Ok(Ok(Ok(()) | Err(Refusal::Refused(_)))) => exchange.peek(&upload.id).await,
        Ok(Ok(Err(refusal))) => Err(refusal),
        Ok(Err(_)) | Err(_) => Err(Refusal::Locked),
    }
}
