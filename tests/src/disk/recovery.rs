//! What clients find when the server is back, and that they come to their ends.

use std::collections::{BTreeMap, BTreeSet};

use tus_core::UploadId;
use tus_core::store::MetaStore;
use tus_fs::{Durability, FsStore};

use super::{Client, Event, Known, Placing, Role, client::PATIENCE};
use crate::rig::{Ask, Frames};

/// What is left of an upload of which nothing was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Salvaged {
    /// It comes to its end.
    Whole,
    /// It does, with zeros where bytes were lost.
    Holes,
    /// It was lost.
    Gone,
    /// It can only be refused, as what is stored of it contradicts itself.
    Refused,
}

impl Client {
    /// Goes on with an upload after a loss of power that nothing was promised to survive.
    ///
    /// # Panics
    ///
    /// If it is stuck, or comes to an end with bytes that nobody sent.
    pub async fn salvage(&self, id: &str, known: &Known) -> Salvaged {
        let url = format!("/files/{id}");
        let body = &known.plan.body;
        let mut last = None;
        for _ in 0..12 {
            let head = Ask::head(&url).send(&self.tus).await;
            last = Some(head.status);
            match (head.status, head.offset()) {
                (404 | 410, _) => return Salvaged::Gone,
                (422, _) => return Salvaged::Whole,
                (200, Some(offset))
                    if offset == known.length() && head.length() == Some(offset) =>
                {
                    let answer = Ask::get(&url).send(&self.tus).await;
                    match answer.status {
                        200 if answer.body == *body => return Salvaged::Whole,
                        200 => {}
                        410 => return Salvaged::Gone,
                        500 => return Salvaged::Refused,
                        _ => panic!("GET {id}: {answer:?}"),
                    }
                    assert_eq!(answer.body.len(), body.len(), "GET {id}");
                    let mut pairs = answer.body.iter().zip(body);
                    assert!(pairs.all(|(got, sent)| got == sent || *got == 0), "{id}: other bytes");
                    return Salvaged::Holes;
                }
                (200, Some(offset)) => {
                    assert!(offset <= known.length(), "{id} has {offset} bytes");
                    let rest = body.slice(usize::try_from(offset).expect("a small test")..);
                    let patch = Ask::patch(&url, offset).length(known.length());
                    patch.body(Frames::whole(&rest)).send(&self.tus).await;
                }
                // A final waits for its parts, which may be lost for good.
                (200, None) => {
                    self.tus.sweep().await;
                    self.pause(&head).await;
                }
                (423 | 500.., _) => self.pause(&head).await,
                _ => panic!("HEAD {id}: {head:?}"),
            }
        }
        // The application says 503 if it cannot read what it is told of. And a final may wait for a
        // part that its client has to send again.
        let is_final = matches!(known.plan.role, Role::Final(_));
        let is_said = matches!(last, Some(500 | 503)) || (last == Some(200) && is_final);
        assert!(is_said, "{id} is stuck: {last:?}");
        Salvaged::Refused
    }

    /// Holds the server to all that it has told, and brings every upload to its end.
    ///
    /// # Panics
    ///
    /// If it does not keep its word.
    pub async fn recover(&self) {
        let ids: Vec<_> = self.house.knowledge().uploads.keys().cloned().collect();
        for id in &ids {
            self.go_on(id).await;
        }
    }

    async fn go_on(&self, id: &str) {
        let known = self.known(id);
        if known.is_late && self.house.setup.fails_at_times {
            // A sweep that was interrupted is gone on with by the next one.
            self.settle().await;
        }
        if known.is_ended || known.is_missing || known.is_late {
            let head = self.head(id).await;
            assert!(matches!(head.status, 404 | 410), "{id} is back: {head:?}, {known:?}");
            return;
        }
        if known.is_ending {
            self.head(id).await;
            return self.end(id).await;
        }
        let is_final = matches!(known.plan.role, Role::Final(_));
        if !known.is_created {
            match self.try_head(id).await {
                Ok(head) if matches!(head.status, 404 | 410) => return,
                // What could neither be made nor unmade has a URL that nobody knows.
                Err(_) if self.house.setup.fails_at_times => return,
                Ok(_) if self.house.setup.fails_at_times && is_final => return,
                Ok(_) => {}
                Err(last) => panic!("HEAD {id} is never answered: {last:?}"),
            }
        }
        let found = self.finish(id).await;
        let may = found || self.is_used_up(id) || !known.is_created;
        assert!(may, "{id} is gone: {known:?}");
        if !found {
            return;
        }
        let known = self.known(id);
        assert!(known.is_whole != known.is_refused, "{id}: {known:?}");
    }

    /// Whether an upload may have been removed because a final has its bytes.
    pub(super) fn is_used_up(&self, id: &str) -> bool {
        let knowledge = self.house.knowledge();
        self.house.setup.policy.remove_used_parts
            && knowledge.uploads.values().any(|known| match &known.plan.role {
                Role::Final(parts) => parts.iter().any(|part| part == id),
                _ => false,
            })
    }

    /// In the end everything that was sent is where it belongs, told, and nothing else is there.
    ///
    /// # Panics
    ///
    /// If not.
    pub async fn has_kept_house(&self, store: &FsStore) {
        self.settle().await;
        let knowledge = self.house.knowledge().clone();
        // Two finals may be made of the same parts.
        let mut wanted: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (id, known) in &knowledge.uploads {
            let events = |what| known.events.get(&what).map_or(0, BTreeSet::len);
            let is_part = known.plan.role == Role::Partial;
            if known.is_whole && !known.is_ended && !known.is_missing {
                let answer = self.get(id).await;
                let is_replaced = self.house.setup.placing == Placing::Replaces;
                if (answer.status == 404 && self.is_used_up(id))
                    || (answer.status == 410 && is_replaced)
                {
                    continue;
                }
                assert_eq!(answer.status, 200, "GET {id}: {answer:?}");
                assert!(answer.body == known.plan.body, "GET {id}: other bytes than were sent");
                if !is_part {
                    *wanted.entry(known.plan.body.to_vec()).or_default() += 1;
                }
            }
            if (known.is_whole || known.is_refused) && !is_part {
                assert_eq!(events(Event::Finished), 1, "{id} was not announced");
            }
            assert!(!is_part || events(Event::Finished) == 0, "the part {id} is announced");
            if known.is_ended {
                assert_eq!(events(Event::Terminated), 1, "the end of {id} was not told");
            }
        }
        self.is_tidy(store, &wanted).await;
    }

    /// Whether these may be the bytes of an upload whose creation was answered with a failure, and
    /// which came to its end all the same.
    fn may_be_through(&self, bytes: &[u8]) -> bool {
        let knowledge = self.house.knowledge();
        self.house.setup.fails_at_times
            && knowledge.uploads.values().any(|one| !one.is_created && one.plan.body == bytes)
    }

    async fn is_tidy(&self, store: &FsStore, wanted: &BTreeMap<Vec<u8>, usize>) {
        let placed = self.house.placed();
        if self.house.setup.placing == Placing::Stays {
            assert!(placed.is_empty());
        } else {
            for (body, wanted) in wanted {
                let count = placed.iter().filter(|(_, bytes)| bytes == body).count();
                let why = "copies of a finished upload in the destination";
                // One whose creation was answered with a failure may have come to its end as well.
                let may = self.house.setup.fails_at_times && count > 0;
                assert!(count == *wanted || may, "{why}: {count} for {wanted}");
            }
            let all = self.house.setup.placing != Placing::Replaces;
            for (name, bytes) in placed {
                let is_ours = wanted.contains_key(&bytes) || self.may_be_through(&bytes);
                assert!(
                    is_ours || !all,
                    "{name} is left in the destination: {} bytes",
                    bytes.len()
                );
                assert!(!name.contains(".tus-"), "{name} is left in the destination");
            }
        }
        if self.house.setup.is_untidy {
            return;
        }
        for (name, bytes) in self.house.uploaded() {
            let (id, kind) = name.split_once('.').expect("a name of ours");
            let id: UploadId = id.parse().expect("an id");
            let mut loaded = MetaStore::load(store, &id).await;
            for _ in 0..PATIENCE {
                if loaded.as_ref().is_err_and(|error| !error.is_not_found()) {
                    loaded = MetaStore::load(store, &id).await;
                }
            }
            let upload = match loaded {
                Ok((upload, _)) => upload,
                Err(error) if error.is_not_found() => {
                    // Of a creation that came to nothing, or an end that was cut off at its last
                    // step, an empty file may be left.
                    assert!(
                        kind != "bin" || bytes.is_empty(),
                        "{name} is left: {} bytes",
                        bytes.len()
                    );
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            let has_bytes = upload.locator.as_str().starts_with("upload:");
            let is_needed = match kind {
                // The next change of the record writes over it; the end of the upload removes it.
                "rec" | "rec.tmp" => true,
                "bin" | "slot" => has_bytes,
                _ => false,
            };
            assert!(is_needed, "{name} is left: {upload:?}");
        }
    }

    /// What must be on the disk already, before anybody asks the server.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn is_durable(&self) {
        let house = &self.house;
        let setup = &house.setup;
        if setup.durability != Durability::Power
            || setup.rejects
            || setup.placing == Placing::Replaces
        {
            return;
        }
        let stays = setup.placing == Placing::Stays;
        let files = if stays { house.uploaded() } else { house.placed() };
        let knowledge = house.knowledge();
        for (id, known) in &knowledge.uploads {
            let is_due = known.is_whole || known.is_announced();
            if known.plan.role == Role::Partial || !is_due || known.is_ending {
                continue;
            }
            let found = files.iter().any(|(_, bytes)| *bytes == known.plan.body);
            assert!(found, "{id} was announced, and its bytes are lost");
        }
    }
}
