//! What is left of everything after a kill, and what the application was told.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::{Case, PATIENCE},
    site::Which,
    upload::{Fate, Role, Upload},
};

/// The mortal server without hooks for what ends.
pub(crate) const DEAF: &str = "--deaf=yes";

impl Case<'_> {
    /// The events of a kind that the application heard of an upload, each once.
    pub(crate) fn told(&self, kind: &str, upload: &Upload) -> Vec<String> {
        let events = self.site.events().into_iter();
        let mut told: Vec<_> = events
            .filter(|[told, id, _]| told == kind && id == upload.id())
            .map(|[.., event]| event)
            .collect();
        told.sort();
        told.dedup();
        told
    }

    /// Waits until nothing is left of what is gone, and everything was told.
    pub(crate) fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.tally.drafts = loop {
            match self.remains() {
                Ok(drafts) => break drafts,
                // The sweep that follows every start may not be through.
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Err(left) => panic!("{left}: {:?} {:?}", self.site.names(), self.uploads),
            }
        };
        self.tally.repeats = self.repeats();
    }

    /// How often something was told again; always with the id that it had before.
    fn repeats(&self) -> u64 {
        let mut events = self.site.events();
        let all = events.len();
        events.sort();
        events.dedup();
        let repeats = all - events.len();
        for pair in events.windows(2) {
            assert_ne!(pair[0][..2], pair[1][..2], "two events for one thing");
        }
        for upload in self.uploads.iter().filter(|upload| upload.role == Role::Part) {
            assert_eq!(self.told("finished", upload), [""; 0], "a part was announced");
        }
        repeats as u64
    }

    /// How many drafts of records are on the disk that never took effect; an error if anything
    /// else does not belong there.
    fn remains(&self) -> Result<u64, String> {
        let mut drafts = 0;
        for (id, suffix, length) in self.site.names() {
            let upload = self.uploads.iter().find(|upload| upload.id() == id);
            let known = upload.map(|upload| (upload.fate, upload.role));
            match (known, suffix.as_str()) {
                (Some((Fate::Whole | Fate::PartLost | Fate::Expired, _)), "rec") => {}
                (Some((Fate::Whole, Role::Part)), "bin" | "slot") => {}
                // The next update of that record takes its place.
                (Some((Fate::Whole, _)), "rec.tmp") => drafts += 1,
                _ => return Err(format!("{id}.{suffix} ({length} bytes) is left over")),
            }
        }
        for upload in self.uploads.iter().filter(|_| !self.is_deaf()) {
            let kind = match upload.fate {
                Fate::Ended => "terminated",
                Fate::Expired => "expired",
                _ => continue,
            };
            if self.told(kind, upload).is_empty() {
                return Err(format!("nobody was told that {} is {kind}", upload.path));
            }
        }
        let placed = |upload: &&Upload| upload.fate == Fate::Whole && upload.role != Role::Part;
        let mut bodies: Vec<_> =
            self.uploads.iter().filter(placed).map(|upload| &upload.body).collect();
        bodies.sort();
        let files = self.site.placed();
        let mut found: Vec<_> = files.iter().map(|(_, bytes)| bytes).collect();
        found.sort();
        if found != bodies {
            let names: Vec<_> = files.iter().map(|(name, bytes)| (name, bytes.len())).collect();
            return Err(format!("{} files are to be there, not {names:?}", bodies.len()));
        }
        Ok(drafts)
    }

    /// Whether there is no application that hears what ends.
    fn is_deaf(&self) -> bool {
        self.site.which == Which::TusServer || self.more.iter().any(|word| word == DEAF)
    }
}
