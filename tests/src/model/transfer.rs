//! Bytes on their way: what counts of them, and what their client hears.

use std::collections::VecDeque;

use super::{
    MAX_SIZE, Mood, PERIOD, Proof, Reference, SYNC_EVERY, Says, Then,
    reference::{Expected, Kind, Phase, Who, byte, status},
    verbs::{minutes, too_long},
};

/// A PATCH or creation under way. It holds its upload.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) who: Who,
    pub(super) upload: usize,
    pub(super) says: Says,
    /// Whether the upload waited for its end before.
    pub(super) awaited_end: bool,
    pub(super) creates: bool,
    /// Where its first byte belongs.
    pub(super) start: u64,
    pub(super) taken: u64,
    /// How far the upload was made durable while it took bytes.
    pub(super) synced: u64,
    /// The length that the upload has with it, and whether this is new.
    pub(super) length: Option<u64>,
    pub(super) declares: bool,
    pub(super) proof: Proof,
    /// The frames that have not come yet.
    pub(super) rest: VecDeque<u8>,
    /// Whether the upload was complete before, so that nothing can be added.
    pub(super) sealed: bool,
}

/// How a body ends.
enum Ending {
    Clean,
    TooLong,
    /// For a reason that the client hears.
    Cut(u16),
}

impl Reference {
    /// The body of a client's request goes on.
    pub(super) fn goes_on(&mut self, who: Who, then: Then) {
        let Some(place) = self.transfers.iter().position(|transfer| transfer.who == who) else {
            return;
        };
        match then {
            Then::Frame => {
                if let Some(frame) = self.transfers[place].rest.pop_front() {
                    self.takes(place, u64::from(frame));
                }
            }
            Then::Rest => {
                while let Some(transfer) = self.transfers.iter_mut().find(|one| one.who == who) {
                    match transfer.rest.is_empty() {
                        true => self.ends(place, &Ending::Clean),
                        false => self.goes_on(who, Then::Frame),
                    }
                }
            }
            Then::Breaks => self.ends(place, &Ending::Cut(400)),
        }
    }

    /// Somebody else wants the upload: its holder takes what still comes, and lets go (P4).
    pub(super) fn preempt(&mut self, upload: usize, meanwhile: &[Then]) {
        for then in meanwhile {
            let then = if *then == Then::Breaks { None } else { Some(*then) };
            let Some(holder) = self.holding(upload) else { return };
            match then {
                Some(then) => self.goes_on(self.transfers[holder].who, then),
                // Why it ends is that it was asked to.
                None => self.ends(holder, &Ending::Cut(423)),
            }
        }
        if let Some(holder) = self.holding(upload) {
            self.ends(holder, &Ending::Cut(423));
        }
    }

    /// Nobody wants the upload, and its holder goes on.
    pub(super) fn leave_alone(&mut self, upload: usize, meanwhile: &[Then]) {
        for then in meanwhile {
            if let Some(holder) = self.holding(upload) {
                self.goes_on(self.transfers[holder].who, *then);
            }
        }
    }

    /// All bodies have paused for too long.
    pub(super) fn idle(&mut self) {
        self.passed += i64::try_from(super::IDLE).expect("minutes");
        while !self.transfers.is_empty() {
            self.ends(0, &Ending::Cut(408));
        }
    }

    pub(super) fn holding(&self, upload: usize) -> Option<usize> {
        self.transfers.iter().position(|transfer| transfer.upload == upload)
    }

    fn takes(&mut self, place: usize, frame: u64) {
        if self.stores(place, frame) {
            self.ends(place, &Ending::TooLong);
        }
    }

    /// A frame comes, and is stored. What exceeds the declared length contradicts it; what exceeds
    /// the policy is cut off. Returns whether it was too long.
    pub(super) fn stores(&mut self, place: usize, frame: u64) -> bool {
        let transfer = &mut self.transfers[place];
        let one = &mut self.uploads[transfer.upload];
        let room = transfer.length.unwrap_or(MAX_SIZE) - transfer.start - transfer.taken;
        let fits = match transfer.length {
            Some(_) if frame > room => 0,
            _ => frame.min(room),
        };
        let from = transfer.start + transfer.taken;
        one.bytes.extend((from..from + fits).map(|at| byte(one.number, at)));
        transfer.taken += fits;
        let at = transfer.start + transfer.taken;
        if fits > 0 {
            one.modified = self.now;
        }
        if at - transfer.synced >= SYNC_EVERY {
            transfer.synced = at;
            one.durable = one.bytes.len();
        }
        frame > room
    }

    /// What arrived is kept, unless a digest was promised and is not proven, or the body
    /// contradicts the declared length.
    fn ends(&mut self, place: usize, ending: &Ending) {
        let transfer = self.transfers.remove(place);
        let (says, upload) = (transfer.says, transfer.upload);
        let promised = transfer.proof.is_promised();
        let (kept, mut refused) = match (ending, transfer.proof) {
            // A client of RUFH comes back after 503, and gives up after 423.
            (Ending::Cut(423), _) if says.is_rufh() => (true, Some(503)),
            (Ending::Cut(status), _) => (!promised, Some(*status)),
            (Ending::TooLong, _) if transfer.length.is_some() => (false, Some(too_long(says))),
            (Ending::TooLong, _) => (!promised, Some(413)),
            (Ending::Clean, Proof::TrailerMissing) => (false, Some(400)),
            (Ending::Clean, Proof::Wrong | Proof::TrailerWrong | Proof::SurpriseWrong) => {
                (false, Some(460))
            }
            (Ending::Clean, _) => (true, None),
        };
        let one = &mut self.uploads[upload];
        if !transfer.sealed {
            match kept {
                true => {
                    one.length = transfer.length;
                    if says == Says::Tus {
                        one.awaits_end = false;
                    }
                }
                false => {
                    one.bytes.truncate(usize::try_from(transfer.start).expect("a small upload"));
                    // It leaves no trace, its declarations included.
                    if transfer.declares {
                        one.length = None;
                    }
                    one.awaits_end = transfer.awaited_end;
                }
            }
            one.fence = None;
            one.durable = one.bytes.len();
        }
        let offset = one.bytes.len() as u64;
        let outgrown = says.is_rufh() && !kept && !transfer.sealed;
        let whole = match says {
            Says::Tus => kept && one.length == Some(offset),
            Says::Later => false,
            Says::Complete if refused.is_some() => false,
            Says::Complete if one.length.is_none_or(|length| length == offset) => {
                one.length = Some(offset);
                true
            }
            Says::Complete => {
                refused = Some(400);
                false
            }
        };
        let declared = transfer.declares && one.length.is_some();
        if outgrown {
            one.phase = Phase::Gone(self.now + minutes(PERIOD));
            if !transfer.creates {
                self.owes |= self.uploads[upload].mood == Mood::DeafOnce;
                self.tell_finals(upload);
            }
            return self.hears(transfer.who, status(400));
        }
        let cut = matches!(ending, Ending::Cut(_));
        if transfer.creates && refused.is_some_and(|refused| !is_made(says, refused, cut, offset)) {
            // Nobody learns its URL, so there is no upload either. (Should a final wait for it
            // nevertheless, it is for the sweeper to find out.)
            self.uploads[upload].phase = Phase::Unknown;
            return self.hears(transfer.who, status(refused.unwrap_or(0)));
        }
        if declared {
            self.tell_finals(upload);
        }
        let unfinished = if whole && !transfer.sealed { self.finish(upload) } else { None };
        let complete = says.is_rufh().then_some(whole);
        let (offset, acknowledged) = (Some(offset), if whole { 201 } else { 204 });
        let heard = match (says, unfinished, refused) {
            (_, Some(unfinished), _) => status(unfinished),
            (Says::Tus, None, None | Some(408 | 423)) if transfer.creates => {
                Expected { offset, ..status(201) }
            }
            (Says::Tus, None, None) => Expected { offset, ..status(204) },
            (Says::Tus, None, Some(refused)) => status(refused),
            // It names the URL, whatever stopped it.
            (_, None, Some(refused)) if transfer.creates => Expected { offset, ..status(refused) },
            (_, None, Some(refused)) => status(refused),
            (_, None, None) if transfer.creates => Expected { offset, complete, ..status(201) },
            (_, None, None) => Expected { offset, complete, ..status(acknowledged) },
        };
        self.hears(transfer.who, heard);
    }

    /// An upload has all of its bytes; what its client hears if that does not settle it.
    pub(super) fn finish(&mut self, upload: usize) -> Option<u16> {
        let one = &mut self.uploads[upload];
        one.phase = Phase::Done;
        if one.kind == Kind::Partial {
            self.tell_finals(upload);
            return None;
        }
        match one.mood {
            Mood::FailsOnce => {
                one.mood = Mood::Fine;
                one.failed = true;
                self.owes = true;
                Some(503)
            }
            Mood::Refuses => {
                one.phase = Phase::Refused;
                Some(422)
            }
            Mood::Fine | Mood::DeafOnce | Mood::Unwanted => None,
        }
    }
}

/// Whether a creation that kept so many bytes has made an upload, though its body was stopped.
fn is_made(says: Says, refused: u16, cut: bool, kept: u64) -> bool {
    // What a client of RUFH has done wrong by itself makes none.
    kept > 0 && matches!(refused, 400 | 408 | 423 | 503) && (cut || !says.is_rufh())
}
