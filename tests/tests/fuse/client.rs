//! A client that forgets nothing it was told, and holds every server to it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    sync::Arc,
};

use tus_tests::process::Random;

use super::{
    machine::{Site, said},
    tally::{Stop, Tally},
    upload::{Role, Upload, alive, same},
};

/// So many deleted uploads are looked for again.
const REMEMBERED: usize = 12;

#[derive(Debug)]
pub(crate) struct Client {
    pub(super) name: String,
    pub(super) random: Random,
    pub(super) uploads: Vec<Upload>,
    pub(super) gone: VecDeque<Upload>,
    /// Every name that was ever asked for in the destination, and the bytes it stands for.
    pub(super) asked: BTreeMap<String, Arc<Vec<u8>>>,
    /// Those that were found there, and whole.
    pub(super) found: BTreeSet<String>,
    /// Groups whose final was complete.
    pub(super) joined: BTreeSet<u64>,
    pub(super) next: u64,
    pub(crate) tally: Tally,
}

impl Client {
    pub(crate) fn new(name: String, random: Random) -> Self {
        Self {
            name,
            random,
            uploads: Vec::new(),
            gone: VecDeque::new(),
            asked: BTreeMap::new(),
            found: BTreeSet::new(),
            joined: BTreeSet::new(),
            next: 0,
            tally: Tally::default(),
        }
    }

    /// Holds the server to everything it has told, until the power is off.
    pub(crate) fn check(&mut self, site: &Site) {
        let mut rest = std::mem::take(&mut self.uploads);
        let done: BTreeMap<_, _> =
            rest.iter().map(|u| (u.path.clone(), self.parts_done(&rest, u.role))).collect();
        let mut lost_groups = BTreeSet::new();
        rest.retain_mut(|upload| {
            if site.is_off() {
                return true;
            }
            match upload.check(site, done[&upload.path], &mut self.tally) {
                Ok(true) => true,
                Ok(false) => {
                    self.forget(upload.clone());
                    false
                }
                Err(Stop::Off) => true,
                Err(stop) => {
                    lost_groups.extend(upload.role.group());
                    self.note(site, &upload.path, stop);
                    false
                }
            }
        });
        // Of no use without the others.
        rest.retain(|upload| upload.role.group().is_none_or(|group| !lost_groups.contains(&group)));
        let finals = rest.iter().filter(|upload| upload.is_done());
        let finals = finals.filter(|upload| matches!(upload.role, Role::Final(_)));
        self.joined.extend(finals.filter_map(|upload| upload.role.group()));
        self.uploads = rest;
        self.check_gone(site);
        if let Err(stop) = self.check_names(site) {
            self.note(site, "", stop);
        }
    }

    pub(super) fn parts_done(&self, uploads: &[Upload], role: Role) -> bool {
        let parts = uploads.iter().filter(|u| matches!(u.role, Role::Part(_)));
        let mut parts = parts.filter(|u| u.role.group() == role.group());
        role.group().is_some_and(|group| self.joined.contains(&group)) || parts.all(Upload::is_done)
    }

    fn check_gone(&mut self, site: &Site) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|upload| {
            if site.is_off() {
                return true;
            }
            match upload.check_gone(site, &mut self.tally) {
                Ok(()) | Err(Stop::Off) => true,
                Err(stop) => {
                    self.note(site, &upload.path, stop);
                    false
                }
            }
        });
        self.gone = gone;
    }

    /// Looks at everything in the destination that can be ours: nothing is half there, nothing is
    /// there twice, also of uploads that the client knows nothing of because the answer was lost.
    fn check_names(&mut self, site: &Site) -> Result<(), Stop> {
        let prefix = format!("{}-", self.name);
        for entry in alive(site, fs::read_dir(&site.files))? {
            let name = alive(site, entry)?.file_name().to_string_lossy().into_owned();
            if !name.starts_with(&prefix) || self.found.contains(&name) {
                continue;
            }
            let Some(body) = self.asked.get(&name) else {
                return Err(Stop::corrupt(format!("{name} was never asked for")));
            };
            let read = alive(site, fs::read(site.files.join(&name)))?;
            if let Err(stop) = same(body, &read) {
                self.note(site, &name, stop);
            }
            self.found.insert(name);
        }
        Ok(())
    }

    pub(super) fn note(&mut self, site: &Site, about: &str, stop: Stop) {
        if let Stop::Fault(fault, words, bytes) = stop {
            let id = about.rsplit('/').next().unwrap_or_default();
            let said = if id.is_empty() { String::new() } else { said(&site.log, id) };
            self.tally.fault(fault, format!("{about}: {words}\n    {said}"), bytes);
        }
    }

    pub(super) fn forget(&mut self, upload: Upload) {
        self.tally.deleted += 1;
        self.gone.push_front(upload);
        self.gone.truncate(REMEMBERED);
    }
}
