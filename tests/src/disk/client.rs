//! Clients that remember what they were told, and hold the server to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tus_core::Tus;

use super::{Flight, House, Known, Mark, Plan, Role};
use crate::rig::{Answer, Ask, Frames, Piece, crc32};

/// So often a sane client tries again before something is broken.
pub(super) const PATIENCE: usize = 40;

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// At once.
    Whole,
    /// In frames of so many bytes.
    Frames(usize),
    /// In two frames, after which the connection breaks.
    Broken,
    /// With their checksum.
    Checked,
    /// With a checksum that follows them.
    Trailed,
    /// Other bytes, with the checksum of these.
    Wrong,
}

/// All clients of one server.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whom they talk to.
    pub tus: Tus,
    /// Where.
    pub house: Arc<House>,
    created: Arc<AtomicU64>,
}

impl Client {
    /// Clients that know what the house knows.
    pub fn new(tus: Tus, house: &Arc<House>) -> Self {
        let mut most = 0;
        for id in house.knowledge().uploads.keys() {
            most = most.max(id.trim_start_matches('u').parse().expect("an id of ours"));
        }
        Self { tus, house: house.clone(), created: Arc::new(AtomicU64::new(most)) }
    }

    /// What is known of an upload.
    pub fn known(&self, id: &str) -> Known {
        self.house.knowledge().uploads[id].clone()
    }

    pub(super) fn tell(&self, mark: &Mark) {
        self.house.tell(mark);
    }

    /// Asks about an upload, and notes what the answer tells.
    pub(super) async fn ask(&self, id: &str, ask: Ask) -> Answer {
        let is_final = matches!(self.known(id).plan.role, Role::Final(_));
        let what = format!("{} {id}{}", ask.method(), if is_final { " (a final)" } else { "" });
        self.tell(&Mark::Asked(what.clone(), None));
        let ask = if self.house.setup.in_place { ask.in_place() } else { ask };
        let answer = ask.send(&self.tus).await;
        self.tell(&Mark::Asked(what.clone(), Some(answer.status)));
        if matches!(answer.status, 404 | 410) {
            let known = self.known(id);
            let may = !known.is_created || known.is_ending || known.is_late || self.is_used_up(id);
            assert!(may, "{what}: it is gone: {answer:?}, {known:?}");
            self.tell(&Mark::Missing(id.to_owned()));
        }
        if answer.is_success() {
            if answer.status == 201 {
                self.tell(&Mark::Created(id.to_owned()));
            }
            let known = self.known(id);
            let told = answer.offset();
            if let Some(offset) = told {
                assert!(!known.is_ended, "{what}: it was terminated: {answer:?}");
                self.tell(&Mark::Told(id.to_owned(), offset));
            }
            // A deferred length may be known only to the client.
            let declared = answer.length().or((!known.plan.is_deferred).then(|| known.length()));
            if told.is_some() && told == declared {
                self.tell(&Mark::Whole(id.to_owned()));
            }
        }
        answer
    }

    /// Waits as long as an answer says, or a second.
    pub(super) async fn pause(&self, answer: &Answer) {
        tokio::time::sleep(Duration::from_secs(answer.retry_after().unwrap_or(1))).await;
    }

    fn url(id: &str) -> String {
        format!("/files/{id}")
    }

    fn next(&self) -> String {
        format!("u{}", self.created.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Creates an upload, trying until there is one.
    pub async fn create(&self, plan: Plan, first: Option<(u64, How)>) -> String {
        let plan = Arc::new(plan);
        for _ in 0..PATIENCE {
            let id = self.next();
            let flight = first.map(|(end, how)| flight(0, end, how));
            self.tell(&Mark::Creating(id.clone(), plan.clone(), flight));
            let text = |text: &str| STANDARD.encode(text);
            let metadata = format!("id {},filename {}", text(&id), text(&plan.name));
            let ask = Ask::post().with("upload-metadata", metadata);
            let ask = match &plan.role {
                Role::Final(parts) => {
                    let urls: Vec<_> = parts.iter().map(|id| Self::url(id)).collect();
                    ask.with("upload-concat", format!("final;{}", urls.join(" ")))
                }
                Role::Partial => ask.with("upload-concat", "partial"),
                Role::Single => ask,
            };
            let ask = match (&plan.role, plan.is_deferred) {
                (Role::Final(_), _) => ask,
                (_, true) => ask.with("upload-defer-length", 1),
                (_, false) => ask.length(plan.body.len() as u64),
            };
            let ask = match first {
                Some((end, how)) => content(ask, &plan.body, 0, end, how),
                None => ask,
            };
            let answer = self.ask(&id, ask).await;
            if answer.status == 201 {
                return id;
            }
            if matches!(answer.status, 404 | 410)
                && let Role::Final(parts) = &plan.role
                && parts.iter().any(|part| self.is_used_up(part))
            {
                // One that was answered with a failure has come to its end all the same.
                let before = id[1..].parse::<u64>().expect("a number") - 1;
                return format!("u{before}");
            }
            let may = matches!(answer.status, 423 | 500..);
            assert!(may, "a creation: {answer:?}");
            self.pause(&answer).await;
        }
        panic!("nothing can be created");
    }

    /// Sends bytes once, from where the client believes the upload to be.
    pub async fn send(&self, id: &str, end: u64, how: How) -> Answer {
        let known = self.known(id);
        let (at, body) = (known.told, &known.plan.body);
        self.tell(&Mark::Sending(id.to_owned(), flight(at, end, how)));
        let mut ask = Ask::patch(&Self::url(id), at);
        if known.plan.is_deferred && end == known.length() && how != How::Wrong {
            ask = ask.length(end);
        }
        self.ask(id, content(ask, body, at, end, how)).await
    }

    /// Sends until so much is there.
    pub async fn reach(&self, id: &str, end: u64, how: How) {
        let answer = self.send(id, end, how).await;
        if !answer.is_success() {
            self.pause(&answer).await;
        }
        for _ in 0..PATIENCE {
            if self.head(id).await.offset().is_some_and(|offset| offset >= end) {
                return;
            }
            let answer = self.send(id, end, How::Whole).await;
            if !answer.is_success() {
                assert!(answer.status >= 409, "PATCH {id}: {answer:?}");
                self.pause(&answer).await;
            }
        }
        panic!("{id} does not come to {end}");
    }

    /// HEAD until it is answered, and nobody is busy with it any more.
    pub async fn head(&self, id: &str) -> Answer {
        let answer = self.try_head(id).await;
        answer.unwrap_or_else(|last| panic!("HEAD {id} is never answered: {last:?}"))
    }

    /// The same, or the last failure.
    pub(super) async fn try_head(&self, id: &str) -> Result<Answer, Answer> {
        let mut attempts = 1..=PATIENCE;
        loop {
            let answer = self.ask(id, Ask::head(&Self::url(id))).await;
            if answer.status < 500 && answer.status != 423 {
                if answer.status == 422 {
                    self.tell(&Mark::Refused(id.to_owned()));
                }
                return Ok(answer);
            }
            if attempts.next().is_none() {
                return Err(answer);
            }
            self.pause(&answer).await;
        }
    }

    /// Brings an upload to its end, wherever it is; `false` if it is gone.
    pub async fn finish(&self, id: &str) -> bool {
        if matches!(self.known(id).plan.role, Role::Final(_)) {
            return self.join(id).await;
        }
        for attempt in 0..PATIENCE {
            let head = self.head(id).await;
            if matches!(head.status, 404 | 410) {
                return false;
            }
            let known = self.known(id);
            if known.is_whole || known.is_refused {
                return true;
            }
            assert_eq!(head.status, 200, "HEAD {id}: {head:?}");
            // A little first, so that what lies beyond it would be seen.
            let rest = known.length() - known.told;
            let piece = if attempt == 0 { rest.min(100) } else { rest };
            let answer = self.send(id, known.told + piece, How::Whole).await;
            if !answer.is_success() {
                self.pause(&answer).await;
            }
        }
        panic!("{id} does not come to its end: {:?}", self.known(id));
    }

    /// Waits until a final has its bytes, with the sweeper's help.
    async fn join(&self, id: &str) -> bool {
        for _ in 0..PATIENCE {
            let head = self.head(id).await;
            if matches!(head.status, 404 | 410) {
                return false;
            }
            let known = self.known(id);
            if known.is_whole || known.is_refused {
                return true;
            }
            self.tus.sweep().await;
            self.pause(&head).await;
        }
        panic!("{id} is never joined");
    }

    /// Terminates until it is so.
    pub async fn end(&self, id: &str) {
        for _ in 0..PATIENCE {
            self.tell(&Mark::Ending(id.to_owned()));
            let answer = self.ask(id, Ask::delete(&Self::url(id))).await;
            match answer.status {
                204 => return self.tell(&Mark::Ended(id.to_owned())),
                404 | 410 => return,
                423 | 500.. => self.pause(&answer).await,
                _ => panic!("DELETE {id}: {answer:?}"),
            }
        }
        panic!("DELETE {id} does not come to its end");
    }

    /// Lets so much time go by that these have expired.
    pub async fn expire(&self, by: Duration, ids: &[&str]) {
        self.house.later(by, ids);
        self.tus.sweep().await;
    }

    /// Downloads an upload.
    pub async fn get(&self, id: &str) -> Answer {
        for _ in 0..PATIENCE {
            let Ok(answer) = Ask::get(&Self::url(id)).try_send(&self.tus).await else { continue };
            if answer.status < 500 && answer.status != 423 {
                return answer;
            }
            self.pause(&answer).await;
        }
        panic!("GET {id} is never answered");
    }

    /// Lets the engine finish whatever it has begun.
    pub async fn settle(&self) {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.tus.sweep().await;
        }
    }
}

fn flight(at: u64, end: u64, how: How) -> Flight {
    let sealed = match how {
        How::Whole | How::Frames(_) | How::Broken => None,
        How::Checked | How::Trailed => Some(true),
        How::Wrong => Some(false),
    };
    Flight { at, end, sealed }
}

/// A request with these bytes of a body.
fn content(ask: Ask, body: &Bytes, at: u64, end: u64, how: How) -> Ask {
    let index = |at: u64| usize::try_from(at).expect("a small test");
    let bytes = body.slice(index(at)..index(end));
    let data = |bytes: &[u8]| Piece::Data(Bytes::copy_from_slice(bytes));
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    match how {
        How::Whole => ask.body(Frames::whole(&bytes)),
        How::Frames(size) => ask.body(Frames::chunked(bytes.chunks(size).map(data))),
        How::Broken => {
            let length = bytes.len() as u64 + 1;
            ask.body(Frames::announced(length, [data(head), data(tail), Piece::Break]))
        }
        How::Checked => {
            let frames = Frames::chunked([data(head), data(tail)]);
            ask.with("upload-checksum", crc32(&bytes)).body(frames)
        }
        How::Trailed => {
            let mut trailers = HeaderMap::new();
            let sum = HeaderValue::from_str(&crc32(&bytes)).expect("a value");
            trailers.insert("upload-checksum", sum);
            let frames = [data(head), data(tail), Piece::Trailers(trailers)];
            ask.with("trailer", "upload-checksum").body(Frames::chunked(frames))
        }
        How::Wrong => {
            let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            let (head, tail) = other.split_at(other.len() / 2);
            let frames = Frames::chunked([data(head), data(tail)]);
            ask.with("upload-checksum", crc32(&bytes)).body(frames)
        }
    }
}
