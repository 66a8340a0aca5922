//! What to record before and after the bytes, and what to answer.

use super::{admit::Admission, digests, intake::Verdict};
use crate::model::{Completes, Digest, Promise, Refusal, Upload};

/// What must be recorded before the first byte is written, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preparation {
    length: Option<u64>,
    fence: Option<u64>,
    turns: bool,
    expected: Option<Digest>,
}

/// Fences off bytes that have to be proven first, records a length that was declared, what the whole
/// has to be, and by what the upload will be complete.
///
/// With a promise the rest waits for its proof: a mismatch must leave no trace of the request.
pub(crate) fn prepare(admission: &Admission) -> Option<Preparation> {
    let promised = admission.promise != Promise::None;
    let fence = promised.then_some(admission.start);
    let length = admission.length.filter(|_| admission.declares && !promised);
    let turns = admission.turns && !promised;
    let expected = admission.expected.clone().filter(|_| !promised);
    let prepares = fence.is_some() || length.is_some() || turns || expected.is_some();
    prepares.then_some(Preparation { length, fence, turns, expected })
}

impl Preparation {
    /// Changes the record.
    pub(crate) fn apply(&self, upload: &mut Upload) {
        upload.length = upload.length.or(self.length);
        upload.fence = self.fence;
        upload.awaits_end ^= self.turns;
        if let Some(expected) = &self.expected {
            digests::expect(&mut upload.digests, expected);
        }
    }
}

/// How a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Whether what came counts.
    pub(crate) kept: bool,
    /// The offset to which the bytes must be cut back.
    pub(crate) cut_to: Option<u64>,
    /// The upload's offset from now on.
    pub(crate) offset: u64,
    /// Whether all bytes are there.
    pub(crate) completes: bool,
    /// What the client hears if not success.
    pub(crate) refusal: Option<Refusal>,
    /// Whether the upload is to end for what the client did.
    pub(crate) ends: bool,
    length: Option<u64>,
    lifts: bool,
    turns: bool,
    expected: Option<Digest>,
}

/// Settles a request whose bytes reach to `stored`.
pub(crate) fn settle(admission: &Admission, verdict: Verdict, stored: u64) -> Settlement {
    let promised = admission.promise != Promise::None;
    let ends = verdict == Verdict::Outgrown;
    let (kept, mut refusal) = match verdict {
        Verdict::Keep(refusal) => (true, refusal),
        Verdict::RollBack(refusal) => (false, Some(refusal)),
        // Whoever could not read the bytes back has not proven them.
        Verdict::Prove(_) => (false, Some(Refusal::DigestMismatch)),
        Verdict::Outgrown => (false, Some(Refusal::BodyTooLong)),
    };
    let offset = if kept { stored } else { admission.start };
    // What is rolled back leaves no trace, the length that it declared included.
    let length = admission.length.filter(|_| kept || !admission.declares);
    let cut_to = (!kept && stored > admission.start).then_some(admission.start);
    let mut length = length;
    let completes = match admission.completes {
        Completes::AtItsLength => kept && length == Some(offset),
        Completes::WithThisBody if refusal.is_none() => {
            // RUFH, section 4.1.3: all that was said about the length MUST match.
            let whole = length.is_none_or(|length| length == offset);
            match whole {
                true => length = Some(offset),
                false => refusal = Some(Refusal::LengthMismatch),
            }
            whole
        }
        Completes::WithThisBody | Completes::Later => false,
    };
    Settlement {
        kept,
        cut_to,
        offset,
        completes,
        refusal,
        ends,
        length,
        lifts: promised || cut_to.is_some(),
        // Now that it is proven, or back again.
        turns: admission.turns && promised == kept,
        expected: admission.expected.clone().filter(|_| kept && promised),
    }
}

impl Settlement {
    /// Whether the record must change.
    pub(crate) fn changes(&self, upload: &Upload) -> bool {
        upload.length != self.length
            || self.turns
            || (self.lifts && upload.fence.is_some())
            || self.expected.is_some()
    }

    /// Changes the record.
    pub(crate) fn apply(&self, upload: &mut Upload) {
        upload.length = self.length;
        upload.awaits_end ^= self.turns;
        if self.lifts {
            upload.fence = None;
        }
        if let Some(expected) = &self.expected {
            digests::expect(&mut upload.digests, expected);
        }
    }
}
