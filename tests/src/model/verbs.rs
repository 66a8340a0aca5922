//! The rules of each verb.

use super::{
    Bytes, MAX_SIZE, Mood, Reference, Request, Says, Then,
    create::New,
    reference::{Expected, Kind, Phase, Who, status},
    transfer::Transfer,
};

impl Reference {
    /// Somebody asks. A PATCH or creation with a body is under way then, unless it is answered.
    pub(super) fn ask(&mut self, who: Who, request: &Request, denied: bool, meanwhile: &[Then]) {
        match &self.resolve(request) {
            Request::Create { says, partial, length, mood, body } => {
                let kind = if *partial { Kind::Partial } else { Kind::Single };
                let new = New { says: *says, kind, length: length.map(u64::from), mood: *mood };
                self.create(who, new, denied, body.as_ref());
            }
            Request::Append { says, upload, behind, beside, length, body } => {
                let Some(upload) = self.pick(*upload) else { return };
                let (stored, told) = self.offsets(upload);
                let from = if *behind { told } else { stored };
                let at = from.saturating_add_signed(i64::from(*beside));
                let said = length.map(u64::from);
                let (length, agree) = declared(*says, said, at, known(who, Some(body)));
                let patch = Patch { says: *says, at, length, body, denied };
                if !agree {
                    return self.refuses_head(who, upload, &patch, meanwhile);
                }
                self.append(who, upload, &patch, meanwhile);
            }
            Request::Head { says, upload } => {
                let Some(upload) = self.pick(*upload) else { return };
                let heard = self.look(upload, *says, denied, meanwhile);
                self.hears(who, heard);
            }
            Request::Delete { upload, stays, .. } => {
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

    /// The two lengths that a PATCH of RUFH tells differ: nothing else is looked at, but whether
    /// it is for a final.
    fn refuses_head(&mut self, who: Who, upload: usize, patch: &Patch<'_>, meanwhile: &[Then]) {
        let one = &self.uploads[upload];
        let is_final = matches!(one.kind, Kind::Final(_)) && !patch.denied;
        let there = !matches!(one.phase, Phase::Gone(_) | Phase::Unknown);
        self.leave_alone(upload, meanwhile);
        self.hears(who, status(if is_final && there { 403 } else { 400 }));
    }

    fn append(&mut self, who: Who, upload: usize, patch: &Patch<'_>, meanwhile: &[Then]) {
        if let Some(refused) = self.is_closed(upload, patch.denied) {
            self.leave_alone(upload, meanwhile);
            return self.hears(who, status(refused));
        }
        // Whoever has no hope does not stop a transfer.
        let hopeless = self.hopeless(upload, patch);
        if !hopeless.is_empty() {
            let conflict = patch.says.is_rufh().then(|| self.offset(upload));
            self.leave_alone(upload, meanwhile);
            return self.hears(who, Expected { status: hopeless, conflict, ..Expected::default() });
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
        if patch.says == Says::Later && self.uploads[upload].phase == Phase::Done {
            wrong.push(400);
        }
        if !wrong.is_empty() {
            let conflict = patch.says.is_rufh().then_some(start);
            return self.hears(who, Expected { status: wrong, conflict, ..Expected::default() });
        }
        let sealed = self.uploads[upload].phase == Phase::Done;
        let (proof, declares) = (patch.body.proof, one.length.is_none() && length.is_some());
        let one = &mut self.uploads[upload];
        let awaited_end = one.awaits_end;
        if !sealed {
            // What is to be proven must leave no trace before it is.
            match patch.says {
                Says::Later => one.awaits_end = true,
                Says::Tus if !proof.is_promised() => one.awaits_end = false,
                Says::Tus | Says::Complete => {}
            }
            match proof.is_promised() {
                true => one.fence = Some(start),
                false => one.length = length,
            }
        }
        self.transfers.push(Transfer {
            who,
            upload,
            says: patch.says,
            awaited_end,
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
        if length.is_some_and(|length| patch.at <= length && end > length) {
            wrong.push(too_long(patch.says));
        }
        let most = patch.length.or(length.is_none().then_some(end));
        if most.is_some_and(|most| most > MAX_SIZE) {
            wrong.push(413);
        }
        wrong
    }

    /// What cannot become right, whatever the holder of the upload has still to store.
    fn hopeless(&self, upload: usize, patch: &Patch<'_>) -> Vec<u16> {
        let (one, stored) = (&self.uploads[upload], self.offset(upload));
        let mut hopeless = self.wrong(upload, patch);
        // RUFH tells where the upload is, which must be durable first, under the lease.
        let volatile = one.phase == Phase::Open && one.durable < one.bytes.len();
        if patch.says.is_rufh() && volatile {
            return hopeless;
        }
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
        match one.length == Some(one.bytes.len() as u64) && !one.awaits_end {
            true => self.finish(upload).map_or(Ok(()), Err),
            false => Ok(()),
        }
    }

    pub(super) fn look(
        &mut self,
        upload: usize,
        says: Says,
        denied: bool,
        meanwhile: &[Then],
    ) -> Expected {
        let one = &self.uploads[upload];
        let takes_bytes = one.phase == Phase::Open && !matches!(one.kind, Kind::Final(_));
        if one.phase == Phase::Unknown || denied || !takes_bytes {
            let heard = match one.phase {
                Phase::Unknown => status(404),
                _ if denied => status(403),
                _ => self.view(upload, says),
            };
            self.leave_alone(upload, meanwhile);
            return heard;
        }
        let awaited = self.awaited(upload);
        match self.open(upload, meanwhile) {
            // A refusal is told like everything else, if there is still something to tell; and a
            // part that becomes complete only now is still awaited.
            Ok(()) | Err(422) => {
                let view = self.view(upload, says);
                Expected { expires: view.expires.filter(|_| !awaited), ..view }
            }
            Err(refused) => status(refused),
        }
    }

    fn view(&self, upload: usize, says: Says) -> Expected {
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
        let offset = (!waits).then_some(one.bytes.len() as u64);
        if says.is_rufh() {
            return Expected {
                offset: offset.or(Some(0)),
                length: one.length,
                complete: Some(one.phase == Phase::Done),
                ..status(204)
            };
        }
        // tus takes for complete what has its length.
        let full = one.phase == Phase::Open && offset.is_some() && offset == one.length;
        Expected {
            offset,
            length: one.length.filter(|_| !full),
            deferred: full || (one.length.is_none() && !waits),
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
        match one.phase {
            Phase::Unknown => return status(404),
            // It has outgrown its length in the meantime.
            Phase::Gone(_) => return status(410),
            Phase::Open | Phase::Done | Phase::Refused => {}
        }
        one.phase = Phase::Unknown;
        self.owes |= one.mood == Mood::DeafOnce;
        self.tell_finals(upload);
        status(204)
    }
}

/// A PATCH.
struct Patch<'p> {
    says: Says,
    at: u64,
    /// What it tells of the length, in whatever way.
    length: Option<u64>,
    body: &'p Bytes,
    denied: bool,
}

/// What the head says that its body has, if it says it. That of a client that pauses never says
/// that it is empty.
pub(super) fn known(who: Who, body: Option<&Bytes>) -> Option<u64> {
    let Some(body) = body else { return Some(0) };
    let total = body.total();
    (body.announced && (total > 0 || who == Who::Asking)).then_some(total)
}

/// The length that a head tells, and whether all that tells it agrees: in RUFH the body that is
/// the last one tells it, too.
pub(super) fn declared(
    says: Says,
    said: Option<u64>,
    at: u64,
    content: Option<u64>,
) -> (Option<u64>, bool) {
    let reached = content.filter(|_| says == Says::Complete).map(|content| at + content);
    let agree = said.is_none() || reached.is_none() || said == reached;
    (said.or(reached), agree)
}

/// What a body hears that is longer than its upload.
pub(super) fn too_long(says: Says) -> u16 {
    if says.is_rufh() { 400 } else { 413 }
}

pub(super) fn minutes(minutes: u64) -> i64 {
    i64::try_from(minutes).expect("a short time")
}
