use std::fmt;

use bytes::Bytes;

use super::{
    Inner, complete, digests,
    exchange::{Done, Exchange, refuse},
    incoming::Incoming,
    pump::pump,
    session::Session,
    terminate::{self, Tell},
};
use crate::{
    hooks::Action,
    model::{Append, GoneReason, Outcome, Phase, Refusal, Upload, UploadId},
    protocol::{
        admit::{self, Admission},
        expire, limits,
        settle::{Settlement, prepare, settle},
    },
    wire::Dialect,
};

/// Adds bytes to an upload (tus 1.0.0, PATCH).
pub(super) async fn append<'t, B>(
    exchange: &Exchange<'t>,
    id: &UploadId,
    append: Result<Append, Refusal>,
    body: &mut Incoming<'_, B>,
) -> Result<Done<'t>, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let tus = exchange.tus;
    if tus.draining.is_cancelled() {
        return Err(Refusal::Draining);
    }
    let append = match append {
        Ok(append) => readable(tus, append),
        Err(refusal) => return Err(misread(exchange, id, refusal).await),
    };
    let upload = exchange.peek(id).await?;
    exchange.authorize(Action::Append, Some(&upload)).await?;
    let hopeless = admit::check_head(&append, &upload, &tus.policy).err();
    check_offset(exchange, &append, &upload, hopeless).await?;
    let mut transfer = exchange.transfer(Some(id))?;
    transfer.belongs_to(upload.owner.as_deref(), &tus.policy)?;
    let mut session = Session::open_peeked(tus, &upload).await?;
    let outcome = append_leased(exchange, &mut session, &append, body).await;
    Done::of(session, outcome).await
}

/// Takes a digest of the whole that is named late only where earlier bytes can be read for it.
fn readable(tus: &Inner, append: Append) -> Append {
    let expected = append.expected.filter(|_| tus.chunks.capabilities().read);
    Append { expected, ..append }
}

/// What a PATCH hears whose head is wrong: of a final it is 403 all the same (tus 1.0.0,
/// Concatenation: MUST respond with 403 to PATCH requests against a final upload URL).
async fn misread(exchange: &Exchange<'_>, id: &UploadId, refusal: Refusal) -> Refusal {
    let Ok(upload) = exchange.peek(id).await else { return refusal };
    let authorized = exchange.authorize(Action::Append, Some(&upload)).await;
    let is_final = upload.parts().is_some() && !matches!(upload.phase, Phase::Gone(_));
    if authorized.is_ok() && is_final { Refusal::FinalIsReadOnly } else { refusal }
}

/// Refuses what can be seen to be hopeless before anybody is asked to let go.
///
/// A wrong offset comes first (tus 1.0.0, PATCH: MUST respond with 409), then the refusal that the
/// head deserves. An offset below what is stored is hopeless for good; one above it may become
/// right once the holder has stored what it has.
async fn check_offset(
    exchange: &Exchange<'_>,
    append: &Append,
    upload: &Upload,
    hopeless: Option<Refusal>,
) -> Result<(), Refusal> {
    let of_size = matches!(
        hopeless,
        Some(Refusal::BodyTooLong | Refusal::TooLarge { .. } | Refusal::LengthTooShort)
    );
    if let Some(refusal) = hopeless.clone().filter(|_| !of_size) {
        return Err(refusal);
    }
    let expected = match upload.phase {
        Phase::Open => {
            let stored = match exchange.tus.chunks.stat(&upload.locator).await {
                Ok(stored) => stored,
                // Whoever holds it may have placed or removed them since; under the lease it is
                // seen what became of them.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(refuse(&error, "stat", &upload.id)),
            };
            let policy = &exchange.tus.policy;
            let expires_at = expire::expires_at(upload, Some(stored.modified), policy);
            if expires_at.is_some_and(|at| at <= exchange.tus.now()) {
                return Err(Refusal::Gone(GoneReason::Expired));
            }
            if !stored.synced && exchange.dialect != Dialect::Tus {
                // RUFH tells where the upload is, and what is told is durable (P1): that is seen
                // to under the lease, which whoever appends may ask for (RUFH, section 4.6).
                return hopeless.map_or(Ok(()), Err);
            }
            stored.length
        }
        _ => upload.length.unwrap_or(append.at),
    };
    // Bytes behind a fence may yet be cut.
    let below = append.at < expected && upload.fence.is_none();
    if below || (of_size && append.at != expected) {
        return Err(Refusal::OffsetMismatch { expected, provided: append.at });
    }
    hopeless.map_or(Ok(()), Err)
}

/// Appends under the lease; `None` if all bytes are there, for the application to process.
async fn append_leased<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    append: &Append,
    body: &mut Incoming<'_, B>,
) -> Result<Option<Outcome>, Refusal>
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
///
/// Order: the record takes up a length that is declared, and a fence where bytes have to be proven;
/// the bytes go into the store and are synced; what is not proven is cut; the record lifts the
/// fence. A crash leaves a length that was declared (a client repeats it), bytes that were synced
/// and not told, or a fence, up to which whoever comes next cuts ([`Session::open`]).
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
    let whole = match admission.sealed {
        true => None,
        false => Some(digests::resume(session).await?),
    };
    if !admission.sealed
        && let Some(preparation) = prepare(admission)
    {
        session.update(|upload| preparation.apply(upload)).await?;
    }
    let verdict = pump(exchange, session, admission, body).await?;
    let stored = if admission.sealed { admission.start } else { session.stored.length };
    let settlement = settle(admission, verdict, stored);
    if let Some(start) = settlement.cut_to {
        if session.upload.fence.is_none() {
            // Should the cut be interrupted, whoever comes next must know that it is due. If even
            // that fails, the cut itself may still succeed.
            if let Err(refusal) = session.update(|upload| upload.fence = Some(start)).await {
                tracing::warn!(upload = %session.upload.id, ?refusal, "cannot fence off bytes");
            }
        }
        session.truncate(start).await?;
    }
    if let Some(before) = whole {
        digests::settle(session, &settlement, before).await?;
    }
    Ok(settlement)
}

/// Finishes what is whole, and answers; `None` if it is the application who does.
async fn conclude(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    settlement: Settlement,
) -> Result<Option<Outcome>, Refusal> {
    if settlement.ends {
        let stored = Some(session.stored.length);
        terminate::end(session, GoneReason::Outgrown, Tell::Application(stored)).await?;
        complete::tell_finals(session);
    }
    let handled = session.upload.origin.is_some();
    if settlement.completes && session.upload.is_open() && handled {
        return Ok(None);
    }
    if settlement.completes && session.upload.is_open() {
        complete::complete(session, Some(&exchange.request)).await?;
    }
    if let Some(refusal) = settlement.refusal {
        return Err(refusal);
    }
    let (upload, policy) = (&session.upload, &session.tus.policy);
    let expires_at = expire::expires_at(upload, Some(session.stored.modified), policy);
    let (offset, location) = (settlement.offset, upload.url.clone());
    let reply = match &upload.phase {
        Phase::Announced { reply, .. } if handled => {
            let (reply, complete) = (reply.clone(), true);
            return Ok(Some(Outcome::Answered { reply, offset, complete, location }));
        }
        Phase::Announced { reply, .. } => Some(reply.clone()),
        _ => None,
    };
    Ok(Some(Outcome::Appended {
        offset,
        expires_at,
        reply,
        complete: upload.is_complete(),
        location,
        limits: limits::told(policy, upload.max_size, expires_at, session.now()),
        digest: upload.told_digest().cloned(),
    }))
}
