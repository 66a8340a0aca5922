//! The reference: uploads as plain values.

use super::{Bytes, Operation, Proof};

/// The most bytes an upload may have.
pub const MAX_SIZE: u64 = 36;
/// How many minutes an unfinished upload lives after its last byte, and is remembered after that.
pub const PERIOD: u64 = 60;

/// What a client must hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The status.
    pub status: u16,
    /// `Upload-Offset`.
    pub offset: Option<u64>,
    /// `Upload-Length`.
    pub length: Option<u64>,
    /// Whether the length is deferred.
    pub deferred: bool,
}

fn status(status: u16) -> Expected {
    Expected { status, ..Expected::default() }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Single,
    Partial,
    Final(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Done,
    /// Until this minute it is 410, then 404.
    Gone(u64),
    Unknown,
}

#[derive(Clone, Debug)]
struct Upload {
    /// The number in its id.
    number: u64,
    kind: Kind,
    phase: Phase,
    length: Option<u64>,
    bytes: Vec<u8>,
    created: u64,
    modified: u64,
}

/// How a request's bytes ended.
struct Taken {
    kept: Vec<u8>,
    touched: bool,
    refused: Option<u16>,
}

/// All uploads, and the time in minutes.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    uploads: Vec<Upload>,
    now: u64,
    made: u64,
}

/// The bytes of an upload: each is known by its place.
pub(crate) fn byte(number: u64, at: u64) -> u8 {
    u8::try_from((number * 37 + at * 11) % 251).expect("less than 251")
}

impl Reference {
    /// Which upload an operation names; `None` while there are none.
    pub fn pick(&self, upload: u8) -> Option<usize> {
        let count = self.uploads.len();
        (count > 0).then(|| usize::from(upload) % count)
    }

    /// The id of an upload.
    pub fn id(&self, upload: usize) -> String {
        format!("u{}", self.uploads[upload].number)
    }

    /// The offset at which an upload is.
    pub fn offset(&self, upload: usize) -> u64 {
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

    /// The bytes of a body that begins at an offset of an upload.
    pub fn body(&self, number: u64, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| byte(number, at)).collect()
    }

    /// The number of an upload.
    pub fn number(&self, upload: usize) -> u64 {
        self.uploads[upload].number
    }

    /// The bytes of an upload that has all of them, and whether it is announced.
    pub fn whole(&self, upload: usize) -> Option<(&[u8], bool)> {
        let upload = &self.uploads[upload];
        (upload.phase == Phase::Done).then_some((&upload.bytes, upload.kind != Kind::Partial))
    }

    /// What a PATCH of the whole rest declares and brings.
    pub fn rest(&self, upload: usize) -> u64 {
        let one = &self.uploads[upload];
        let offset = one.bytes.len() as u64;
        one.length.unwrap_or(offset + 3).saturating_sub(offset)
    }

    /// Does it, and says what the client must hear (or 0 if nobody listens).
    pub fn does(&mut self, operation: &Operation) -> Expected {
        let heard = match operation {
            Operation::Create { partial, length, body } => {
                self.create(*partial, length.map(u64::from), body.as_ref())
            }
            Operation::Append { upload, beside, length, body } => match self.pick(*upload) {
                Some(upload) => {
                    let at = self.offset(upload).saturating_add_signed(i64::from(*beside));
                    self.append(upload, at, length.map(u64::from), body)
                }
                None => status(0),
            },
            Operation::Complete { upload } => match self.pick(*upload) {
                Some(upload) => {
                    let frame = u8::try_from(self.rest(upload)).expect("a small upload");
                    let body = Bytes {
                        frames: vec![frame],
                        breaks_after: None,
                        announced: true,
                        proof: Proof::None,
                    };
                    let at = self.offset(upload);
                    self.append(upload, at, Some(at + u64::from(frame)), &body)
                }
                None => status(0),
            },
            Operation::Head { upload } => self.pick(*upload).map_or(status(0), |u| self.head(u)),
            Operation::Delete { upload } => {
                self.pick(*upload).map_or(status(0), |upload| self.delete(upload))
            }
            Operation::Concat { parts } => self.concat(parts),
            Operation::Wait(minutes) => {
                self.now += u64::from(*minutes);
                status(0)
            }
            Operation::Sweep => {
                self.sweep();
                status(0)
            }
            Operation::Restart => {
                self.forget();
                status(0)
            }
        };
        self.join();
        heard
    }

    /// What a HEAD of an upload must say now.
    pub fn head(&self, upload: usize) -> Expected {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Unknown => return status(404),
            Phase::Gone(_) => return status(410),
            Phase::Open | Phase::Done => {}
        }
        if self.is_expired(upload) {
            return status(410);
        }
        let waits = one.phase == Phase::Open && matches!(one.kind, Kind::Final(_));
        Expected {
            status: 200,
            offset: (!waits).then_some(one.bytes.len() as u64),
            length: one.length,
            deferred: one.length.is_none() && !waits,
        }
    }

    fn create(&mut self, partial: bool, length: Option<u64>, body: Option<&Bytes>) -> Expected {
        let announced = body.filter(|body| body.announced).map_or(0, Bytes::total);
        if length.is_some_and(|length| length > MAX_SIZE || announced > length)
            || announced > MAX_SIZE
        {
            return status(413);
        }
        self.made += 1;
        let mut one = Upload {
            number: self.made,
            kind: if partial { Kind::Partial } else { Kind::Single },
            phase: Phase::Open,
            length,
            bytes: Vec::new(),
            created: self.now,
            modified: self.now,
        };
        let mut heard = status(201);
        if let Some(body) = body {
            let taken = take(&one, length, 0, body);
            one.bytes = taken.kept;
            heard.offset = Some(one.bytes.len() as u64);
            if let Some(refused) = taken.refused {
                heard = status(refused);
                // Nobody learns the URL. Only who left in mid-body may know it nevertheless.
                if one.bytes.is_empty() || refused != 400 {
                    return heard;
                }
            }
        }
        if one.length == Some(one.bytes.len() as u64) {
            one.phase = Phase::Done;
        }
        self.uploads.push(one);
        heard
    }

    fn append(&mut self, upload: usize, at: u64, length: Option<u64>, body: &Bytes) -> Expected {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Unknown => return status(404),
            Phase::Gone(_) => return status(410),
            Phase::Open | Phase::Done => {}
        }
        if matches!(one.kind, Kind::Final(_)) {
            return status(403);
        }
        if let (Some(new), Some(old)) = (length, one.length)
            && new != old
        {
            return status(400);
        }
        if self.is_expired(upload) {
            return status(410);
        }
        let offset = one.bytes.len() as u64;
        if at != offset {
            return status(409);
        }
        if length.is_some_and(|length| length > MAX_SIZE) {
            return status(413);
        }
        let declared = one.length.or(length);
        if declared.is_some_and(|declared| declared < offset) {
            return status(400);
        }
        let announced = if body.announced { body.total() } else { 0 };
        if offset + announced > declared.unwrap_or(MAX_SIZE) {
            return status(413);
        }
        let taken = take(one, declared, offset, body);
        let now = self.now;
        let one = &mut self.uploads[upload];
        if taken.touched {
            one.modified = now;
        }
        one.bytes.extend(taken.kept);
        // A request of which nothing counts has declared nothing.
        if !matches!(taken.refused, Some(460)) && !rolled_back(declared, body, taken.refused) {
            one.length = declared;
        }
        if one.phase == Phase::Open && one.length == Some(one.bytes.len() as u64) {
            one.phase = Phase::Done;
        }
        match taken.refused {
            Some(refused) => status(refused),
            None => Expected { offset: Some(one.bytes.len() as u64), ..status(204) },
        }
    }

    fn delete(&mut self, upload: usize) -> Expected {
        match self.uploads[upload].phase {
            Phase::Unknown => status(404),
            Phase::Gone(_) => status(410),
            Phase::Open | Phase::Done => {
                self.uploads[upload].phase = Phase::Unknown;
                status(204)
            }
        }
    }

    fn concat(&mut self, parts: &[u8]) -> Expected {
        let Some(parts) = parts.iter().map(|part| self.pick(*part)).collect::<Option<Vec<_>>>()
        else {
            return status(0);
        };
        for part in &parts {
            let one = &self.uploads[*part];
            match (&one.kind, one.phase) {
                (_, Phase::Unknown) => return status(404),
                (Kind::Single | Kind::Final(_), _) => return status(400),
                (Kind::Partial, Phase::Gone(_)) => return status(404),
                (Kind::Partial, _) if self.is_expired(*part) => return status(410),
                (Kind::Partial, _) => {}
            }
        }
        let length = self.sum(&parts);
        if length.is_some_and(|length| length > MAX_SIZE) {
            return status(413);
        }
        self.made += 1;
        self.uploads.push(Upload {
            number: self.made,
            kind: Kind::Final(parts),
            phase: Phase::Open,
            length,
            bytes: Vec::new(),
            created: self.now,
            modified: self.now,
        });
        status(201)
    }

    fn sum(&self, parts: &[usize]) -> Option<u64> {
        parts.iter().map(|part| self.uploads[*part].length).sum()
    }

    /// Ends or completes the finals whose parts say so.
    fn join(&mut self) {
        for upload in 0..self.uploads.len() {
            let one = &self.uploads[upload];
            let (Kind::Final(parts), Phase::Open) = (&one.kind, one.phase) else { continue };
            let phases: Vec<_> = parts.iter().map(|part| self.uploads[*part].phase).collect();
            let lost = |phase: &Phase| matches!(phase, Phase::Gone(_) | Phase::Unknown);
            let length = self.sum(parts);
            let bytes: Vec<u8> =
                parts.iter().flat_map(|part| self.uploads[*part].bytes.clone()).collect();
            let gone = Phase::Gone(self.now + PERIOD);
            let one = &mut self.uploads[upload];
            if phases.iter().any(lost) || length.is_some_and(|length| length > MAX_SIZE) {
                one.phase = gone;
                continue;
            }
            one.length = length;
            if phases.iter().all(|phase| *phase == Phase::Done) {
                one.phase = Phase::Done;
                one.bytes = bytes;
            }
        }
    }

    fn awaited(&self, part: usize) -> bool {
        self.uploads.iter().any(|one| {
            one.phase == Phase::Open
                && matches!(&one.kind, Kind::Final(parts) if parts.contains(&part))
        })
    }

    /// Whether an upload's time is up, though nobody may have swept it yet.
    pub fn is_expired(&self, upload: usize) -> bool {
        let one = &self.uploads[upload];
        let unfinished = match (&one.kind, one.phase) {
            (Kind::Final(_), _) => false,
            (_, Phase::Open) | (Kind::Partial, Phase::Done) => true,
            _ => false,
        };
        unfinished && !self.awaited(upload) && one.modified + PERIOD <= self.now
    }

    fn sweep(&mut self) {
        self.forget();
        let gone = Phase::Gone(self.now + PERIOD);
        for upload in 0..self.uploads.len() {
            let one = &self.uploads[upload];
            if let (Kind::Final(parts), Phase::Open) = (&one.kind, one.phase) {
                let last = parts.iter().map(|part| self.uploads[*part].modified).max();
                if last.unwrap_or(0).max(one.created) + PERIOD <= self.now {
                    self.uploads[upload].phase = gone;
                }
            }
        }
        for upload in 0..self.uploads.len() {
            if self.is_expired(upload) {
                self.uploads[upload].phase = gone;
            }
        }
    }

    fn forget(&mut self) {
        for one in &mut self.uploads {
            if matches!(one.phase, Phase::Gone(until) if until <= self.now) {
                one.phase = Phase::Unknown;
            }
        }
    }
}

/// Whether nothing of a refused request counts, its declaration included.
fn rolled_back(declared: Option<u64>, body: &Bytes, refused: Option<u16>) -> bool {
    match refused {
        None => false,
        Some(413) => declared.is_some() || promises(body.proof),
        Some(_) => promises(body.proof) || body.proof == Proof::SurpriseWrong && !breaks(body),
    }
}

fn promises(proof: Proof) -> bool {
    !matches!(proof, Proof::None | Proof::SurpriseRight | Proof::SurpriseWrong)
}

fn breaks(body: &Bytes) -> bool {
    body.breaks_after.is_some_and(|after| usize::from(after) <= body.frames.len())
}

/// Which bytes of a body an upload keeps, and what its client hears.
fn take(one: &Upload, declared: Option<u64>, at: u64, body: &Bytes) -> Taken {
    let mut left = declared.unwrap_or(MAX_SIZE) - at;
    let mut length = 0;
    let mut refused = None;
    for (n, frame) in body.frames.iter().enumerate() {
        if body.breaks_after == Some(u8::try_from(n).expect("few frames")) {
            refused = Some(400);
            break;
        }
        let frame = u64::from(*frame);
        if frame > left {
            refused = Some(413);
            if declared.is_none() {
                length += left;
            }
            break;
        }
        left -= frame;
        length += frame;
    }
    if refused.is_none() && breaks(body) {
        refused = Some(400);
    }
    let touched = length > 0;
    if refused.is_none() {
        refused = match body.proof {
            Proof::None | Proof::Right | Proof::TrailerRight | Proof::SurpriseRight => None,
            Proof::Wrong | Proof::TrailerWrong | Proof::SurpriseWrong => Some(460),
            Proof::TrailerMissing => Some(400),
        };
    }
    if refused == Some(460) || rolled_back(declared, body, refused) {
        length = 0;
    }
    let kept = (at..at + length).map(|at| byte(one.number, at)).collect();
    Taken { kept, touched, refused }
}
