use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::{
    Inner,
    append::receive,
    complete, concat,
    exchange::{Done, Exchange, refuse},
    handled,
    incoming::Incoming,
    session::Session,
    terminate::{self, Tell},
    transfers::Transfer,
};
use crate::{
    hooks::{Action, Hooks as _, NewUpload},
    model::{
        Append, Completes, Content, Create, CreateKind, GoneReason, Kind, Outcome, Phase,
        Placement, Refusal, Timestamp, Upload, UploadId,
    },
    protocol::{
        admit, create as rules, digests, expire,
        limits::{self, Limits},
        settle::Settlement,
    },
    store::{Acquire, Lease, NewObject, PlaceAs, StoreError, StoreErrorKind},
    wire::Dialect,
};

/// Makes a new upload, perhaps with its first bytes (tus 1.0.0, Creation).
pub(super) async fn create<'t, B>(
    exchange: &Exchange<'t>,
    create: Create,
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
    rules::check(&create, &tus.policy)?;
    exchange.authorize(Action::Create, None).await?;
    if let CreateKind::Final(parts) = &create.kind {
        let mut transfer = exchange.transfer(None)?;
        return concat::create_final(exchange, &create, parts, &mut transfer).await.map(Done::Told);
    }
    let kind = match create.kind {
        CreateKind::Partial => Kind::Partial,
        _ => Kind::Single,
    };
    let content = create.content.clone().filter(|c| *c != Content::empty());
    let brought = create.content.as_ref().map(|_| 0);
    let mut transfer = match &content {
        Some(_) => Some(exchange.transfer(None)?),
        None => None,
    };
    let completes = create.completes;
    let upload = make(exchange, create, kind, transfer.as_mut()).await?;
    let known = exchange.interim.created(&upload, tus);
    let is_whole = match completes {
        Completes::AtItsLength => upload.length == Some(0),
        Completes::WithThisBody => true,
        Completes::Later => false,
    };
    if content.is_none() && !is_whole {
        return Ok(Done::Told(created(tus, &upload, brought, upload.expires_at, None)));
    }
    let first = First { content, completes, offset: brought, known };
    let mut session = Session::open(tus, &upload.id, Session::preempting(tus)).await?;
    let outcome = fill(exchange, &mut session, first, body).await;
    Done::of(session, outcome).await
}

/// Asks the application, then makes the object and the record, in this order: a record never
/// names bytes that are not there. A crash in between leaves an empty object, which whoever
/// sweeps removes.
pub(super) async fn make(
    exchange: &Exchange<'_>,
    create: Create,
    kind: Kind,
    transfer: Option<&mut Transfer>,
) -> Result<Upload, Refusal> {
    let tus = exchange.tus;
    let now = tus.now();
    let new = NewUpload {
        id: None,
        length: create.length,
        kind,
        metadata: create.metadata,
        owner: None,
        max_size: None,
        expires_at: expire::first_expiry(&tus.policy, now),
        placement: Placement::default(),
        digest: create.whole.wanted,
        expected_digest: create.whole.expected,
    };
    let origin = match create.elsewhere {
        true => Some(handled::origin(exchange)?),
        false => None,
    };
    let (length, brings) = (new.length, create.content.and_then(|content| content.length));
    let asked = tus.hooks.before_create(exchange.request.clone(), new);
    let new = tus.hook("before_create", asked).await?;
    let limits = Limits::of(&tus.policy, new.max_size);
    limits.check(length)?;
    limits.check(brings)?;
    if let Some(transfer) = transfer {
        transfer.belongs_to(new.owner.as_deref(), &tus.policy)?;
    }
    let id = match new.id {
        Some(id) => id,
        None => random_id()?,
    };
    let mut upload = Upload {
        url: exchange.mount.url(&id),
        id,
        kind: new.kind,
        phase: Phase::Open,
        length,
        metadata: new.metadata,
        concat: create.concat,
        owner: new.owner,
        // Until the store has said where.
        locator: crate::model::Locator::new(""),
        placement: new.placement,
        origin,
        awaits_end: create.completes.is_declared(),
        fence: None,
        digests: digests::of_creation(
            create.whole.wanted,
            new.digest,
            new.expected_digest.as_ref(),
        ),
        max_size: new.max_size,
        created_at: now,
        expires_at: new.expires_at,
        holds_parts: false,
        finals: Vec::new(),
    };
    upload.holds_parts = upload.parts().is_some();
    let lease = lease_new(tus, &upload.id).await?;
    let recorded = record(tus, &mut upload, length).await;
    lease.release().await;
    recorded.map_err(|error| refuse(&error, "create", &upload.id))?;
    tracing::info!(upload = %upload.id, length = upload.length, "created");
    Ok(upload)
}

/// Leases an upload that is about to be made: whoever sweeps must not take an object whose record
/// is about to come for an abandoned one.
async fn lease_new(tus: &Inner, id: &UploadId) -> Result<Box<dyn Lease>, Refusal> {
    let how = |wait| Acquire { wait, preempt: false };
    let mut lease = tus.locker.acquire(id, how(Duration::ZERO)).await;
    if lease.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Conflict) {
        match tus.meta.load(id).await {
            Ok(_) => return Err(Refusal::AlreadyExists),
            // A creation that is not through yet, or what is left of one.
            Err(error) if error.is_not_found() => {
                lease = tus.locker.acquire(id, how(tus.policy.lease_wait)).await;
            }
            Err(error) => return Err(refuse(&error, "load", id)),
        }
    }
    lease.map_err(|error| refuse(&error, "acquire", id))
}

/// Makes the object, then the record.
async fn record(tus: &Inner, upload: &mut Upload, length: Option<u64>) -> Result<(), StoreError> {
    let mut object = NewObject::new(&upload.id);
    object.length = length;
    // What the application processes is placed nowhere.
    let placed = !upload.is_partial() && upload.origin.is_none();
    object.place = placed.then(|| PlaceAs::of(upload));
    upload.locator = tus.chunks.create(&object).await?;
    if let Err(error) = tus.meta.create(upload).await {
        if let Err(error) = tus.chunks.remove(&upload.locator).await {
            tracing::warn!(upload = %upload.id, %error, "an empty object is left to the sweeper");
        }
        return Err(error);
    }
    Ok(())
}

/// The first bytes of an upload.
struct First {
    /// What is said of them, if there are any.
    content: Option<Content>,
    completes: Completes,
    /// What a client hears that sent none.
    offset: Option<u64>,
    /// Whether the client knows the upload's URL already, whatever becomes of its request.
    known: bool,
}

/// Takes the first bytes (tus 1.0.0, Creation With Upload; RUFH, section 4.2.2); `None` if they are
/// all of them, for the application to process.
async fn fill<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    first: First,
    body: &mut Incoming<'_, B>,
) -> Result<Option<Outcome>, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let tus = session.tus;
    let First { content, completes, offset, known } = first;
    // No content is content that has ended as it should.
    let content = content.unwrap_or(Content::empty());
    let brought = content != Content::empty();
    let settlement = receive_first(exchange, session, content, completes, body).await;
    let (kept, stopped) = match settlement {
        Ok(Settlement { refusal: None, completes, offset: kept, .. }) => {
            if completes && session.upload.origin.is_some() {
                return Ok(None);
            }
            if completes {
                complete_first(exchange, session, known).await?;
            }
            (kept, None)
        }
        Ok(Settlement { refusal: Some(refusal), ends, offset: kept, .. }) => {
            if ends || !is_kept(&refusal, kept, known) {
                // Nobody will ever learn its URL, or it has outgrown itself: there is no upload.
                let reason = if ends { GoneReason::Outgrown } else { GoneReason::Terminated };
                terminate::end(session, reason, Tell::Nobody).await?;
                return Err(refusal);
            }
            if session.upload.length == Some(kept) && !session.upload.awaits_end {
                complete_first(exchange, session, known).await?;
            }
            if is_ours(&refusal) || exchange.dialect != Dialect::Tus {
                (kept, Some(refusal))
            } else {
                return Err(refusal);
            }
        }
        Err(refusal) => {
            if !known {
                terminate::end(session, GoneReason::Terminated, Tell::Nobody).await?;
            }
            return Err(refusal);
        }
    };
    let upload = &session.upload;
    let expires_at = expire::expires_at(upload, Some(session.stored.modified), &tus.policy);
    let offset = if brought { Some(kept) } else { offset };
    Ok(Some(created(tus, upload, offset, expires_at, stopped)))
}

/// Finishes an upload with the request that created it.
async fn complete_first(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    known: bool,
) -> Result<(), Refusal> {
    if !session.upload.is_open() {
        return complete::announce(session, Some(&exchange.request)).await;
    }
    let completed = complete::complete(session, Some(&exchange.request)).await;
    if completed.is_err() && session.upload.is_open() && !known {
        session.reload().await?;
        // Nobody will ever learn its URL, unless it is recorded as complete after all.
        if session.upload.is_open() {
            terminate::end(session, GoneReason::Terminated, Tell::Nobody).await?;
        }
    }
    completed
}

/// What the client of a new upload hears.
fn created(
    tus: &Inner,
    upload: &Upload,
    offset: Option<u64>,
    expires_at: Option<Timestamp>,
    stopped: Option<Refusal>,
) -> Outcome {
    Outcome::Created {
        location: upload.url.clone(),
        offset,
        expires_at,
        reply: match &upload.phase {
            Phase::Announced { reply, .. } => Some(reply.clone()),
            _ => None,
        },
        complete: upload.is_complete(),
        limits: limits::told(&tus.policy, upload.max_size, expires_at, tus.now()),
        stopped,
        digest: upload.told_digest().cloned(),
    }
}

/// Takes the body of a creation.
async fn receive_first<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    content: Content,
    completes: Completes,
    body: &mut Incoming<'_, B>,
) -> Result<Settlement, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let append = Append { at: 0, length: None, completes, content, expected: None };
    let (stored, policy) = (session.stored, &session.tus.policy);
    let now = session.now();
    let admission =
        admit::admit(&append, &session.upload, stored.length, stored.modified, policy, now)?;
    receive(exchange, session, &admission, body).await
}

/// Whether an upload is made of which `kept` bytes are kept, although its body was refused.
///
/// One whose URL the client knows always is. Otherwise its client must learn it from the answer
/// (tus 1.0.0: accept as many bytes as possible), or be able to: one that has left may know an id
/// that the application chose. What the client itself did wrong is refused.
fn is_kept(refusal: &Refusal, kept: u64, known: bool) -> bool {
    known || (kept > 0 && (is_ours(refusal) || *refusal == Refusal::BodyBroken))
}

/// Whether it was us who stopped the body.
fn is_ours(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BodyIdle
            | Refusal::BodySlow
            | Refusal::Preempted
            | Refusal::Draining
            | Refusal::Full
            | Refusal::Unavailable { .. }
    )
}

/// An id with 160 random bits.
fn random_id() -> Result<UploadId, Refusal> {
    let mut bits = [0_u8; 20];
    if let Err(error) = getrandom::fill(&mut bits) {
        tracing::error!(%error, "the system gives no random bits");
        return Err(Refusal::Internal);
    }
    let text = URL_SAFE_NO_PAD.encode(bits);
    text.parse().map_err(|_| Refusal::Internal)
}
