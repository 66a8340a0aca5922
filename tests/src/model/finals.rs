//! The rules of finals.

use super::{
    MAX_SIZE, Mood, PERIOD, Reference,
    reference::{Expected, Kind, Phase, status},
    verbs::minutes,
};

impl Reference {
    pub(super) fn concat(&mut self, parts: &[usize], mood: Mood, denied: bool) -> Expected {
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
