use std::fmt;

use bytes::Bytes;

use super::{
    complete,
    exchange::{Exchange, refuse},
    incoming::Incoming,
    pump::pump,
    session::Session,
};
use crate::{
    hooks::Action,
    model::{Append, Outcome, Phase, Refusal, Upload, UploadId},
    protocol::{
        admit::{self, Admission},
        expire,
        settle::{Settlement, prepare, settle},
    },
};

/// Adds bytes to an upload (tus 1.0.0, PATCH).
pub(super) async fn append<B>(
    exchange: &Exchange<'_>,
    id: &UploadId,
    append: Append,
    body: &mut Incoming<'_, B>,
) -> Result<Outcome, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let tus = exchange.tus;
    if tus.draining.is_cancelled() {
        return Err(Refusal::Draining);
    }
    let upload = exchange.peek(id).await?;
    exchange.authorize(Action::Append, Some(&upload)).await?;
    if let Err(refusal) = admit::check_head(&append, &upload, &tus.policy) {
        return Err(offset_first(exchange, &append, &upload, refusal).await);
    }
    let mut session = Session::open(tus, id, Session::preempting(tus)).await?;
    let outcome = append_leased(exchange, &mut session, &append, body).await;
    session.release().await;
    outcome
}

/// A body that is too long is refused before anybody is asked to let go; but if its offset is
/// wrong, that is what the client must hear (tus 1.0.0, PATCH: MUST respond with 409).
async fn offset_first(
    exchange: &Exchange<'_>,
    append: &Append,
    upload: &Upload,
    refusal: Refusal,
) -> Refusal {
    if !matches!(refusal, Refusal::BodyTooLong | Refusal::TooLarge { .. }) {
        return refusal;
    }
    let expected = match (&upload.phase, upload.length) {
        (Phase::Open, _) => match exchange.tus.chunks.stat(&upload.locator).await {
            Ok(stored) => stored.length,
            Err(error) => return refuse(&error, "stat", &upload.id),
        },
        (_, length) => length.unwrap_or(append.at),
    };
    if append.at == expected { refusal } else { Refusal::OffsetMismatch { expected } }
}

async fn append_leased<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    append: &Append,
    body: &mut Incoming<'_, B>,
) -> Result<Outcome, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    if let Phase::Complete { .. } = session.upload.phase {
        complete::announce(session, Some(&exchange.request)).await?;
    }
    let stored = session.stored;
    let admission = admit::admit(
        append,
        &session.upload,
        stored.length,
        stored.modified,
        &session.tus.policy,
        session.now(),
    )?;
    let settlement = receive(exchange, session, &admission, body).await?;
    if admission.declares && session.upload.length.is_some() {
        // It may be the last length that a final waited for.
        complete::tell_finals(session);
    }
    conclude(exchange, session, settlement).await
}

/// Takes the bytes and records what counts of them.
pub(super) async fn receive<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    admission: &Admission,
    body: &mut Incoming<'_, B>,
) -> Result<Settlement, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    if !admission.sealed
        && let Some(preparation) = prepare(admission)
    {
        session.update(|upload| preparation.apply(upload)).await?;
    }
    let verdict = pump(session, admission, body, exchange.blocking).await?;
    let stored = if admission.sealed { admission.start } else { session.stored.length };
    let settlement = settle(admission, verdict, stored);
    if let Some(start) = settlement.cut_to {
        session.truncate(start).await?;
    }
    if !admission.sealed && settlement.changes(&session.upload) {
        session.update(|upload| settlement.apply(upload)).await?;
    }
    Ok(settlement)
}

/// Finishes what is whole, and answers.
async fn conclude(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    settlement: Settlement,
) -> Result<Outcome, Refusal> {
    if settlement.completes && session.upload.is_open() {
        complete::complete(session, Some(&exchange.request)).await?;
    }
    if let Some(refusal) = settlement.refusal {
        return Err(refusal);
    }
    let modified = Some(session.stored.modified);
    let reply = match &session.upload.phase {
        Phase::Announced { reply, .. } => Some(reply.clone()),
        _ => None,
    };
    Ok(Outcome::Appended {
        offset: settlement.offset,
        expires_at: expire::expires_at(&session.upload, modified, &session.tus.policy),
        reply,
    })
}
