//! One kill: a client that remembers what it was told, and holds the next server to it.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::{Answer, Process, Random, bytes, download, exchange, patch};

use crate::{
    killer::{Killer, strike},
    site::{Site, Which},
    upload::{Fate, Role, Upload, post},
};

/// After this long something is stuck, not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the mortal server to look at all that is due.
pub(crate) const SWEEP: &str = "POST /sweep HTTP/1.1";

/// What came of the kills of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    /// Answers that were lost.
    pub(crate) lost: u64,
    /// Creations whose URL nobody heard, and which were there.
    pub(crate) strays: u64,
    /// Uploads that were brought to their end.
    pub(crate) whole: u64,
    /// Announcements that were made again.
    pub(crate) repeats: u64,
    /// Records of live uploads with a draft beside them.
    pub(crate) drafts: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.lost += other.lost;
        self.strays += other.strays;
        self.whole += other.whole;
        self.repeats += other.repeats;
        self.drafts += other.drafts;
    }
}

/// A server, its directories and its client, before and after one kill.
pub(crate) struct Case<'k> {
    pub(crate) site: Site,
    server: Option<Process>,
    killer: &'k mut Killer,
    pub(crate) random: Random,
    pub(crate) uploads: Vec<Upload>,
    /// Arguments of the servers to come.
    pub(crate) more: Vec<String>,
    pub(crate) tally: Tally,
}

impl<'k> Case<'k> {
    pub(crate) fn new(site: Site, killer: &'k mut Killer, random: Random, more: &[&str]) -> Self {
        let more: Vec<_> = more.iter().map(|word| (*word).to_owned()).collect();
        let server = Some(site.start(&more));
        let (uploads, tally) = (Vec::new(), Tally::default());
        Self { site, server, killer, random, uploads, more, tally }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.as_ref().expect("a live server").addr
    }

    /// Starts anew, in peace or not.
    pub(crate) fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        self.server = Some(self.site.start(&self.more));
    }

    /// Has the server look at all that is due.
    pub(crate) fn sweep(&mut self) {
        match self.site.which {
            // It does so when it starts.
            Which::TusServer => self.restart(),
            // What the sweep at its start holds just then is left for the next one.
            Which::Mortal => self.until(|case| {
                let answer = exchange(case.addr(), SWEEP, b"").expect("a live server");
                assert_eq!(answer.status, 200);
                answer.header("x-left") == Some("0")
            }),
        }
    }

    /// Sends requests under fire; then there is another server. `None` is a lost answer.
    pub(crate) fn strike(
        &mut self,
        request: impl FnOnce(SocketAddr) -> io::Result<Answer> + Send,
    ) -> Option<Answer> {
        let server = self.server.take().expect("a live server");
        let heard = strike(self.killer, server, request);
        self.tally.kills += 1;
        self.tally.lost += u64::from(heard.is_none());
        self.restart();
        heard
    }

    /// A body of at most so many bytes, unlike all others.
    pub(crate) fn body(&mut self, most: u64) -> Vec<u8> {
        // Where each operation is tried, there are to be few.
        let most = if matches!(self.killer, Killer::Disk(_)) { most.min(1_000) } else { most };
        bytes(self.random.draw(), 16 + self.random.below(most) as usize)
    }

    /// Asks in peace. Whoever is told to come back does so, for a while.
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = exchange(self.addr(), head, body).expect("a live server");
            if !matches!(answer.status, 423 | 503) {
                return answer;
            }
            assert!(Instant::now() < deadline, "stuck: {head}: {answer:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Creates an upload in peace, and returns its number.
    pub(crate) fn create(&mut self, body: Vec<u8>, role: Role, deferred: bool) -> usize {
        let length = (!deferred).then_some(body.len());
        let answer = self.ask(&post(length, role), b"");
        let mut upload = Upload::new("", body, role);
        upload.declared = Some(!deferred);
        self.created(&answer, upload)
    }

    /// Takes note of a creation that was answered, and returns its number.
    pub(crate) fn created(&mut self, answer: &Answer, mut upload: Upload) -> usize {
        assert_eq!(answer.status, 201, "{answer:?}");
        upload.path = answer.header("location").expect("a URL").to_owned();
        if answer.header("upload-offset").is_some() {
            upload.hear(answer.offset());
        }
        self.uploads.push(upload);
        self.uploads.len() - 1
    }

    /// Sends bytes in peace, up to a position.
    pub(crate) fn append(&mut self, at: usize, end: usize) {
        let upload = &self.uploads[at];
        let start = upload.told as usize;
        let answer = self.ask(&patch(&upload.path, upload.told), &upload.body[start..end]);
        assert_eq!(answer.status, 204, "{answer:?}");
        let upload = &mut self.uploads[at];
        upload.sent = end as u64;
        upload.hear(answer.offset());
    }

    /// A random position between what is told and what there is, both included.
    pub(crate) fn somewhere(&mut self, at: usize) -> usize {
        let upload = &self.uploads[at];
        let (told, length) = (upload.told, upload.length());
        (told + self.random.below(length - told + 1)) as usize
    }

    /// Asks how far an upload is, and holds the answer to all that is known; `None` if it is gone.
    pub(crate) fn inspect(&mut self, at: usize) -> Option<Answer> {
        let head = format!("HEAD {} HTTP/1.1", self.uploads[at].path);
        let answer = self.ask(&head, b"");
        if matches!(answer.status, 404 | 410) {
            return None;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let upload = &mut self.uploads[at];
        let length = answer.header("upload-length").map(|l| l.parse::<u64>().expect("a number"));
        match (length, upload.declared) {
            (Some(length), _) => {
                assert_eq!(length, upload.body.len() as u64, "another length: {answer:?}");
                upload.declared = Some(true);
            }
            // It follows from the parts once they are known.
            (None, _) if upload.role == Role::Final => {}
            (None, declared) => {
                assert_ne!(declared, Some(true), "the length is forgotten: {answer:?}");
                assert_eq!(answer.header("upload-defer-length"), Some("1"), "{answer:?}");
                upload.declared = Some(false);
            }
        }
        if upload.role != Role::Final || answer.header("upload-offset").is_some() {
            upload.hear(answer.offset());
        }
        if let Some(stored) = self.site.bytes_of(upload.id()) {
            let told = upload.told as usize;
            assert!(stored.len() >= told, "{}: {} of {told} bytes", upload.path, stored.len());
            // What a final is being made of is nobody's business before it is whole.
            let proven = if upload.role == Role::Final { 0 } else { told };
            assert!(stored[..proven] == upload.body[..proven], "{}: other bytes", upload.path);
        }
        Some(answer)
    }

    /// Brings an upload to its end as a resuming client does, and looks at what came of it.
    pub(crate) fn finish(&mut self, at: usize) {
        self.inspect(at).unwrap_or_else(|| panic!("lost: {:?}", self.uploads[at].path));
        let upload = &self.uploads[at];
        let (told, length) = (upload.told, upload.length());
        let declares = upload.declared == Some(false);
        if upload.role != Role::Final && (told < length || declares) {
            let mut head = patch(&upload.path, told);
            if declares {
                head += &format!("\r\nUpload-Length: {length}");
            }
            let answer = self.ask(&head, &upload.body[told as usize..]);
            assert_eq!((answer.status, answer.offset()), (204, length), "{answer:?}");
            let upload = &mut self.uploads[at];
            (upload.sent, upload.told, upload.declared) = (length, length, Some(true));
        }
        self.is_whole(at);
        self.uploads[at].fate = Fate::Whole;
        self.tally.whole += 1;
    }

    /// Waits until an upload is told to be whole, and compares it byte by byte.
    fn is_whole(&mut self, at: usize) {
        let (role, length) = (self.uploads[at].role, self.uploads[at].length());
        if role == Role::Final && self.uploads[at].stray {
            // Its parts may not have been told of it; then the next sweep joins them.
            self.sweep();
        }
        let deadline = Instant::now() + PATIENCE;
        let last = loop {
            let answer = self.inspect(at).expect("an upload that was there before");
            if self.uploads[at].told == length && self.uploads[at].declared == Some(true) {
                break answer;
            }
            assert!(Instant::now() < deadline, "stuck: {answer:?}");
            thread::sleep(Duration::from_millis(10));
        };
        let upload = &self.uploads[at];
        if role == Role::Part {
            let stored = self.site.bytes_of(upload.id()).expect("the bytes of a part");
            assert!(stored == upload.body, "{}: other bytes", upload.path);
            return;
        }
        let (answer, body) = download(self.addr(), &upload.path).expect("a live server");
        assert!(answer.status == 200 && body == upload.body, "{}: {answer:?}", upload.path);
        if self.site.which == Which::Mortal {
            self.is_announced(at, &last);
        }
    }

    /// Checks that an upload was announced, with one event, whose reply is repeated.
    fn is_announced(&self, at: usize, head: &Answer) {
        let upload = &self.uploads[at];
        let events = self.told("finished", upload);
        assert_eq!(events.len(), 1, "{}: one event, as often as it takes: {events:?}", upload.path);
        assert_eq!(head.header("x-event"), Some(events[0].as_str()), "another reply: {head:?}");
        if upload.role == Role::Single {
            // As a client asks who has lost the answer to its last request.
            let answer = self.ask(&patch(&upload.path, upload.length()), b"");
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(answer.header("x-event"), Some(events[0].as_str()), "another reply");
        }
    }

    /// Takes up an upload that exists though nobody has heard its URL; its number.
    ///
    /// Only a creation whose answer was lost can leave one.
    pub(crate) fn stray(&mut self, upload: Upload) -> Option<usize> {
        let known: Vec<_> = self.uploads.iter().map(|u| u.id().to_owned()).collect();
        let names = self.site.names();
        let records = names.iter().filter(|(_, suffix, _)| suffix == "rec").map(|(id, ..)| id);
        let mut strays = records.filter(|id| !known.contains(id));
        let path = format!("/files/{}", strays.next()?);
        assert_eq!(strays.next(), None, "more than one upload that nobody knows");
        self.uploads.push(Upload { path, stray: true, ..upload });
        self.tally.strays += 1;
        Some(self.uploads.len() - 1)
    }

    /// Waits for what is to come about by itself.
    pub(crate) fn until(&self, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "stuck: {:?}", self.uploads);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Checks that an upload is gone, for good.
    pub(crate) fn is_gone(&mut self, at: usize) {
        let seen = self.inspect(at);
        assert!(seen.is_none(), "back from the dead: {seen:?}");
    }

    /// Brings whatever is alive to its end, and looks at what is left of everything.
    pub(crate) fn close(mut self) -> Tally {
        for at in 0..self.uploads.len() {
            match self.uploads[at].fate {
                Fate::Alive => self.finish(at),
                Fate::Whole => {}
                _ => self.is_gone(at),
            }
        }
        self.settle();
        self.tally
    }
}
