use super::{
    Body,
    exchange::{Exchange, refuse},
};
use crate::{
    hooks::Action,
    model::{GoneReason, Outcome, Phase, Read, ReadView, Refusal, UploadId},
    protocol::{
        limits,
        read::{self, Selection},
    },
};

/// Sends the bytes of an upload if it is complete; `None` if it is not.
pub(super) async fn read_complete(
    exchange: &Exchange<'_>,
    id: &UploadId,
    command: &Read,
) -> Result<Option<(Outcome, Option<Body>)>, Refusal> {
    let upload = exchange.peek(id).await?;
    match upload.phase {
        _ if !exchange.offer.download => Ok(None),
        // What the application has processed, nobody keeps.
        Phase::Announced { .. } if upload.origin.is_none() => {
            read(exchange, id, command).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Sends the bytes of a complete upload.
pub(super) async fn read(
    exchange: &Exchange<'_>,
    id: &UploadId,
    command: &Read,
) -> Result<(Outcome, Option<Body>), Refusal> {
    let chunks = &exchange.tus.chunks;
    let upload = exchange.peek(id).await?;
    exchange.authorize(Action::Read, Some(&upload)).await?;
    match &upload.phase {
        Phase::Announced { .. } => {}
        Phase::Open | Phase::Complete { .. } => return Err(Refusal::NotFound),
        Phase::Refused { rejection, .. } => return Err(Refusal::refused(rejection)),
        Phase::Gone(gone) => return Err(Refusal::Gone(gone.reason)),
    }
    // A file that the application has moved away is gone, not a failure.
    let gone = |error: crate::store::StoreError| match error.is_not_found() {
        true => Refusal::Gone(GoneReason::Moved),
        false => refuse(&error, "read", id),
    };
    let stored = chunks.stat(&upload.locator).await.map_err(gone)?;
    let length = stored.length;
    if upload.length.is_some_and(|declared| declared != length) {
        // A part of it would pass for the whole.
        tracing::error!(
            upload = %id, stored = length, length = upload.length,
            "a complete upload has another length than its record says"
        );
        return Err(Refusal::Internal);
    }
    let etag = format!("\"{id}-{length:x}-{:x}\"", stored.modified.as_millis());
    let (range, partial) = match read::select(command, length, &etag)? {
        Selection::NotModified => return Ok((Outcome::NotModified { etag }, None)),
        Selection::Whole => (0..length, false),
        Selection::Part(range) => (range, true),
    };
    let reader = chunks.read(&upload.locator, range.clone()).await.map_err(gone)?;
    let body = Body::download(reader, range.end - range.start);
    let view = ReadView {
        length,
        range,
        partial,
        etag,
        filename: upload.metadata.filename().map(|name| name.into_owned()),
        filetype: upload.metadata.filetype().map(|kind| kind.into_owned()),
        limits: limits::told(&exchange.tus.policy, upload.max_size, None, exchange.tus.now()),
    };
    Ok((Outcome::Read(view), Some(body)))
}
