//! The directory where finished uploads go, and what lies in it.
//!
//! It belongs to other people too: nothing is opened, replaced or removed there but files that
//! were placed, and no link in it is followed (the directory itself may be one).

use std::{
    io,
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;
use tus_core::{
    Timestamp, UploadId,
    store::{PlaceAs, StoreError, StoreErrorKind, Stored},
};

use crate::{
    Durability, FolderTemplate, Inner, Naming, OnConflict,
    disk::{Dir, File, Open, regular},
    layout::{self, During, Placed},
    naming::{Candidate, Candidates, random_token, sanitize},
    note::{Note, Step},
    object::Object,
};

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) dir: Dir,
    pub(crate) naming: Naming,
    pub(crate) on_conflict: OnConflict,
    pub(crate) folders: FolderTemplate,
    pub(crate) file_mode: u32,
    /// Held while a file is replaced, and from looking at one until it is removed: what was looked
    /// at must be what goes.
    pub(crate) names: Mutex<()>,
    /// What is tried first; tests begin with a step that this machine would not come to.
    pub(crate) first: Step,
}

/// The place that an upload asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) folders: Vec<String>,
    name: Option<String>,
}

impl Destination {
    /// Keeps files from being replaced, and others from removing any.
    pub(crate) fn hold_names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application's folder or the template's, and the application's name or the client's.
    pub(crate) fn wish(&self, id: &UploadId, place: &PlaceAs<'_>) -> Wish {
        let folders = match &place.placement.folder {
            Some(folder) => folder
                .split('/')
                .filter(|segment| !segment.is_empty())
                .take(FolderTemplate::MAX_SEGMENTS)
                .map(|segment| sanitize(&segment.replace('\\', "_")).unwrap_or("_".to_owned()))
                .collect(),
            None => {
                let seconds = place.created_at.as_millis() / 1000;
                let value = |key: &str| place.metadata.get_text(key).map(|text| text.into_owned());
                let folder = self.folders.expand(seconds, id.as_str(), place.owner, &value);
                folder.iter().map(|segment| segment.to_string_lossy().into_owned()).collect()
            }
        };
        let name = place.placement.name.clone();
        let name = name.or_else(|| place.metadata.filename().map(|name| name.into_owned()));
        Wish { folders, name }
    }

    /// The names to try, in order.
    pub(crate) fn candidates(
        &self,
        wish: &Wish,
    ) -> impl Iterator<Item = Result<Candidate, StoreError>> {
        let name = wish.name.as_deref();
        Candidates::new(self.naming, self.on_conflict, name, random_token).map(|candidate| {
            candidate.map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error))
        })
    }
}

impl Inner {
    /// A folder of the destination; `None` when it is missing and not to be made.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if something on the way is no folder, or a link to one.
    pub(crate) fn folder(
        &self,
        to: &Destination,
        folders: &[String],
        make: bool,
    ) -> Result<Option<Dir>, StoreError> {
        let mode = to.dir.metadata().during("look at", "the destination")?.mode();
        let mut folder = to.dir.enter(".").during("open", "the destination")?;
        for name in folders {
            if make {
                let made = folder.make(name, mode).during("create", name)?;
                // Also when it was there: whoever made it may not have come as far as this.
                self.sync_folder(&folder, name).inspect_err(|_| {
                    // See `placed`: what could not be synced must be made anew.
                    if made && let Err(error) = folder.remove_dir(name) {
                        tracing::warn!(%error, "the folder {name} may be lost with the power");
                    }
                })?;
            }
            folder = match folder.enter(name) {
                Ok(folder) => folder,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(taken(&format!("{name} (for a folder)")));
                }
                Err(error) => return Err(error).during("open", name),
            };
            if folder.is_same_as(&self.dir).during("look at", name)? {
                return Err(taken(&format!("{name} (the upload directory)")));
            }
        }
        Ok(Some(folder))
    }

    /// Makes a name in a folder of the destination durable, whether it came or went.
    pub(crate) fn sync_folder(&self, folder: &Dir, name: &str) -> Result<(), StoreError> {
        match self.durability {
            Durability::Power => folder.sync().during("sync the folder of", name),
            Durability::Process => Ok(()),
        }
    }

    /// Opens a placed file, if it is still the one that was placed.
    pub(crate) fn open_placed(&self, placed: &Placed) -> Result<Option<Object>, StoreError> {
        let (folders, name) = layout::split(placed.path());
        let Some(folder) = self.folder_of_placed(&folders)? else {
            return Ok(None);
        };
        let Some(file) = open_file(&folder, name)? else {
            return Ok(None);
        };
        let found = file.metadata().during("look at", name)?;
        match placed.is(&found) {
            true => whole(file).during("look at", name).map(Some),
            false => Ok(None),
        }
    }

    /// Removes a placed file, if it is still the one that was placed.
    pub(crate) fn remove_placed(&self, placed: &Placed) -> Result<(), StoreError> {
        let (folders, name) = layout::split(placed.path());
        let Some(folder) = self.folder_of_placed(&folders)? else {
            return Ok(());
        };
        {
            let _held = self.destination.as_ref().map(Destination::hold_names);
            if self.open_placed(placed)?.is_some() {
                folder.unlink(name).during("remove", name)?;
            }
        }
        self.sync_folder(&folder, name)
    }

    /// The folder that a file was placed in, if there is one.
    pub(crate) fn folder_of_placed(&self, folders: &[String]) -> Result<Option<Dir>, StoreError> {
        let Some(to) = &self.destination else {
            return Ok(None);
        };
        match self.folder(to, folders, false) {
            // Something else has its folder's name now.
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Ok(None),
            folder => folder,
        }
    }

    /// Where an upload is whose finish moved it away and was not recorded.
    pub(crate) fn open_moved(&self, id: &UploadId) -> Result<Option<Object>, StoreError> {
        let Some(Note { step: Step::Move, path }) = self.read_note(id)? else {
            return Ok(None);
        };
        let (folders, name) = layout::split(&path);
        let Some(folder) = self.folder_of_placed(&folders)? else {
            return Ok(None);
        };
        match open_file(&folder, name)? {
            Some(file) => whole(file).during("look at", name).map(Some),
            None => Ok(None),
        }
    }
}

/// Opens what may be a placed file; a link or a socket is none.
fn open_file(folder: &Dir, name: &str) -> Result<Option<File>, StoreError> {
    let file = match folder.open(name, Open::Read) {
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            _ => return Err(error).during("open", name),
        },
        Ok(file) => file,
    };
    Ok(regular(&file).is_ok().then_some(file))
}

fn whole(file: File) -> io::Result<Object> {
    let found = file.metadata()?;
    let modified = Timestamp::from(found.modified()?);
    Ok(Object::whole(file, Stored { length: found.len(), synced: true, modified }))
}

/// The refusal of an upload whose name or folder somebody else has.
pub(crate) fn taken(what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, format!("{what} is taken in the destination"))
}
