//! The rules of a creation.

use super::{
    Bytes, MAX_SIZE, Mood, PERIOD, Reference, Says,
    reference::{Expected, Kind, Phase, Upload, Who, status},
    transfer::Transfer,
    verbs::{declared, known, minutes, too_long},
};

/// A creation.
pub(super) struct New {
    pub(super) says: Says,
    pub(super) kind: Kind,
    pub(super) length: Option<u64>,
    pub(super) mood: Mood,
}

impl Reference {
    pub(super) fn create(&mut self, who: Who, new: New, denied: bool, body: Option<&Bytes>) {
        let announced = body.filter(|body| body.announced).map_or(0, Bytes::total);
        let New { says, kind, length: said, mood } = new;
        let (length, agree) = declared(says, said, 0, known(who, body));
        let mut wrong = Vec::new();
        if !agree {
            wrong.push(400);
        }
        if length.is_some_and(|length| announced > length) {
            wrong.push(too_long(says));
        }
        if length.is_some_and(|length| length > MAX_SIZE) || announced > MAX_SIZE {
            wrong.push(413);
        }
        if !wrong.is_empty() {
            return self.hears(who, Expected { status: wrong, ..Expected::default() });
        }
        if denied || mood == Mood::Unwanted {
            return self.hears(who, status(403));
        }
        let upload = self.make(kind, length, mood);
        self.uploads[upload].awaits_end = says.is_rufh();
        let Some(body) = body else {
            let whole = match says {
                Says::Tus => length == Some(0),
                Says::Later => false,
                Says::Complete => true,
            };
            let unfinished = if whole { self.finish(upload) } else { None };
            let made = Expected {
                offset: says.is_rufh().then_some(0),
                complete: says.is_rufh().then_some(whole),
                ..status(201)
            };
            return self.hears(who, unfinished.map_or(made, status));
        };
        self.transfers.push(Transfer {
            who,
            upload,
            says,
            awaited_end: says.is_rufh(),
            creates: true,
            start: 0,
            taken: 0,
            synced: 0,
            length,
            declares: false,
            proof: body.proof,
            rest: body.frames.iter().copied().collect(),
            sealed: false,
        });
        self.uploads[upload].fence = body.proof.is_promised().then_some(0);
    }

    pub(super) fn make(&mut self, kind: Kind, length: Option<u64>, mood: Mood) -> usize {
        self.made += 1;
        self.uploads.push(Upload {
            number: self.made,
            kind,
            phase: Phase::Open,
            mood,
            length,
            bytes: Vec::new(),
            durable: 0,
            awaits_end: false,
            failed: false,
            fence: None,
            created: self.now,
            modified: self.now,
            until: self.now + minutes(PERIOD),
        });
        self.uploads.len() - 1
    }
}
