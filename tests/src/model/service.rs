//! The service under test, and the two clients.

use std::time::{Duration, SystemTime};

use super::{
    Bytes, Expected, Heard, IDLE, MAX_SIZE, Mood, Operation, PERIOD, Proof, ROUND, Reference,
    Request, SYNC_EVERY, Says, Then, Who,
};
use crate::rig::{Answer, Application, Ask, Clock, Frames, Manner, Piece, World, crc32};
use bytes::Bytes as Data;
use http::{HeaderMap, HeaderValue};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, advance, sleep},
};
use tus_core::{
    Expiry, Policy, Timestamp, Tus,
    conformance::{Fault, Faults, Flaky},
};

/// A client's request that is under way.
struct Busy {
    answer: JoinHandle<Answer>,
    sender: Option<mpsc::UnboundedSender<Piece>>,
    rest: std::collections::VecDeque<Piece>,
}

impl Busy {
    fn goes_on(&mut self, then: Then) {
        let Some(sender) = &self.sender else { return };
        let pieces = match then {
            // What follows the frames belongs to the end.
            Then::Frame => match self.rest.front() {
                Some(Piece::Data(_)) => self.rest.pop_front().into_iter().collect(),
                _ => Vec::new(),
            },
            Then::Rest => self.rest.drain(..).collect(),
            Then::Breaks => vec![Piece::Break],
        };
        for piece in pieces {
            // Whoever has heard enough does not listen any more.
            let _unread = sender.send(piece);
        }
        if then != Then::Frame {
            self.sender = None;
        }
    }
}

pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) tus: Tus,
    faults: Faults,
    clients: [Option<Busy>; 2],
}

/// How an operation ended.
pub(crate) enum Done {
    /// These answers were heard.
    Heard(Vec<(Who, Answer)>),
    /// The process died, and another one has taken over.
    Crashed,
}

pub(crate) fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.max_size = Some(MAX_SIZE);
    policy.sync_every = SYNC_EVERY;
    policy.expiry = Some(Expiry::sliding(minutes(PERIOD)));
    policy.idle_timeout = minutes(IDLE);
    policy.sweep_every = minutes(ROUND);
    policy.min_rate = 0;
    policy
}

impl Service {
    pub(crate) fn new() -> Self {
        let manner = Manner { volatile: true, places: true, is_blind: false };
        let world = World::new(manner, policy(), Application::default());
        let faults = Faults::none();
        let tus = serve(&world, &faults);
        Self { world, tus, faults, clients: [None, None] }
    }

    /// Does it; `before` is what was true, `now` what the wall clock shows after it, and `ends`
    /// whether requests that were under way are to end.
    pub(crate) async fn does(
        &mut self,
        operation: &Operation,
        before: &Reference,
        now: i64,
        ends: bool,
    ) -> Result<Done, String> {
        let mut heard = Vec::new();
        match operation {
            Operation::Ask { request, denied, meanwhile } => {
                let holder = holder_of(request, before);
                if let Some(ask) = whole(request, *denied, before) {
                    let answer = self.ask(ask, holder, meanwhile).await?;
                    heard.push((Who::Asking, answer));
                }
            }
            Operation::Begin { client, request, pause, meanwhile } => {
                if !before.is_busy(*client) && !before.is_out_of_scope(&before.resolve(request)) {
                    let holder = holder_of(request, before);
                    self.begin(*client, request, *pause, before);
                    self.goes_on_meanwhile(holder, meanwhile).await;
                }
            }
            Operation::GoOn { client, then } => {
                if let Some(busy) = &mut self.clients[usize::from(*client)] {
                    busy.goes_on(*then);
                }
            }
            Operation::Cancel { client } => {
                if let Some(busy) = self.clients[usize::from(*client)].take() {
                    busy.answer.abort();
                }
            }
            Operation::Idle => self.idles().await,
            Operation::Wait(_) => self.set_clock(before.now(), now),
            Operation::Sweep => self.sweep().await,
            Operation::Round(off) => {
                self.idles().await;
                self.set_clock(before.now(), now);
                advance(minutes(ROUND)).await;
                self.settle().await;
                if off.abs() <= 10 {
                    self.sweep().await;
                }
            }
            Operation::Restart => self.restart().await,
            Operation::Crash { at, after, request } => {
                let Some(ask) = whole(request, false, before) else {
                    return Ok(Done::Heard(Vec::new()));
                };
                let fault = if *after { Fault::CrashAfter } else { Fault::Crash };
                self.faults.plan(usize::from(*at), fault);
                let answer = ask.send(&self.tus).await;
                if self.faults.is_reached() {
                    self.restart().await;
                    return Ok(Done::Crashed);
                }
                self.faults.plan(usize::MAX, Fault::Stall);
                heard.push((Who::Asking, answer));
            }
        }
        self.settle().await;
        if ends {
            // The rest of a body that was refused is waited for, so that its client can listen.
            sleep(Duration::from_millis(1100)).await;
        }
        for (client, slot) in (0..).zip(&mut self.clients) {
            if slot.as_ref().is_some_and(|busy| busy.answer.is_finished())
                && let Some(busy) = slot.take()
            {
                let answer = busy.answer.await.map_err(|error| format!("{error}"))?;
                heard.push((Who::Client(client), answer));
            }
        }
        Ok(Done::Heard(heard))
    }

    /// Asks while the holder's client goes on, and is answered in time (P4).
    async fn ask(
        &mut self,
        ask: Ask,
        holder: Option<u8>,
        meanwhile: &[Then],
    ) -> Result<Answer, String> {
        let began = Instant::now();
        let what = format!("{} {}", ask.method(), ask.path());
        let tus = self.tus.clone();
        let answer = tokio::spawn(async move { ask.send(&tus).await });
        self.goes_on_meanwhile(holder, meanwhile).await;
        let answer = answer.await.map_err(|error| format!("{what}: {error}"))?;
        match began.elapsed() {
            late if late > Duration::from_secs(1) => Err(format!("{what} waited {late:?}")),
            _ => Ok(answer),
        }
    }

    async fn goes_on_meanwhile(&mut self, holder: Option<u8>, meanwhile: &[Then]) {
        for then in meanwhile {
            sleep(Duration::from_millis(10)).await;
            if let Some(holder) = holder
                && let Some(busy) = &mut self.clients[usize::from(holder)]
            {
                busy.goes_on(*then);
            }
        }
        // Longer than a holder is waited for.
        sleep(Duration::from_millis(60)).await;
    }

    fn begin(&mut self, client: u8, request: &Request, pause: u8, model: &Reference) {
        let Some((ask, body)) = head(request, false, model) else { return };
        let mut busy = None;
        let ask = match body {
            None => ask,
            Some((body, mut pieces)) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let live = [Piece::Later(receiver)];
                let rest = pieces.split_off(usize::from(pause).min(body.frames.len()));
                pieces.into_iter().for_each(|piece| drop(sender.send(piece)));
                busy = Some((sender, rest.into()));
                // A body that is announced as empty has ended before it begins.
                ask.body(match body.total() {
                    0 => Frames::chunked(live),
                    _ => frames(&body, live),
                })
            }
        };
        let tus = self.tus.clone();
        let answer = tokio::spawn(async move { ask.send(&tus).await });
        let (sender, rest) = busy.unzip();
        self.clients[usize::from(client)] =
            Some(Busy { answer, sender, rest: rest.unwrap_or_default() });
    }

    async fn idles(&mut self) {
        advance(minutes(IDLE) + Duration::from_secs(1)).await;
        self.settle().await;
    }

    async fn sweep(&mut self) {
        for _ in 0..3 {
            self.tus.sweep().await;
            // Finals are joined in tasks of their own.
            self.settle().await;
        }
    }

    /// Everything that needs no time is done after this.
    pub(crate) async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    fn set_clock(&self, before: i64, now: i64) {
        let by = now - before;
        match by >= 0 {
            true => self.world.clock.advance(minutes(by.unsigned_abs())),
            false => self.world.clock.set_back(minutes(by.unsigned_abs())),
        }
    }

    async fn restart(&mut self) {
        for busy in self.clients.iter_mut().filter_map(Option::take) {
            busy.answer.abort();
        }
        self.settle().await;
        self.world.bytes.crash();
        self.faults = Faults::none();
        self.tus = serve(&self.world, &self.faults);
        self.settle().await;
    }
}

fn serve(world: &World, faults: &Faults) -> Tus {
    let records = Flaky::new(world.records.clone(), faults);
    world.serve(records, Flaky::new(world.bytes.clone(), faults))
}

/// The client whose request holds the upload that a request names.
fn holder_of(request: &Request, model: &Reference) -> Option<u8> {
    match request {
        Request::Append { upload, .. }
        | Request::Complete { upload, .. }
        | Request::Head { upload, .. }
        | Request::Delete { upload, .. } => model.holder(model.pick(*upload)?),
        Request::Create { .. } | Request::Concat { .. } => None,
    }
}

/// A request with its whole body; `None` if it names nothing.
fn whole(request: &Request, denied: bool, model: &Reference) -> Option<Ask> {
    let (ask, body) = head(request, denied, model)?;
    Some(match body {
        Some((body, pieces)) => ask.body(frames(&body, pieces)),
        None => ask,
    })
}

/// Nothing at all is announced as such; trailers cannot follow it then.
fn frames(body: &Bytes, pieces: impl IntoIterator<Item = Piece>) -> Frames {
    let trailers = !matches!(body.proof, Proof::None | Proof::Right | Proof::Wrong);
    match body.announced && (body.total() > 0 || !trailers) {
        true => Frames::announced(body.total(), pieces),
        false => Frames::chunked(pieces),
    }
}

type Body = Option<(Bytes, Vec<Piece>)>;

/// A request and, beside it, its body.
fn head(request: &Request, denied: bool, model: &Reference) -> Option<(Ask, Body)> {
    let url = |upload: usize| format!("/files/{}", model.id(upload));
    let says = request.says();
    let (ask, body) = match &model.resolve(request) {
        Request::Create { partial, length, mood, body, .. } => {
            let ask = match length {
                Some(length) => in_words(Ask::post(), says).length(u64::from(*length)),
                None if says.is_rufh() => in_words(Ask::post(), says),
                None => Ask::post().with("upload-defer-length", 1),
            };
            let ask = if *partial { ask.with("upload-concat", "partial") } else { ask };
            bring(of_mood(ask, *mood), body.as_ref(), model.next_number(), 0, model)
        }
        Request::Append { upload, behind, beside, length, body, .. } => {
            let upload = model.pick(*upload)?;
            let (stored, told) = model.offsets(upload);
            let from = if *behind { told } else { stored };
            let at = from.saturating_add_signed(i64::from(*beside));
            let ask = in_words(Ask::patch(&url(upload), at), says);
            let ask = match length {
                Some(length) => ask.length(u64::from(*length)),
                None => ask,
            };
            bring(ask, Some(body), model.number(upload), at, model)
        }
        Request::Head { upload, .. } => {
            let ask = Ask::head(&url(model.pick(*upload)?));
            (if says.is_rufh() { ask.rufh() } else { ask }, None)
        }
        Request::Delete { upload, stays, .. } => {
            let ask = Ask::delete(&url(model.pick(*upload)?));
            let ask = if says.is_rufh() { ask.rufh() } else { ask };
            (if *stays { ask.with("x-stays", 1) } else { ask }, None)
        }
        Request::Concat { parts, mood } => {
            let parts = parts.iter().map(|part| model.pick(*part).map(url));
            let parts = parts.collect::<Option<Vec<_>>>()?;
            let ask = Ask::post().with("upload-concat", format!("final;{}", parts.join(" ")));
            (of_mood(ask, *mood), None)
        }
        Request::Complete { .. } => unreachable!("it is resolved"),
    };
    Some((if denied { ask.with("x-denied", 1) } else { ask }, body))
}

/// A creation or PATCH in the words of its dialect.
fn in_words(ask: Ask, says: Says) -> Ask {
    match says {
        Says::Tus => ask,
        Says::Later => ask.rufh().with("upload-complete", "?0"),
        Says::Complete => ask.rufh().with("upload-complete", "?1"),
    }
}

fn of_mood(ask: Ask, mood: Mood) -> Ask {
    match mood {
        Mood::Fine => ask,
        Mood::Unwanted => ask.mood("unwanted"),
        Mood::FailsOnce => ask.mood("fails once"),
        Mood::Refuses => ask.mood("refuses"),
        Mood::DeafOnce => ask.mood("deaf once"),
    }
}

/// Adds to a request what stands in its head about a body that begins at an offset.
fn bring(ask: Ask, body: Option<&Bytes>, number: u64, at: u64, model: &Reference) -> (Ask, Body) {
    let Some(body) = body else { return (ask, None) };
    let all = model.body(number, at, body.total());
    let trailer = |text: String| {
        let mut trailers = HeaderMap::new();
        trailers.insert("upload-checksum", HeaderValue::from_str(&text).unwrap());
        Piece::Trailers(trailers)
    };
    let (right, wrong) = (crc32(&all), crc32(b"not these bytes"));
    let (ask, last) = match body.proof {
        Proof::None => (ask, None),
        Proof::Right => (ask.with("upload-checksum", right), None),
        Proof::Wrong => (ask.with("upload-checksum", wrong), None),
        Proof::TrailerRight => (ask.with("trailer", "Upload-Checksum"), Some(trailer(right))),
        Proof::TrailerWrong => (ask.with("trailer", "Upload-Checksum"), Some(trailer(wrong))),
        Proof::TrailerMissing => (ask.with("trailer", "Upload-Checksum"), None),
        Proof::SurpriseRight => (ask, Some(trailer(right))),
        Proof::SurpriseWrong => (ask, Some(trailer(wrong))),
    };
    let mut pieces = Vec::new();
    let mut rest = all.as_slice();
    for frame in &body.frames {
        let (data, more) = rest.split_at(usize::from(*frame));
        pieces.push(Piece::Data(Data::copy_from_slice(data)));
        rest = more;
    }
    pieces.extend(last);
    (ask, Some((body.clone(), pieces)))
}

/// What a client makes of an answer.
pub(crate) fn heard(answer: &Answer, is_head: bool) -> Expected {
    let conflict = answer.offset().filter(|_| answer.status == 409);
    let complete = answer.headers.get("upload-complete").map(|value| value == "?1");
    Expected {
        status: vec![answer.status],
        offset: answer.offset().filter(|_| conflict.is_none()),
        length: if is_head { answer.length() } else { None },
        deferred: is_head && answer.headers.contains_key("upload-defer-length"),
        expires: answer.expires().filter(|_| is_head).map(since_the_beginning),
        complete: complete.filter(|_| answer.is_success()),
        conflict,
    }
}

fn since_the_beginning(time: SystemTime) -> i64 {
    let (begun, at) = (Clock::BEGINNING.as_millis(), Timestamp::from(time).as_millis());
    // The clock begins within a minute, and is moved by whole ones.
    let millis = i64::try_from(at).unwrap() - i64::try_from(begun).unwrap();
    millis.div_euclid(60_000)
}

/// Whether an answer is what was expected.
pub(crate) fn is(heard: &Expected, expected: &Heard) -> bool {
    let any = expected.what.status.iter().any(|status| heard.status.contains(status));
    let mut wanted = Expected { status: heard.status.clone(), ..expected.what.clone() };
    if heard.status != [409] {
        wanted.conflict = None;
    }
    any && *heard == wanted
}
