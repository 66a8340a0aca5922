//! The rules of each verb.

use super::{
    Bytes, MAX_SIZE, Mood, PERIOD, Reference, Request, Then,
    reference::{Expected, Kind, Phase, Upload, Who, status},
    transfer::Transfer,
};

impl Reference {
    /// Somebody asks. A PATCH or creation with a body is under way then, unless it is answered.
    pub(super) fn ask(&mut self, who: Who, request: &Request, denied: bool, meanwhile: &[Then]) {
        match &self.resolve(request) {
            Request::Create { partial, length, mood, body } => {
                let kind = if *partial { Kind::Partial } else { Kind::Single };
                self.create(who, kind, length.map(u64::from), (*mood, denied), body.as_ref());
            }
            Request::Append { upload, behind, beside, length, body } => {
                let Some(upload) = self.pick(*upload) else { return };
                let (stored, told) = self.offsets(upload);
                let from = if *behind { told } else { stored };
                let at = from.saturating_add_signed(i64::from(*beside));
                let patch = Patch { at, length: length.map(u64::from), body, denied };
                self.append(who, upload, &patch, meanwhile);
            }
            Request::Head { upload } => {
                let Some(upload) = self.pick(*upload) else { return };
                let heard = self.look(upload, denied, meanwhile);
                self.hears(who, heard);
            }
            Request::Delete { upload, stays } => {
                let Some(upload) = self.pick(*upload) else { return };
                let heard = self.delete(upload, denied, *stays, meanwhile);
                self.hears(who, heard);
            }
            Request::Concat { parts, mood } => {
                let parts = parts.iter().map(|part| self.pick(*part));
                let Some(parts) = parts.collect::<Option<Vec<_>>>() else { return };
                let heard = self.concat(&parts, *mood, denied);
                self.hears(who, heard);
            }
            Request::Complete { .. } => unreachable!("it is resolved"),
        }
    }

    fn create(
        &mut self,
        who: Who,
        kind: Kind,
        length: Option<u64>,
        (mood, denied): (Mood, bool),
        body: Option<&Bytes>,
    ) {
        let announced = body.filter(|body| body.announced).map_or(0, Bytes::total);
        let too_large = length.is_some_and(|length| length > MAX_SIZE || announced > length);
        if too_large || announced > MAX_SIZE {
            return self.hears(who, status(413));
        }
        if denied || mood == Mood::Unwanted {
            return self.hears(who, status(403));
        }
        let upload = self.make(kind, length, mood);
        let Some(body) = body else {
            let unfinished = if length == Some(0) { self.finish(upload) } else { None };
            return self.hears(who, status(unfinished.unwrap_or(201)));
        };
        self.transfers.push(Transfer {
            who,
            upload,
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

    fn make(&mut self, kind: Kind, length: Option<u64>, mood: Mood) -> usize {
        self.made += 1;
        self.uploads.push(Upload {
            number: self.made,
            kind,
            phase: Phase::Open,
            mood,
            length,
            bytes: Vec::new(),
            durable: 0,
            failed: false,
            fence: None,
            created: self.now,
            modified: self.now,
            until: self.now + minutes(PERIOD),
        });
        self.uploads.len() - 1
    }

    fn append(&mut self, who: Who, upload: usize, patch: &Patch<'_>, meanwhile: &[Then]) {
        if let Some(refused) = self.is_closed(upload, patch.denied) {
            self.leave_alone(upload, meanwhile);
            return self.hears(who, status(refused));
        }
        // Whoever has no hope does not stop a transfer.
        let hopeless = self.hopeless(upload, patch);
        if !hopeless.is_empty() {
            self.leave_alone(upload, meanwhile);
            return self.hears(who, Expected { status: hopeless, ..Expected::default() });
        }
        let opened = self.open(upload, meanwhile);
        if let Some(refused) = opened.err().or_else(|| self.is_closed(upload, false)) {
            return self.hears(who, status(refused));
        }
        // Who comes with a PATCH has the application asked again.
        self.uploads[upload].failed = false;
        let start = self.offset(upload);
        let one = &self.uploads[upload];
        let length = one.length.or(patch.length);
        let mut wrong = self.wrong(upload, patch);
        if patch.at != start {
            wrong.push(409);
        }
        if length.is_some_and(|length| length < start) {
            wrong.push(400);
        }
        if !wrong.is_empty() {
            return self.hears(who, Expected { status: wrong, ..Expected::default() });
        }
        let sealed = self.uploads[upload].phase == Phase::Done;
        let (proof, declares) = (patch.body.proof, one.length.is_none() && length.is_some());
        let one = &mut self.uploads[upload];
        if !sealed {
            match proof.is_promised() {
                true => one.fence = Some(start),
                false => one.length = length,
            }
        }
        self.transfers.push(Transfer {
            who,
            upload,
            creates: false,
            start,
            taken: 0,
            synced: start,
            length,
            declares,
            proof,
            rest: patch.body.frames.iter().copied().collect(),
            sealed,
        });
    }

    /// Why an upload takes no PATCH at all.
    fn is_closed(&self, upload: usize, denied: bool) -> Option<u16> {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Unknown => Some(404),
            _ if denied => Some(403),
            Phase::Gone(_) => Some(410),
            Phase::Refused => Some(422),
            Phase::Open | Phase::Done => matches!(one.kind, Kind::Final(_)).then_some(403),
        }
    }

    /// What is wrong with a PATCH, as far as its head and the record show it.
    fn wrong(&self, upload: usize, patch: &Patch<'_>) -> Vec<u16> {
        let one = &self.uploads[upload];
        let mut wrong = Vec::new();
        if one.length.is_some() && patch.length.is_some() && one.length != patch.length {
            wrong.push(400);
        }
        if self.is_expired(upload) {
            wrong.push(410);
        }
        if patch.length.is_some_and(|length| length < patch.at) {
            wrong.push(400);
        }
        let length = one.length.or(patch.length);
        let announced = if patch.body.announced { patch.body.total() } else { 0 };
        let end = patch.at + announced;
        let too_long = match length {
            Some(length) => patch.at <= length && end > length,
            None => end > MAX_SIZE,
        };
        if too_long || patch.length.is_some_and(|length| length > MAX_SIZE) {
            wrong.push(413);
        }
        wrong
    }

    /// What cannot become right, whatever the holder of the upload has still to store.
    fn hopeless(&self, upload: usize, patch: &Patch<'_>) -> Vec<u16> {
        let (one, stored) = (&self.uploads[upload], self.offset(upload));
        let mut hopeless = self.wrong(upload, patch);
        // Bytes that are to be proven may yet be cut.
        let behind = patch.at < stored && one.fence.is_none();
        if behind || (!hopeless.is_empty() && patch.at != stored) {
            hopeless.push(409);
        }
        hopeless
    }

    /// Takes the upload from its holder, and puts right what a request has left that was dropped.
    fn open(&mut self, upload: usize, meanwhile: &[Then]) -> Result<(), u16> {
        self.preempt(upload, meanwhile);
        let one = &mut self.uploads[upload];
        if one.phase == Phase::Unknown {
            return Err(404);
        }
        if one.phase != Phase::Open || matches!(one.kind, Kind::Final(_)) {
            return Ok(());
        }
        if let Some(fence) = one.fence.take() {
            one.bytes.truncate(usize::try_from(fence).expect("a small upload"));
        }
        one.durable = one.bytes.len();
        match one.length == Some(one.bytes.len() as u64) {
            true => self.finish(upload).map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    pub(super) fn look(&mut self, upload: usize, denied: bool, meanwhile: &[Then]) -> Expected {
        let one = &self.uploads[upload];
        let takes_bytes = one.phase == Phase::Open && !matches!(one.kind, Kind::Final(_));
        if one.phase == Phase::Unknown || denied || !takes_bytes {
            let heard = match one.phase {
                Phase::Unknown => status(404),
                _ if denied => status(403),
                _ => self.view(upload),
            };
            self.leave_alone(upload, meanwhile);
            return heard;
        }
        let awaited = self.awaited(upload);
        match self.open(upload, meanwhile) {
            // A refusal is told like everything else, if there is still something to tell; and a
            // part that becomes complete only now is still awaited.
            Ok(()) | Err(422) => {
                let view = self.view(upload);
                Expected { expires: view.expires.filter(|_| !awaited), ..view }
            }
            Err(refused) => status(refused),
        }
    }

    fn view(&self, upload: usize) -> Expected {
        let one = &self.uploads[upload];
        match one.phase {
            Phase::Unknown => return status(404),
            Phase::Gone(_) => return status(410),
            _ if self.is_expired(upload) => return status(410),
            Phase::Refused => return status(422),
            Phase::Done if one.failed => return status(503),
            Phase::Open | Phase::Done => {}
        }
        let waits = one.phase == Phase::Open && matches!(one.kind, Kind::Final(_));
        Expected {
            offset: (!waits).then_some(one.bytes.len() as u64),
            length: one.length,
            deferred: one.length.is_none() && !waits,
            expires: self.expires(upload),
            ..status(200)
        }
    }

    fn delete(&mut self, upload: usize, denied: bool, stays: bool, meanwhile: &[Then]) -> Expected {
        let refused = match self.uploads[upload].phase {
            Phase::Unknown => Some(404),
            _ if denied => Some(403),
            Phase::Gone(_) => Some(410),
            _ if stays => Some(403),
            _ => None,
        };
        if let Some(refused) = refused {
            self.leave_alone(upload, meanwhile);
            return status(refused);
        }
        self.preempt(upload, meanwhile);
        let one = &mut self.uploads[upload];
        if one.phase == Phase::Unknown {
            return status(404);
        }
        one.phase = Phase::Unknown;
        self.owes |= one.mood == Mood::DeafOnce;
        self.tell_finals(upload);
        status(204)
    }

    fn concat(&mut self, parts: &[usize], mood: Mood, denied: bool) -> Expected {
        if denied {
            return status(403);
        }
        for part in parts {
            let one = &self.uploads[*part];
            match (&one.kind, one.phase) {
                (_, Phase::Unknown) => return status(404),
                (Kind::Single | Kind::Final(_), _) => return status(400),
                (Kind::Partial, Phase::Gone(_)) => return status(404),
                (Kind::Partial, _) if self.is_expired(*part) => return status(410),
                (Kind::Partial, _) => {}
            }
        }
        let length = self.sum(parts);
        if length.is_some_and(|length| length > MAX_SIZE) {
            return status(413);
        }
        if mood == Mood::Unwanted {
            return status(403);
        }
        let upload = self.make(Kind::Final(parts.to_vec()), length, mood);
        status(self.try_final(upload).unwrap_or(201))
    }

    fn sum(&self, parts: &[usize]) -> Option<u64> {
        parts.iter().map(|part| self.uploads[*part].length).sum()
    }

    /// The finals that wait for a part look at it again.
    pub(super) fn tell_finals(&mut self, part: usize) {
        for upload in 0..self.uploads.len() {
            if matches!(&self.uploads[upload].kind, Kind::Final(parts) if parts.contains(&part)) {
                self.try_final(upload);
            }
        }
    }

    /// Ends or completes a final whose parts say so.
    pub(super) fn try_final(&mut self, upload: usize) -> Option<u16> {
        let one = &self.uploads[upload];
        let (Kind::Final(parts), Phase::Open) = (&one.kind, one.phase) else { return None };
        let phases: Vec<_> = parts.iter().map(|part| self.uploads[*part].phase).collect();
        let lost = |phase: &Phase| matches!(phase, Phase::Gone(_) | Phase::Unknown);
        let length = self.sum(parts);
        let bytes: Vec<u8> =
            parts.iter().flat_map(|part| self.uploads[*part].bytes.clone()).collect();
        let gone = Phase::Gone(self.now + minutes(PERIOD));
        let one = &mut self.uploads[upload];
        if phases.iter().any(lost) || length.is_some_and(|length| length > MAX_SIZE) {
            one.phase = gone;
            return Some(410);
        }
        one.length = length.or(one.length);
        if phases.iter().all(|phase| *phase == Phase::Done) {
            one.durable = bytes.len();
            one.bytes = bytes;
            return self.finish(upload);
        }
        None
    }
}

/// A PATCH.
struct Patch<'p> {
    at: u64,
    length: Option<u64>,
    body: &'p Bytes,
    denied: bool,
}

pub(super) fn minutes(minutes: u64) -> i64 {
    i64::try_from(minutes).expect("a short time")
}
