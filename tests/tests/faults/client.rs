//! What a sane client does, and what must be true for it in the end.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use tus_core::{Expiry, Phase, Upload};
use tus_tests::rig::{Answer, Ask, Frames, Piece};

use super::run::Run;

/// So often a sane client tries again before something is broken.
const PATIENCE: usize = 30;

const A_MOMENT: Duration = Duration::from_secs(60);

impl Run {
    /// Waits as long as an answer says, or a second.
    async fn pause(&self, answer: Option<&Answer>) {
        let seconds = answer.and_then(Answer::retry_after).unwrap_or(1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Creates until there is an answer.
    pub(crate) async fn create(&mut self, ask: impl Fn() -> Ask) -> String {
        for _ in 0..PATIENCE {
            let answer = self.ask(ask()).await;
            if let Some(answer) = &answer {
                if answer.status == 201 {
                    return answer.location();
                }
                assert!(answer.status == 423 || answer.status >= 500, "created: {answer:?}");
            }
            self.pause(answer.as_ref()).await;
        }
        panic!("nothing can be created");
    }

    /// HEAD until there is an offset.
    pub(crate) async fn offset(&mut self, url: &str) -> u64 {
        let answer = self.head(url).await;
        answer.offset().unwrap_or_else(|| panic!("HEAD {url}: {answer:?}"))
    }

    /// HEAD until it is answered.
    async fn head(&mut self, url: &str) -> Answer {
        for _ in 0..PATIENCE {
            let answer = self.ask(Ask::head(url)).await;
            if let Some(answer) = &answer
                && answer.status < 500
                && answer.status != 423
            {
                return answer.clone();
            }
            self.pause(answer.as_ref()).await;
        }
        panic!("HEAD {url} is never answered");
    }

    /// Sends what is missing, in pieces, asking before each where to go on.
    pub(crate) async fn go_on(&mut self, url: &str, bytes: &[u8], piece: usize) {
        self.send_pieces(url, bytes, bytes.len(), piece).await;
    }

    /// Sends until so much is there.
    pub(crate) async fn send_until(&mut self, url: &str, bytes: &[u8], until: usize) {
        self.send_pieces(url, bytes, until, until).await;
    }

    async fn send_pieces(&mut self, url: &str, bytes: &[u8], until: usize, piece: usize) {
        for _ in 0..PATIENCE {
            let at = usize::try_from(self.offset(url).await).unwrap();
            if at >= until {
                return;
            }
            let end = (at + piece).min(until);
            let patch = Ask::patch(url, at as u64).body(Frames::whole(&bytes[at..end]));
            if let Some(answer) = self.ask(patch).await
                && !answer.is_success()
            {
                assert!(answer.status >= 409, "PATCH {url} at {at}: {answer:?}");
                self.pause(Some(&answer)).await;
            }
        }
        panic!("PATCH {url} does not come to {until}");
    }

    /// Sends what is missing of a part that may be used up at any time.
    pub(crate) async fn go_on_or_gone(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let answer = self.head(url).await;
            let Some(at) = answer.offset().map(|at| usize::try_from(at).unwrap()) else {
                assert!(matches!(answer.status, 404 | 410), "{answer:?}");
                return;
            };
            if at == bytes.len() {
                return;
            }
            self.ask(Ask::patch(url, at as u64).body(Frames::whole(&bytes[at..]))).await;
        }
        panic!("PATCH {url} does not come to its end");
    }

    /// Sends all bytes of an upload whose end nobody may announce as a success.
    pub(crate) async fn send_all(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let phase = self.record(url).await.expect("a record").phase;
            if phase != Phase::Open {
                return;
            }
            let at = self.ask(Ask::head(url)).await.and_then(|answer| answer.offset());
            if let Some(at) = at {
                let rest = &bytes[usize::try_from(at).unwrap()..];
                self.ask(Ask::patch(url, at).body(Frames::whole(rest))).await;
            }
        }
        panic!("PATCH {url} does not come to its end");
    }

    /// Sends what is missing, and declares the length with it.
    pub(crate) async fn declare(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let head = self.head(url).await;
            let at = head.offset().expect("an offset");
            if head.length() == Some(at) {
                return;
            }
            let rest = &bytes[usize::try_from(at).unwrap()..];
            let patch = Ask::patch(url, at).length(bytes.len() as u64).body(Frames::whole(rest));
            let answer = self.ask(patch).await;
            self.pause(answer.as_ref()).await;
        }
        panic!("PATCH {url} does not declare its length");
    }

    /// Two parts of these bytes, of which so many have arrived.
    pub(crate) async fn two_parts(&mut self, bytes: &[u8], arrived: usize) -> (String, String) {
        let (left, right) = bytes.split_at(13);
        let part =
            |part: &[u8]| Ask::post().length(part.len() as u64).with("upload-concat", "partial");
        let first = self.create(|| part(left)).await;
        let second = self.create(|| part(right)).await;
        if arrived > 0 {
            self.go_on(&first, left, 99).await;
            self.go_on(&second, right, 99).await;
        }
        (first, second)
    }

    pub(crate) async fn concat(&mut self, parts: &[&str]) -> String {
        let list = format!("final;{}", parts.join(" "));
        self.create(|| Ask::post().with("upload-concat", &list)).await
    }

    /// Terminates until it is so.
    pub(crate) async fn end(&mut self, url: &str) {
        for _ in 0..PATIENCE {
            let answer = self.ask(Ask::delete(url)).await;
            match answer.as_ref().map(|answer| answer.status) {
                Some(204 | 404 | 410) => return,
                None | Some(423 | 500..) => self.pause(answer.as_ref()).await,
                Some(_) => panic!("DELETE {url}: {answer:?}"),
            }
        }
        panic!("DELETE {url} does not come to its end");
    }

    /// Gone, now and after a restart, and nothing can be added.
    pub(crate) async fn is_gone(&mut self, url: &str) {
        for _ in 0..2 {
            let head = self.head(url).await;
            assert!(matches!(head.status, 404 | 410), "HEAD {url}: {head:?}");
            self.restart().await;
        }
    }

    /// The application hears of the end, at least once, under one event id (P5).
    pub(crate) async fn is_told_of_the_end(&mut self, url: &str) {
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        for _ in 0..PATIENCE {
            self.sweep().await;
            let told = self.application().terminated.lock().unwrap().clone();
            let told = told.into_iter().filter(|told| told.id.as_str() == name);
            let events: BTreeSet<_> = told.map(|told| told.event).collect();
            assert!(events.len() <= 1, "the end of {url} has {events:?}");
            if events.len() == 1 {
                return;
            }
            self.pause(None).await;
        }
        panic!("nobody was told that {url} has ended");
    }

    /// Refused, whoever asks how.
    pub(crate) async fn is_refused(&mut self, url: &str) {
        let head = self.head(url).await;
        assert_eq!(head.status, 422, "HEAD {url}: {head:?}");
        for _ in 0..PATIENCE {
            let patch = Ask::patch(url, 0).body(Frames::chunked([Piece::Break]));
            if let Some(answer) = self.ask(patch).await
                && answer.status < 500
            {
                assert_eq!(answer.status, 422, "PATCH {url}: {answer:?}");
                return;
            }
        }
        panic!("PATCH {url} is never answered");
    }

    /// Whole, announced, and told so; also by the next process.
    pub(crate) async fn is_complete(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..2 {
            let head = self.head(url).await;
            let whole = Some(bytes.len() as u64);
            assert_eq!((head.status, head.offset(), head.length()), (200, whole, whole), "{url}");
            let upload = self.record(url).await.expect("a record");
            assert_eq!(self.durable(&upload).await.as_deref(), Some(bytes));
            if !upload.is_partial() {
                let events: BTreeSet<_> =
                    self.application().events(&upload.id).into_iter().collect();
                assert_eq!(events.len(), 1, "events of {url}: {events:?}");
            }
            self.restart().await;
        }
    }

    /// Waits until a final has its bytes, with the sweeper's help.
    pub(crate) async fn joins(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            if self.head(url).await.offset().is_some() {
                return self.is_complete(url, bytes).await;
            }
            self.sweep().await;
            self.pause(None).await;
        }
        panic!("{url} is never joined");
    }

    /// Lets the engine finish whatever it has begun.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.sweep().await;
        }
    }

    /// Lets time go by until these must have expired, and their records are forgotten.
    pub(crate) async fn expires(&mut self, urls: &[&str]) {
        let expiry = self.ground().policy().expiry;
        // A file's time is that of its last byte, which may be a moment ago.
        let period = expiry.map_or(Duration::ZERO, |expiry: Expiry| expiry.period) + A_MOMENT;
        for _ in 0..2 {
            self.ground().clock().advance(period);
            // A part of a final that waits lives until a sweep has found the final abandoned.
            self.settle().await;
            for url in urls {
                let head = self.head(url).await;
                assert!(matches!(head.status, 404 | 410), "after its time, HEAD {url}: {head:?}");
            }
            self.settle().await;
        }
        for url in urls {
            assert!(self.record(url).await.is_none(), "{url} is not forgotten");
        }
    }

    /// In the end nothing is owed to anybody, and nothing lies about.
    pub(crate) async fn has_kept_house(&mut self) {
        self.settle().await;
        let application = self.application();
        let complaints = application.complaints.lock().unwrap().clone();
        assert!(complaints.is_empty(), "{complaints:?}");
        let fails = application.fails.load(Ordering::SeqCst) > 0;
        let all = self.ground().all().await;
        for (id, upload) in &all {
            let events: BTreeSet<_> = self.application().events(id).into_iter().collect();
            let settled = matches!(upload.phase, Phase::Announced { .. } | Phase::Refused { .. });
            let wanted = usize::from(settled && !upload.is_partial());
            assert!(fails || events.len() == wanted, "events of {id}: {events:?}, {upload:?}");
            assert!(fails || !matches!(upload.phase, Phase::Complete { .. }), "{id} is owed");
            for one in &upload.finals {
                let open = all.get(one).is_some_and(Upload::is_open);
                assert!(open, "{id} waits for {one} for ever");
            }
            if upload.is_open() || matches!(upload.phase, Phase::Announced { .. }) {
                assert!(self.durable(upload).await.is_some(), "the bytes of {id} are gone");
            }
        }
        let left = self.ground().litter(&all);
        assert!(left.is_empty(), "no record names {left:?}");
    }
}
