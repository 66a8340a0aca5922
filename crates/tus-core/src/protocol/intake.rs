//! The only state that lives while bytes flow: it is shown each frame and told how they ended.

use super::admit::{Admission, Bound};
use crate::model::{Digest, Hashers, Promise, Refusal};

/// Watches the body of one request.
#[derive(Debug)]
pub(crate) struct Intake {
    bound: Bound,
    announced: Option<u64>,
    promise: Promise,
    hashers: Hashers,
    taken: u64,
    overran: bool,
    /// Whether a body that is too long ends the upload.
    outgrows: bool,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Write all of it.
    All,
    /// Write its first bytes, and read no further.
    Prefix(usize),
    /// Write none of it, and read no further.
    Stop,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should, perhaps with a digest in its trailers.
    Clean(Option<Result<Digest, Refusal>>),
    /// Before it should, for the reason that the client is to hear.
    Cut(Refusal),
}

/// What counts of the bytes that were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of them, and the client hears this.
    Keep(Option<Refusal>),
    /// None of them.
    RollBack(Refusal),
    /// All, if reading them back gives this digest: it came in a trailer that nobody announced.
    Prove(Digest),
    /// None, and the upload is no more: it has outgrown its length (RUFH, section 4.4.2).
    Outgrown,
}

impl Intake {
    /// Starts to watch.
    pub(crate) fn new(admission: &Admission) -> Self {
        let hashers = match &admission.promise {
            Promise::None => Hashers::none(),
            Promise::Digest(digest) => Hashers::one(digest.algorithm),
            Promise::Trailer => Hashers::all(),
        };
        Self {
            bound: admission.bound,
            announced: admission.announced,
            promise: admission.promise.clone(),
            hashers,
            taken: 0,
            overran: false,
            // What has all its bytes cannot grow, so nothing that is sent to it can end it.
            outgrows: admission.completes.is_declared() && !admission.sealed,
        }
    }

    /// Looks at the next frame, before it is written.
    pub(crate) fn show(&mut self, frame: &[u8]) -> Take {
        let room = match self.bound {
            Bound::Lacking(left) | Bound::Allowed { left, .. } | Bound::OneRequest { left, .. } => {
                left - self.taken
            }
        };
        let len = frame.len() as u64;
        if len <= room {
            self.accept(frame);
            return Take::All;
        }
        self.overran = true;
        let fits = usize::try_from(room).unwrap_or(frame.len());
        match (self.bound, frame.get(..fits)) {
            (Bound::Allowed { .. } | Bound::OneRequest { .. }, Some(prefix)) if fits > 0 => {
                self.accept(prefix);
                Take::Prefix(fits)
            }
            _ => Take::Stop,
        }
    }

    /// How many bytes were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the body was longer than it may be.
    pub(crate) fn overran(&self) -> bool {
        self.overran
    }

    /// Decides what counts, once the body has ended.
    ///
    /// One law: what arrived is kept, unless a digest was promised and not proven, or the body
    /// contradicts the declared length; then none of it is (tus 1.0.0, PATCH and Checksum). Where
    /// the client says by itself when it is through, that contradiction ends an upload that is open.
    pub(crate) fn end(self, ending: Ending) -> Verdict {
        let contradicts = self.overran && matches!(self.bound, Bound::Lacking(_));
        if contradicts && self.outgrows {
            return Verdict::Outgrown;
        }
        let cut = match ending {
            Ending::Cut(refusal) if contradicts => return Verdict::RollBack(refusal),
            Ending::Cut(refusal) => refusal,
            Ending::Clean(_) if self.overran => match self.bound {
                Bound::Allowed { max, .. } => Refusal::TooLarge { max },
                Bound::OneRequest { max, .. } => Refusal::AppendTooLarge { max },
                Bound::Lacking(_) => return Verdict::RollBack(Refusal::BodyTooLong),
            },
            // A framework may end a body without an error when the connection closed early.
            Ending::Clean(_) if self.announced.is_some_and(|announced| self.taken < announced) => {
                Refusal::BodyBroken
            }
            Ending::Clean(trailer) => return self.prove(trailer),
        };
        match self.promise {
            Promise::None => Verdict::Keep(Some(cut)),
            Promise::Digest(_) | Promise::Trailer => Verdict::RollBack(cut),
        }
    }

    fn accept(&mut self, bytes: &[u8]) {
        self.hashers.update(bytes);
        self.taken += bytes.len() as u64;
    }

    fn prove(self, trailer: Option<Result<Digest, Refusal>>) -> Verdict {
        let expected = match (self.promise, trailer) {
            (Promise::Digest(digest), _) => digest,
            (_, Some(Err(refusal))) => return Verdict::RollBack(refusal),
            (Promise::Trailer, Some(Ok(digest))) => digest,
            (Promise::Trailer, None) => return Verdict::RollBack(Refusal::DigestMissing),
            (Promise::None, Some(Ok(digest))) => return Verdict::Prove(digest),
            (Promise::None, None) => return Verdict::Keep(None),
        };
        match self.hashers.finish(expected.algorithm) {
            Some(actual) if actual == expected => Verdict::Keep(None),
            _ => Verdict::RollBack(Refusal::DigestMismatch),
        }
    }
}
