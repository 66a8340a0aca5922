//! Putting a whole upload into the destination under its own name.
//!
//! For each name that is tried: note it, give it to the bytes without replacing anything, sync the
//! folder. Which of two uploads gets a name is decided by the kernel. The bytes stay where they
//! were until the engine has recorded where they are now and has them removed.
//!
//! | upload directory and destination | how | a repeat knows its own work by |
//! |---|---|---|
//! | on one file system | a second name | the inode |
//! | on two | a copy beside the place, synced, then renamed | the copy being gone |
//! | on one that has no links | rename | the source being gone |
//!
//! So a copy is only ever removed after the note that speaks of it.

use rustix::io::Errno;
use tus_core::{
    Locator, UploadId,
    store::{StoreError, StoreErrorKind},
};

use crate::{
    Durability, Inner,
    destination::{Destination, Wish, taken},
    disk::{Dir, File, Node, Open, regular},
    layout::{self, During, Place, Placed},
    naming::{Candidate, IfTaken},
    note::{Note, Step},
    object::Object,
};

/// How often one name is looked at again because it came and went.
const LOOKS: usize = 32;

impl Inner {
    /// Refuses an upload whose only name is taken already.
    pub(crate) fn refuse_taken(&self, to: &Destination, wish: &Wish) -> Result<(), StoreError> {
        let first = to.candidates(wish).next().transpose()?;
        let Some(Candidate { name, taken: IfTaken::Refuse }) = first else {
            return Ok(());
        };
        match self.folder(to, &wish.folders, false)? {
            Some(folder) if folder.stat(&name).during("look for", &name)?.is_some() => {
                Err(taken(&join(&wish.folders, &name)))
            }
            _ => Ok(()),
        }
    }

    /// Puts an upload of `length` bytes in its place, or finds it there.
    pub(crate) fn place(
        &self,
        to: &Destination,
        id: &UploadId,
        length: u64,
        wish: &Wish,
    ) -> Result<Locator, StoreError> {
        let note = self.read_note(id)?;
        let object = match (self.whole(id, length), &note) {
            (Err(error), Some(Note { step: Step::Move, path })) if error.is_not_found() => {
                return match self.open_moved(id)? {
                    Some(object) if object.stored.length == length => {
                        self.placed(to, id, Step::Move, path)
                    }
                    _ => Err(error),
                };
            }
            (object, _) => object?,
        };
        if let Some(note) = &note {
            if self.is_done(id, &object, note)? {
                return self.placed(to, id, note.step, &note.path);
            }
            self.forget_note(id)?;
        }
        self.show(&object.file, to)?;
        let Some(folder) = self.folder(to, &wish.folders, true)? else {
            return Err(StoreError::new(StoreErrorKind::Other, "a new folder has vanished"));
        };
        let mut placing = Placing { store: self, to, id, object, wish, folder, step: to.first };
        for candidate in to.candidates(wish) {
            if let Some(locator) = placing.attempt(&candidate?)? {
                return Ok(locator);
            }
        }
        self.forget_note(id)?;
        Err(taken("every name that was tried"))
    }

    /// The upload, settled and durable, if it has exactly `length` bytes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it has not: somebody knew that it had, and no repeat will bring them back.
    pub(crate) fn whole(&self, id: &UploadId, length: u64) -> Result<Object, StoreError> {
        let mut object = self.look(id)?;
        if object.stored.length != length {
            let text = format!("upload {id} has {} bytes of {length}", object.stored.length);
            return Err(StoreError::new(StoreErrorKind::Corrupt, text));
        }
        self.settle(id, &mut object)?;
        if !object.stored.synced {
            self.sync(id, &object, length)?;
        }
        Ok(object)
    }

    /// Whether the step that was noted has been done.
    fn is_done(&self, id: &UploadId, object: &Object, note: &Note) -> Result<bool, StoreError> {
        let (folders, name) = layout::split(&note.path);
        let Some(folder) = self.folder_of_placed(&folders)? else {
            return Ok(false);
        };
        let Some(found) = folder.stat(name).during("look for", name)? else {
            return Ok(false);
        };
        if !found.is_file || found.length != object.stored.length {
            return Ok(false);
        }
        let part = layout::part(id);
        let done = match note.step {
            Step::Link => found.node == node(&object.file)?,
            Step::Copied => match folder.stat(&part).during("look for", &part)? {
                Some(copy) => found.node == copy.node,
                None => true,
            },
            Step::Copying | Step::Move => false,
        };
        if done {
            folder.unlink(&part).during("remove", &part)?;
        }
        Ok(done)
    }

    /// Forgets what was noted, and what was made beside the place.
    pub(crate) fn forget_note(&self, id: &UploadId) -> Result<(), StoreError> {
        let note = self.read_note(id)?;
        self.remove_note(id)?;
        let Some(Note { path, .. }) = note else {
            return Ok(());
        };
        let (folders, _) = layout::split(&path);
        if let Some(folder) = self.folder_of_placed(&folders)? {
            let part = layout::part(id);
            folder.unlink(&part).during("remove", &part)?;
        }
        Ok(())
    }

    /// The locator of a file that has its name, which becomes durable.
    ///
    /// A name whose sync failed may be lost although it is seen, and although the next sync says
    /// otherwise: it is taken back, so that a repeat gives it anew.
    fn placed(
        &self,
        to: &Destination,
        id: &UploadId,
        step: Step,
        path: &str,
    ) -> Result<Locator, StoreError> {
        let (folders, name) = layout::split(path);
        let Some(folder) = self.folder(to, &folders, true)? else {
            return Err(StoreError::new(StoreErrorKind::Other, "a new folder has vanished"));
        };
        let file = folder.open(name, Open::Read).during("open", name)?;
        let found = regular(&file).during("look at", name)?;
        self.sync_folder(&folder, name).inspect_err(|_| {
            let back = match step {
                Step::Link => folder.unlink(name).map(drop),
                Step::Move => folder.rename(name, &self.dir, &layout::data(id)),
                Step::Copying | Step::Copied => folder.rename(name, &folder, &layout::part(id)),
            };
            if let Err(error) = back {
                tracing::error!(upload = %id, %error, "{path} could not be taken back");
            }
        })?;
        Ok(Place::Placed(Placed::new(path, &found)).locator())
    }

    /// Gives a file the mode in which people find it, durably, with the time of its last write.
    fn show(&self, file: &File, to: &Destination) -> Result<(), StoreError> {
        let name = "the file to be placed";
        file.set_mode(to.file_mode).during("change", name)?;
        match self.durability {
            Durability::Power => file.sync_all().during("sync", name),
            Durability::Process => Ok(()),
        }
    }
}

/// One upload on its way into one folder.
struct Placing<'a> {
    store: &'a Inner,
    to: &'a Destination,
    id: &'a UploadId,
    object: Object,
    wish: &'a Wish,
    folder: Dir,
    step: Step,
}

impl Placing<'_> {
    /// Tries one name; `None` is one that is taken, where there are more to try.
    fn attempt(&mut self, candidate: &Candidate) -> Result<Option<Locator>, StoreError> {
        let Candidate { name, taken: if_taken } = candidate;
        let path = join(&self.wish.folders, name);
        for _ in 0..LOOKS {
            if let Some(found) = self.folder.stat(name).during("look for", name)? {
                if found.node == node(&self.object.file)? {
                    return self.store.placed(self.to, self.id, Step::Link, &path).map(Some);
                }
                match if_taken {
                    IfTaken::Next => return Ok(None),
                    IfTaken::Replace if found.is_file => {}
                    IfTaken::Replace | IfTaken::Refuse => {
                        self.store.forget_note(self.id)?;
                        return Err(taken(&path));
                    }
                }
            }
            if self.step == Step::Copying {
                self.note(Step::Copying, &path)?;
                self.copy().inspect_err(|_| {
                    if let Err(error) = self.store.forget_note(self.id) {
                        tracing::warn!(upload = %self.id, %error, "part of a copy is left");
                    }
                })?;
                self.step = Step::Copied;
            }
            self.note(self.step, &path)?;
            match (self.give_name(name, *if_taken == IfTaken::Replace), self.step) {
                (Ok(()), step) => {
                    return self.store.placed(self.to, self.id, step, &path).map(Some);
                }
                // Somebody was faster: look what it is.
                (Err(Errno::EXIST), _) => {}
                (Err(Errno::XDEV), Step::Link | Step::Move) => self.step = Step::Copying,
                (Err(error), Step::Link) if has_no_links(error) => self.step = Step::Move,
                (Err(error), _) => return Err(error).during("place", &path),
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, format!("{path} comes and goes")))
    }

    fn note(&self, step: Step, path: &str) -> Result<(), StoreError> {
        self.store.write_note(self.id, &Note { step, path: path.to_owned() })
    }

    /// Gives the bytes their name.
    fn give_name(&self, name: &str, replace: bool) -> Result<(), Errno> {
        let (data, part) = (layout::data(self.id), layout::part(self.id));
        let (dir, folder) = (&self.store.dir, &self.folder);
        let _held = replace.then(|| self.to.hold_names());
        match (self.step, replace) {
            (Step::Link, false) => dir.link(&data, folder, name),
            (Step::Link, true) => {
                // One that is there is of an attempt that got lost, and perhaps not whole.
                folder.unlink(&part)?;
                dir.link(&data, folder, &part)?;
                folder.rename(&part, folder, name)
            }
            (Step::Move, false) => dir.rename_new(&data, folder, name),
            (Step::Move, true) => dir.rename(&data, folder, name),
            (Step::Copying | Step::Copied, false) => folder.rename_new(&part, folder, name),
            (Step::Copying | Step::Copied, true) => folder.rename(&part, folder, name),
        }
    }

    /// Copies the bytes to a file beside their place, durably, with a name that is durable too:
    /// its absence will mean that it was renamed.
    fn copy(&self) -> Result<(), StoreError> {
        let (data, part) = (layout::data(self.id), layout::part(self.id));
        self.folder.unlink(&part).during("remove", &part)?;
        let copy = self.folder.open(&part, Open::New).during("create", &part)?;
        let source = self.store.dir.open(&data, Open::Read).during("open", &data)?;
        let length = self.object.stored.length;
        let copied = copy.copy_from(&source, length, 0).during("copy", &data)?;
        if copied != length {
            let text = format!("{data} has {copied} bytes of {length}");
            return Err(StoreError::new(StoreErrorKind::Corrupt, text));
        }
        self.store.show(&copy, self.to)?;
        self.store.sync_folder(&self.folder, &part)
    }
}

fn node(file: &File) -> Result<Node, StoreError> {
    file.node().during("look at", "the upload")
}

fn has_no_links(error: Errno) -> bool {
    matches!(error, Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)
}

fn join(folders: &[String], name: &str) -> String {
    folders.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/")
}
