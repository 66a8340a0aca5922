use std::{collections::BTreeMap, sync::Arc};

use super::{
    Inner, complete,
    create::make,
    exchange::{Exchange, refuse},
    session::{Session, update_unleased},
    terminate::{self, Tell},
    transfers::Transfer,
};
use crate::{
    hooks::{Action, RequestContext},
    model::{
        Create, Digest, GoneReason, Kind, Outcome, Phase, Refusal, Reply, Timestamp, Upload,
        UploadId, UploadLimits,
    },
    protocol::{concat as rules, expire, limits::Limits},
    store::{Acquire, Lease, StoreErrorKind},
};

/// Makes a final of parts, finished or not (tus 1.0.0, Concatenation).
///
/// Order: the final's record, durably; then its id goes into the record of each part, in id
/// order; then whoever completes the last part, or this very request, joins the bytes. A crash
/// in between leaves an open final, which is due.
pub(super) async fn create_final(
    exchange: &Exchange<'_>,
    create: &Create,
    parts: &[UploadId],
    transfer: &mut Transfer,
) -> Result<Outcome, Refusal> {
    let tus = exchange.tus;
    rules::check_count(parts, &tus.policy)?;
    if create.concat.as_ref().is_some_and(|text| text.len() > MAX_CONCAT) {
        return Err(Refusal::PartCount);
    }
    let mut found = BTreeMap::new();
    for id in parts {
        if found.contains_key(id) {
            continue;
        }
        let part = exchange.peek(id).await?;
        exchange.authorize(Action::Concatenate, Some(&part)).await?;
        rules::check_part(&part)?;
        if part.finals.len() >= MAX_FINALS {
            return Err(Refusal::PartCount);
        }
        if expired(tus, &part).await? {
            return Err(Refusal::Gone(GoneReason::Expired));
        }
        found.insert(id.clone(), part);
    }
    let lookup = |id: &UploadId| found.get(id).map(AsRef::as_ref);
    let length = rules::sum(parts, lookup, Limits::of(&tus.policy, None))?;
    let create = Create { length, ..create.clone() };
    let upload =
        make(exchange, create, Kind::Final { parts: parts.to_vec() }, Some(transfer)).await?;
    let id = upload.id.clone();
    let (reply, digest) = match try_final(tus, &id, Some(&exchange.request)).await {
        Ok(Some(upload)) => told(upload),
        Ok(None) => (None, None),
        // Somebody holds a part: the final waits, as it would for an unfinished one.
        Err(Refusal::Locked) => {
            register(tus, &upload).await;
            tus.retries.later(&id);
            (None, None)
        }
        Err(refusal) => {
            withdraw(tus, &id).await;
            return Err(refusal);
        }
    };
    Ok(Outcome::Created {
        digest,
        location: upload.url,
        offset: None,
        expires_at: None,
        complete: reply.is_some(),
        reply,
        limits: UploadLimits::default(),
        stopped: None,
    })
}

/// What the client of an announced final hears.
fn told(upload: Upload) -> (Option<Reply>, Option<Digest>) {
    let digest = upload.told_digest().cloned();
    match upload.phase {
        Phase::Announced { reply, .. } => (Some(reply), digest),
        _ => (None, digest),
    }
}

/// The most bytes of `Upload-Concat`, which is kept in the record.
const MAX_CONCAT: usize = 256 * 1024;

/// The most finals that may wait for one part, which are kept in its record.
const MAX_FINALS: usize = 100;

/// Ends a final that could not be made and is still open: its client never learns its URL.
async fn withdraw(tus: &Arc<Inner>, id: &UploadId) {
    let how = Acquire { wait: tus.policy.lease_wait, preempt: false };
    let Ok(mut session) = Session::lease(tus, id, how).await else { return };
    if session.upload.is_open()
        && let Err(refusal) =
            terminate::end(&mut session, GoneReason::Terminated, Tell::Nobody).await
    {
        tracing::warn!(upload = %id, ?refusal, "a final that could not be made is left");
    }
    session.release().await;
}

/// Whether a part's time is up, though nobody has swept it yet.
async fn expired(tus: &Inner, part: &Upload) -> Result<bool, Refusal> {
    if part.expires_at.is_none() {
        return Ok(false);
    }
    let stored = tus.chunks.stat(&part.locator).await;
    let stored = stored.map_err(|error| refuse(&error, "stat", &part.id))?;
    let expires_at = expire::expires_at(part, Some(stored.modified), &tus.policy);
    Ok(expires_at.is_some_and(|at| at <= tus.now()))
}

/// Writes the final's id into the records of its parts, without disturbing their writers.
async fn register(tus: &Inner, upload: &Upload) {
    for part in distinct(upload) {
        let change = |part: &mut Upload| {
            if !part.finals.contains(&upload.id) {
                part.finals.push(upload.id.clone());
            }
        };
        // A part that is lost meanwhile is found out by whoever tries the final.
        if let Err(refusal) = update_unleased(tus, &part, change).await {
            tracing::debug!(upload = %upload.id, %part, ?refusal, "a part cannot be told");
        }
    }
}

/// Joins the parts of a final if all of them are complete, and finishes it.
///
/// Returns it once it is announced; `None` as long as parts are awaited.
///
/// # Errors
///
/// The refusal of the finish; 410 if a part is gone.
pub(super) async fn try_final(
    tus: &Arc<Inner>,
    id: &UploadId,
    request: Option<&RequestContext>,
) -> Result<Option<Upload>, Refusal> {
    let how = Acquire { wait: tus.policy.lease_wait, preempt: false };
    let mut session = Session::lease(tus, id, how).await?;
    let tried = try_leased(&mut session, request).await;
    let upload = session.upload.clone();
    session.release().await;
    tried?;
    Ok(Some(upload).filter(|upload| matches!(upload.phase, Phase::Announced { .. })))
}

async fn try_leased(
    session: &mut Session<'_>,
    request: Option<&RequestContext>,
) -> Result<(), Refusal> {
    let tus = session.tus;
    let Some(order) = session.upload.parts().map(<[_]>::to_vec) else {
        return Ok(());
    };
    if !session.upload.is_open() {
        return complete::announce(session, request).await;
    }
    let parts = match load_told(tus, &session.upload).await {
        Ok(parts) => parts,
        Err(Refusal::NotFound) => {
            terminate::end(session, GoneReason::PartLost, Tell::Nobody).await?;
            return Err(Refusal::Gone(GoneReason::PartLost));
        }
        Err(refusal) => return Err(refusal),
    };
    let limits = Limits::of(&tus.policy, session.upload.max_size);
    let sum = match rules::sum(&order, |id| parts.get(id), limits) {
        Ok(sum) => sum,
        Err(refusal) => {
            terminate::end(session, GoneReason::PartLost, Tell::Nobody).await?;
            return Err(refusal);
        }
    };
    if sum.is_some() && session.upload.length != sum {
        session.update(|upload| upload.length = sum).await?;
    }
    if !parts.values().all(Upload::is_complete) {
        return Ok(());
    }
    join(session, &order, sum.unwrap_or(0)).await?;
    complete::complete(session, request).await
}

/// Copies the bytes of the parts into the final, while nobody can remove them.
async fn join(session: &mut Session<'_>, order: &[UploadId], sum: u64) -> Result<(), Refusal> {
    let tus = session.tus;
    // A short request can ask for very much copying, which others must not have to wait for.
    let turn = tus.joins.acquire().await.map_err(|_| Refusal::Draining)?;
    let leases = lease_parts(tus, &session.upload).await?;
    let joined = async {
        // Again, now that they cannot change.
        let parts = load_parts(tus, &session.upload).await?;
        let locators: Vec<_> =
            order.iter().filter_map(|id| parts.get(id)).map(|part| part.locator.clone()).collect();
        let joined = tus.chunks.concat(&session.upload.locator, &locators).await;
        joined.map_err(|error| refuse(&error, "concat", &session.upload.id))
    }
    .await;
    for lease in leases {
        lease.release().await;
    }
    drop(turn);
    let joined = joined?;
    if joined != sum {
        tracing::error!(upload = %session.upload.id, joined, sum, "the parts do not add up");
        return Err(Refusal::Internal);
    }
    session.restat().await
}

/// Leases all parts, in id order, so that two finals of the same parts cannot wait for each other.
async fn lease_parts(tus: &Inner, upload: &Upload) -> Result<Vec<Box<dyn Lease>>, Refusal> {
    let how = Acquire { wait: tus.policy.lease_wait, preempt: false };
    let mut leases = Vec::new();
    for part in distinct(upload) {
        match tus.locker.acquire(&part, how).await {
            Ok(lease) => leases.push(lease),
            Err(error) => {
                for lease in leases {
                    lease.release().await;
                }
                return Err(refuse(&error, "acquire", &part));
            }
        }
    }
    Ok(leases)
}

/// The records of all parts.
///
/// # Errors
///
/// `NotFound` if one is gone.
async fn load_parts(tus: &Inner, upload: &Upload) -> Result<BTreeMap<UploadId, Upload>, Refusal> {
    let mut parts = BTreeMap::new();
    for id in distinct(upload) {
        let loaded = tus.meta.load(&id).await;
        let (part, _) = loaded.map_err(|error| refuse(&error, "load", &id))?;
        rules::check_part(&part)?;
        parts.insert(id, part);
    }
    Ok(parts)
}

/// The records of all parts of an open final, told of it as long as it waits for one of them.
///
/// Its creation may have died, or a store failed, before all of them were. A part that became
/// complete before it was told has had nobody look at the final, so they are loaded again.
///
/// # Errors
///
/// `NotFound` if one is gone.
async fn load_told(tus: &Inner, upload: &Upload) -> Result<BTreeMap<UploadId, Upload>, Refusal> {
    let parts = load_parts(tus, upload).await?;
    let told = parts.values().all(|part| part.finals.contains(&upload.id));
    if told || parts.values().all(Upload::is_complete) {
        return Ok(parts);
    }
    register(tus, upload).await;
    load_parts(tus, upload).await
}

/// When the last byte of any part of an open final was written, or the final was made.
pub(super) async fn last_activity(session: &Session<'_>) -> Result<Timestamp, Refusal> {
    let tus = session.tus;
    let mut last = session.upload.created_at;
    for id in distinct(&session.upload) {
        let stored = match tus.meta.load(&id).await {
            Ok((part, _)) => {
                rules::check_part(&part)?;
                tus.chunks.stat(&part.locator).await
            }
            // A lost part is dealt with by whoever tries the final.
            Err(error) if error.is_not_found() => return Ok(session.now()),
            Err(error) => Err(error),
        };
        match stored {
            Ok(stored) => last = last.max(stored.modified),
            // A part that cannot be used must not keep the others for ever.
            Err(error)
                if matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::Corrupt) =>
            {
                tracing::error!(upload = %session.upload.id, part = %id, %error, "a part is damaged");
            }
            Err(error) => return Err(refuse(&error, "stat", &id)),
        }
    }
    Ok(last)
}

/// Lets go of the parts of a final that has ended, and removes them if that is wanted.
///
/// Until it has been done, the final is due.
pub(super) async fn after_final(session: &mut Session<'_>) {
    if !session.upload.holds_parts {
        return;
    }
    let used = matches!(session.upload.phase, Phase::Announced { .. });
    let remove = used && session.tus.policy.remove_used_parts;
    let released = release_parts(session.tus, &session.upload, remove).await;
    let noted = match released {
        Ok(()) => session.update(|upload| upload.holds_parts = false).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = noted {
        tracing::warn!(upload = %session.upload.id, ?refusal, "parts are left to the sweeper");
    }
}

/// Takes a final that ended out of the records of its parts, and removes those that nobody else
/// waits for, if that is wanted.
pub(super) async fn release_parts(
    tus: &Arc<Inner>,
    upload: &Upload,
    remove: bool,
) -> Result<(), Refusal> {
    for id in distinct(upload) {
        match release_part(tus, upload, &id, remove).await {
            Ok(()) | Err(Refusal::NotFound | Refusal::Gone(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

async fn release_part(
    tus: &Arc<Inner>,
    upload: &Upload,
    id: &UploadId,
    remove: bool,
) -> Result<(), Refusal> {
    let part = match tus.meta.load(id).await {
        Ok((part, _)) => part,
        // Were it mended, it would find out itself that the final has ended.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            tracing::error!(upload = %upload.id, part = %id, %error, "a part is damaged");
            return Ok(());
        }
        Err(error) => return Err(refuse(&error, "load", id)),
    };
    if part.finals.contains(&upload.id) {
        let forget = |part: &mut Upload| part.finals.retain(|id| *id != upload.id);
        update_unleased(tus, id, forget).await?;
    }
    if !remove {
        return Ok(());
    }
    let how = Acquire { wait: std::time::Duration::ZERO, preempt: false };
    let mut session = Session::lease(tus, id, how).await?;
    // Another final may want it still.
    let ended = match session.upload.finals.is_empty() {
        // Boxed, because what ends a final comes by here for its parts.
        true => Box::pin(terminate::end(&mut session, GoneReason::Terminated, Tell::Nobody))
            .await
            .map(drop),
        false => Ok(()),
    };
    session.release().await;
    ended
}

/// Ends the finals that waited for a part that is no more.
pub(super) async fn part_lost(tus: &Arc<Inner>, part: &Upload) {
    for id in &part.finals {
        // One that has ended needs nothing, and may be held by whoever terminates its parts.
        let Ok((found, _)) = tus.meta.load(id).await else { continue };
        if !found.is_open() {
            continue;
        }
        match try_final(tus, id, None).await {
            Ok(_) | Err(Refusal::Gone(_) | Refusal::NotFound) => {}
            Err(refusal) => {
                tracing::warn!(upload = %id, ?refusal, "a final that lost a part is still open");
            }
        }
    }
}

/// Strikes the finals that have ended from the record of a part.
pub(super) async fn strike_ended(session: &mut Session<'_>) -> Result<(), Refusal> {
    let mut ended = Vec::new();
    for id in &session.upload.finals {
        match session.tus.meta.load(id).await {
            Ok((found, _)) if found.is_open() => {}
            Ok(_) => ended.push(id.clone()),
            Err(error) if error.is_not_found() => ended.push(id.clone()),
            // It harms nobody else. Were it mended, it would tell its parts again.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                tracing::error!(upload = %id, %error, "a damaged final keeps no part");
                ended.push(id.clone());
            }
            Err(error) => return Err(refuse(&error, "load", id)),
        }
    }
    if ended.is_empty() {
        return Ok(());
    }
    session.update(|part| part.finals.retain(|id| !ended.contains(id))).await
}

fn distinct(upload: &Upload) -> Vec<UploadId> {
    let mut parts = upload.parts().unwrap_or_default().to_vec();
    parts.sort();
    parts.dedup();
    parts
}
