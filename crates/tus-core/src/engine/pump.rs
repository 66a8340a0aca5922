use std::{fmt, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{
    digests::Running,
    exchange::{Exchange, refuse},
    incoming::{Frame, Incoming},
    interim::Teller,
    later,
    session::{Record, Session},
};
use crate::{
    hooks::{Hooks as _, Progress},
    model::{Algorithm, Digest, Extension, Hashers, Policy, Promise, Refusal, Upload},
    protocol::{
        admit::Admission,
        intake::{Ending, Intake, Take, Verdict},
    },
    store::{Blocking, ChunkWriter, Lease, StoreError, Stored},
    wire,
};

/// How long a holder that is asked to let go waits for one more frame.
const QUIET: Duration = Duration::from_millis(50);
/// How long it goes on taking what still arrives (P4).
const LAST_CALL: Duration = Duration::from_millis(500);

/// Moves a body into the store, shows it to the rules, and says what counts of it.
///
/// When it returns, no write of this request is under way, and `session.stored` says what is
/// durable.
pub(super) async fn pump<B>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    admission: &Admission,
    body: &mut Incoming<'_, B>,
) -> Result<Verdict, Refusal>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let mut intake = Intake::new(admission);
    let start = admission.start;
    let blocking = exchange.blocking;
    // What is still to be proven may yet be cut, and an offset never goes down (RUFH, 4.1.1).
    let counts = admission.promise == Promise::None && !admission.sealed;
    let (lease, record, running) = session.split();
    let mut sink = Sink {
        record,
        running,
        counts,
        blocking,
        writer: None,
        start,
        at: start,
        synced: start,
        failed: None,
    };
    let policy = &sink.record.tus.policy;
    let teller = exchange.interim.teller(policy).filter(|_| counts);
    let mut ending = take(exchange, lease, &mut sink, &mut intake, body, teller).await;
    // The end of a write decides as much as the write itself: nothing is told that is not synced.
    sink.end().await;
    let (synced, failed) = (sink.synced, sink.failed);
    match &failed {
        None if intake.taken() > 0 => {
            session.stored = Stored { length: synced, synced: true, modified: session.now() };
        }
        None => {}
        Some(Failed::Write(_)) => session.reread_stored().await?,
        Some(Failed::Sync(refusal)) => {
            session.distrust(synced, *refusal == Refusal::Full).await?;
        }
    }
    if let Some(Failed::Write(refusal) | Failed::Sync(refusal)) = failed {
        match ending {
            Ending::Clean(Some(_)) => return Ok(Verdict::RollBack(refusal)),
            Ending::Clean(None) => ending = Ending::Cut(refusal),
            Ending::Cut(_) => {}
        }
    }
    Ok(match intake.end(ending) {
        Verdict::Prove(digest) => prove(session, start, digest).await,
        verdict => verdict,
    })
}

/// Where the bytes of a request go.
struct Sink<'s, 't> {
    record: Record<'s, 't>,
    /// The digests of the whole that are wanted.
    running: &'s mut Option<Running>,
    /// Whether what was synced counts, so that it may be recorded how far they are.
    counts: bool,
    blocking: Blocking,
    writer: Option<Box<dyn ChunkWriter>>,
    start: u64,
    /// Where the next byte goes.
    at: u64,
    /// How far it is durable.
    synced: u64,
    failed: Option<Failed>,
}

/// What went wrong first; nothing is written after it.
enum Failed {
    /// Bytes were refused; those before them are as good as ever.
    Write(Refusal),
    /// Bytes that were taken may be lost.
    Sync(Refusal),
}

impl Sink<'_, '_> {
    /// Writes the next bytes.
    ///
    /// # Errors
    ///
    /// What the client is to hear; it is noted as well.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        let length = chunk.len() as u64;
        let seen = self.running.is_some().then(|| chunk.clone());
        if let Err(error) = self.push(chunk).await {
            let refusal = self.refuse(&error);
            self.writer = None;
            self.failed = Some(Failed::Write(refusal.clone()));
            return Err(refusal);
        }
        // Only what was stored, and before the client may send more: its buffer is free then.
        if let (Some(running), Some(seen)) = (self.running.as_mut(), seen) {
            running.show(self.at, &seen);
        }
        self.at += length;
        if self.at - self.synced >= self.record.tus.policy.sync_every {
            self.sync().await?;
            self.save().await?;
        }
        Ok(())
    }

    /// Records how far the digests are, so that a crash has fewer bytes read again.
    async fn save(&mut self) -> Result<(), Refusal> {
        let Some(running) = self.running.as_ref().filter(|_| self.counts) else { return Ok(()) };
        if let Err(refusal) = self.record.update(|upload| running.save(upload)).await {
            let upload = &self.record.upload.id;
            tracing::warn!(%upload, ?refusal, "cannot save how far a digest is");
            if let Err(refusal) = self.record.reload().await {
                // The bytes are durable, but what the record says is not known any more.
                self.failed = Some(Failed::Write(refusal.clone()));
                return Err(refusal);
            }
        }
        Ok(())
    }

    async fn push(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let locator = &self.record.upload.locator;
                let opened = self.record.tus.chunks.open(locator, self.start, self.blocking).await;
                self.writer.insert(opened?)
            }
        };
        writer.write(chunk).await
    }

    async fn sync(&mut self) -> Result<(), Refusal> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        match writer.sync().await {
            Ok(length) => self.synced = length,
            Err(error) => {
                let refusal = self.refuse(&error);
                self.writer = None;
                self.failed = Some(Failed::Sync(refusal.clone()));
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Syncs what is left and closes; a failure is noted.
    async fn end(&mut self) {
        if self.at != self.synced {
            // The note says more than the refusal.
            let _noted = self.sync().await;
        }
        self.writer = None;
    }

    fn refuse(&self, error: &StoreError) -> Refusal {
        match refuse(error, "write", &self.record.upload.id) {
            // The record names the object: that it is gone or held is our failure.
            Refusal::NotFound | Refusal::AlreadyExists | Refusal::Locked => {
                tracing::error!(upload = %self.record.upload.id, %error, "cannot write");
                Refusal::Internal
            }
            refusal => refusal,
        }
    }
}

/// Takes frames until the body ends, by itself or because somebody wants it to.
async fn take<B>(
    exchange: &Exchange<'_>,
    lease: &dyn Lease,
    sink: &mut Sink<'_, '_>,
    intake: &mut Intake,
    body: &mut Incoming<'_, B>,
    mut teller: Option<Teller>,
) -> Ending
where
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let tus = sink.record.tus;
    let policy = &tus.policy;
    let mut preempted = lease.preempted();
    let mut progress = ProgressClock::new(policy.progress_every, sink.record.upload, sink.start);
    let mut trailer = None;
    // What the client is to hear once the last call is over, and when that is.
    let mut stop: Option<(Refusal, Instant)> = None;
    let mut last_frame = Instant::now();
    let mut pace = Pace::new(policy);
    let mut draining = std::pin::pin!(tus.draining.cancelled());
    let mut timer = std::pin::pin!(sleep_until(later(last_frame, policy.idle_timeout)));
    loop {
        let step = tokio::select! {
            biased;
            () = draining.as_mut(), if stop.is_none() => Step::Stop(Refusal::Draining),
            () = preempted.as_mut(), if stop.is_none() => Step::Stop(Refusal::Preempted),
            frame = body.frame() => Step::Frame(frame),
            () = timer.as_mut() => Step::Timer,
        };
        match step {
            Step::Stop(refusal) => {
                let now = Instant::now();
                stop = Some((refusal, now + LAST_CALL));
                last_frame = now;
                timer.as_mut().reset(now + QUIET);
            }
            Step::Timer => {
                // The timer is not reset for each frame: it looks whether its time has moved.
                let now = Instant::now();
                let until = match &stop {
                    Some((_, end)) => (last_frame + QUIET).min(*end),
                    None => later(last_frame, policy.idle_timeout),
                };
                if until <= now {
                    return Ending::Cut(stop.map_or(Refusal::BodyIdle, |(refusal, _)| refusal));
                }
                timer.as_mut().reset(until);
            }
            Step::Frame(None) => return Ending::Clean(trailer),
            Step::Frame(Some(Err(error))) => {
                tracing::debug!(upload = %sink.record.upload.id, %error, "the body broke");
                return Ending::Cut(stop.map_or(Refusal::BodyBroken, |(refusal, _)| refusal));
            }
            Step::Frame(Some(Ok(Frame::Trailers(trailers)))) => {
                let read = wire::read_trailers(&trailers, exchange.dialect, &exchange.offer);
                trailer = read.transpose();
            }
            // A frame without bytes is no sign of life.
            Step::Frame(Some(Ok(Frame::Data(data)))) if data.is_empty() => {}
            Step::Frame(Some(Ok(Frame::Data(data)))) => {
                pace.note(last_frame.elapsed(), data.len());
                let chunk = match intake.show(&data) {
                    Take::All => data,
                    Take::Prefix(length) => data.slice(..length),
                    Take::Stop => Bytes::new(),
                };
                if !chunk.is_empty()
                    && let Err(refusal) = sink.write(chunk).await
                {
                    return Ending::Cut(refusal);
                }
                if intake.overran() {
                    return Ending::Clean(None);
                }
                if pace.is_too_slow() && stop.is_none() {
                    return Ending::Cut(Refusal::BodySlow);
                }
                if let Some(teller) = teller.as_mut().filter(|teller| teller.is_due(Instant::now()))
                {
                    if let Err(refusal) = sink.sync().await {
                        return Ending::Cut(refusal);
                    }
                    teller.tell(sink.synced);
                }
                // Only now: the time that the store took is not the client's.
                last_frame = Instant::now();
                if let Some((refusal, _)) = stop.take_if(|(_, end)| *end <= last_frame) {
                    return Ending::Cut(refusal);
                }
                let Some(due) = progress.due(last_frame, intake.taken()) else { continue };
                let told = tus.guarded("on_progress", tus.hooks.on_progress(due));
                let asked = tokio::select! {
                    biased;
                    () = draining.as_mut(), if stop.is_none() => Some(Refusal::Draining),
                    () = preempted.as_mut(), if stop.is_none() => Some(Refusal::Preempted),
                    // A hook that fails here has nothing to decide; the log has it.
                    _told = told => None,
                };
                last_frame = Instant::now();
                if let Some(refusal) = asked {
                    stop = Some((refusal, last_frame + LAST_CALL));
                    timer.as_mut().reset(last_frame + QUIET);
                }
            }
        }
    }
}

/// Watches how fast a client sends, in the time that it had for it.
struct Pace {
    rate: u64,
    over: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(policy: &Policy) -> Self {
        let (rate, over) = (policy.min_rate, policy.min_rate_over);
        Self { rate, over, waited: Duration::ZERO, bytes: 0 }
    }

    /// So many bytes came after waiting so long for them.
    fn note(&mut self, waited: Duration, bytes: usize) {
        if self.waited >= self.over {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether a whole period has passed with fewer bytes than it should have had.
    fn is_too_slow(&self) -> bool {
        let wanted = u128::from(self.rate) * self.waited.as_millis() / 1000;
        self.waited >= self.over && u128::from(self.bytes) < wanted
    }
}

enum Step {
    Frame(Option<Result<Frame, String>>),
    Stop(Refusal),
    Timer,
}

/// Says when `on_progress` is to be called.
struct ProgressClock {
    every: Duration,
    next: Instant,
    upload: std::sync::Arc<Upload>,
    start: u64,
}

impl ProgressClock {
    fn new(every: Duration, upload: &Upload, start: u64) -> Self {
        let upload = std::sync::Arc::new(upload.clone());
        Self { every, next: later(Instant::now(), every), upload, start }
    }

    fn due(&mut self, now: Instant, taken: u64) -> Option<Progress> {
        if now < self.next {
            return None;
        }
        self.next = later(now, self.every);
        Some(Progress { upload: self.upload.clone(), offset: self.start + taken })
    }
}

/// Reads back what was written and compares it with a digest that came in a trailer nobody had
/// announced (tus 1.0.0, Checksum; the `Trailer` header is only a hint in HTTP).
async fn prove(session: &Session<'_>, start: u64, digest: Digest) -> Verdict {
    if !session.tus.chunks.capabilities().read {
        // Better no than maybe: the client counts on it.
        return Verdict::RollBack(Refusal::NotOffered(Extension::ChecksumTrailer));
    }
    match reread(session, start, digest.algorithm).await {
        Ok(Some(actual)) if actual == digest => Verdict::Keep(None),
        Ok(_) => Verdict::RollBack(Refusal::DigestMismatch),
        Err(error) => Verdict::RollBack(refuse(&error, "read", &session.upload.id)),
    }
}

async fn reread(
    session: &Session<'_>,
    start: u64,
    algorithm: Algorithm,
) -> Result<Option<Digest>, StoreError> {
    let mut hashers = Hashers::one(algorithm);
    let range = start..session.stored.length;
    if !range.is_empty() {
        let mut reader = session.tus.chunks.read(&session.upload.locator, range).await?;
        while let Some(bytes) = reader.next().await? {
            hashers.update(&bytes);
        }
    }
    Ok(hashers.finish(algorithm))
}
