//! The reference: uploads as plain values, and what must be heard of them.

use super::{Bytes, Mood, Operation, Request, Then, transfer::Transfer};

/// What a client must hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The status; what is wrong for several reasons may be refused for any of them.
    pub status: Vec<u16>,
    /// `Upload-Offset`.
    pub offset: Option<u64>,
    /// `Upload-Length`.
    pub length: Option<u64>,
    /// Whether the length is deferred.
    pub deferred: bool,
    /// `Upload-Expires`, in minutes since the beginning; RUFH has none.
    pub expires: Option<i64>,
    /// What a success in RUFH says of completeness.
    pub complete: Option<bool>,
    /// The offset that RUFH tells to whoever came with another one, if that is what is wrong.
    pub conflict: Option<u64>,
}

/// Nothing but a status.
pub(super) fn status(status: u16) -> Expected {
    Expected { status: vec![status], ..Expected::default() }
}

/// Who is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// One of the two clients, whose request was under way.
    Client(u8),
    /// Whoever asks now.
    Asking,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// To whom.
    pub who: Who,
    /// What.
    pub what: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Single,
    Partial,
    Final(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Done,
    Refused,
    /// Until this minute it is 410, then 404.
    Gone(i64),
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) struct Upload {
    /// The number in its id.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) mood: Mood,
    pub(super) length: Option<u64>,
    /// What is stored, also of a request that is still under way.
    pub(super) bytes: Vec<u8>,
    /// How much of it survives a crash.
    pub(super) durable: usize,
    /// Whether it is complete only once a client says so.
    pub(super) awaits_end: bool,
    /// Whether the application has just failed to take it.
    pub(super) failed: bool,
    /// From here on bytes must be proven first.
    pub(super) fence: Option<u64>,
    pub(super) created: i64,
    pub(super) modified: i64,
    /// When it expires at the earliest, as far as is recorded.
    pub(super) until: i64,
}

/// What must be true of an upload between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is going on, with this length and these bytes; so many of them survive a crash, and
    /// whether a client must say that it is complete.
    Open(Option<u64>, Vec<u8>, usize, bool),
    /// It has all of its bytes, and is announced if the application is to hear of it.
    Done(Vec<u8>, bool),
    /// The application did not want it.
    Refused,
    /// It has ended, and that is remembered.
    Gone,
    /// Nothing of it is left.
    Unknown,
}

/// All uploads, the requests under way, and the clocks in minutes.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub(super) uploads: Vec<Upload>,
    pub(super) transfers: Vec<Transfer>,
    /// What the wall clock shows.
    pub(super) now: i64,
    /// What it showed when the sweeper last looked at it, and how many minutes have passed since.
    pub(super) read: i64,
    pub(super) passed: i64,
    pub(super) made: u64,
    pub(super) owes: bool,
    pub(super) heard: Vec<Heard>,
}

/// The bytes of an upload: each is known by its place.
pub(super) fn byte(number: u64, at: u64) -> u8 {
    u8::try_from((number * 37 + at * 11) % 251).expect("less than 251")
}

impl Reference {
    /// Which upload an operation names, one of the latest; `None` while there are none.
    pub fn pick(&self, upload: u8) -> Option<usize> {
        let count = self.uploads.len();
        let back = usize::from(upload) % count.clamp(1, 4);
        count.checked_sub(1 + back)
    }

    /// The id of an upload.
    pub fn id(&self, upload: usize) -> String {
        format!("u{}", self.uploads[upload].number)
    }

    /// How many bytes of an upload are stored, and how many its clients were told of.
    pub fn offsets(&self, upload: usize) -> (u64, u64) {
        let stored = self.offset(upload);
        let holder = self.transfers.iter().find(|transfer| transfer.upload == upload);
        let told = holder.map_or(stored, |transfer| transfer.start);
        (stored, self.uploads[upload].fence.unwrap_or(told))
    }

    pub(super) fn offset(&self, upload: usize) -> u64 {
        self.uploads[upload].bytes.len() as u64
    }

    /// The number that the next upload gets.
    pub fn next_number(&self) -> u64 {
        self.made + 1
    }

    /// How many uploads there are or were.
    pub fn count(&self) -> usize {
        self.uploads.len()
    }

    /// What the wall clock shows, in minutes since the beginning.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Whether the application has failed, and is to be asked again in a second.
    pub fn owes(&self) -> bool {
        self.owes
    }

    /// The frames that a client's request has not sent yet; `None` if it has no request.
    pub fn is_busy(&self, client: u8) -> bool {
        self.transfers.iter().any(|transfer| transfer.who == Who::Client(client))
    }

    /// Which client's request holds an upload.
    pub fn holder(&self, upload: usize) -> Option<u8> {
        let holder = self.transfers.iter().find(|transfer| transfer.upload == upload);
        holder.and_then(|transfer| match transfer.who {
            Who::Client(client) => Some(client),
            Who::Asking => None,
        })
    }

    /// The bytes of a body that begins at an offset of the upload of this number.
    pub fn body(&self, number: u64, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| byte(number, at)).collect()
    }

    /// The number of an upload.
    pub fn number(&self, upload: usize) -> u64 {
        self.uploads[upload].number
    }

    /// A request without shorthands.
    pub fn resolve(&self, request: &Request) -> Request {
        let Request::Complete { says, upload } = request else { return request.clone() };
        let (at, length) =
            self.pick(*upload).map_or((0, None), |u| (self.offset(u), self.uploads[u].length));
        let length = length.unwrap_or(at + 3);
        Request::Append {
            says: *says,
            upload: *upload,
            behind: false,
            beside: 0,
            length: u8::try_from(length).ok(),
            body: Bytes::whole(length.saturating_sub(at)),
        }
    }

    /// Whether a request that pauses in its body does what no test asks for.
    ///
    /// While one lasts that can add nothing to a complete part, nobody can join the part, and when
    /// it ends nobody hears of it but the sweeper. The creation of an upload without any bytes is
    /// complete before its body has ended.
    pub fn is_out_of_scope(&self, request: &Request) -> bool {
        match request {
            Request::Append { upload, .. } => self.pick(*upload).is_some_and(|upload| {
                let one = &self.uploads[upload];
                one.kind == Kind::Partial && one.length == Some(self.offset(upload))
            }),
            Request::Create { length, .. } => *length == Some(0),
            _ => false,
        }
    }

    /// What must be true of an upload.
    pub fn state(&self, upload: usize) -> State {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Open => State::Open(one.length, one.bytes.clone(), one.durable, one.awaits_end),
            Phase::Done => State::Done(one.bytes.clone(), one.kind != Kind::Partial),
            Phase::Refused => State::Refused,
            Phase::Gone(_) => State::Gone,
            Phase::Unknown => State::Unknown,
        }
    }

    /// Whether the application heard of an upload that it was complete.
    pub fn is_told(&self, upload: usize) -> Option<bool> {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Done => Some(one.kind != Kind::Partial),
            Phase::Refused => Some(true),
            Phase::Open => Some(false),
            Phase::Gone(_) | Phase::Unknown => None,
        }
    }

    /// Does it, and says who must hear what.
    pub fn does(&mut self, operation: &Operation) -> Vec<Heard> {
        self.owes = false;
        self.uploads.iter_mut().for_each(|one| one.failed = false);
        match operation {
            Operation::Ask { request, denied, meanwhile } => {
                self.ask(Who::Asking, request, *denied, meanwhile);
                self.goes_on(Who::Asking, Then::Rest);
            }
            Operation::Begin { client, request, pause, meanwhile } => {
                let who = Who::Client(*client);
                if !self.is_busy(*client) && !self.is_out_of_scope(&self.resolve(request)) {
                    self.ask(who, request, false, meanwhile);
                    (0..*pause).for_each(|_| self.goes_on(who, Then::Frame));
                }
            }
            Operation::GoOn { client, then } => self.goes_on(Who::Client(*client), *then),
            Operation::Cancel { client } => {
                self.transfers.retain(|transfer| transfer.who != Who::Client(*client));
            }
            Operation::Idle => self.idle(),
            Operation::Wait(minutes) => self.now += i64::from(*minutes),
            Operation::Sweep => (0..3).for_each(|_| self.sweep(true)),
            Operation::Round(off) => self.round(i64::from(*off)),
            Operation::Restart => self.restart(),
            // What it would have been; see `crashes` for what it may be.
            Operation::Crash { request, .. } => {
                self.ask(Who::Asking, request, false, &[]);
                self.goes_on(Who::Asking, Then::Rest);
            }
        }
        std::mem::take(&mut self.heard)
    }

    /// Somebody is answered.
    pub(super) fn hears(&mut self, who: Who, what: Expected) {
        self.heard.push(Heard { who, what });
    }
}
