//! The bytes of one upload as they lie on the disk, and how many of them count.
//!
//! While the machine stays up, the length of the file is the offset. After a reboot, bytes beyond
//! the last sync point prove nothing; they are cut before anything is done with the rest.
//!
//! Everything here may wait for the disk, except [`Inner::look`], which only reads what the page
//! cache almost always has.

use tus_core::{
    Timestamp, UploadId,
    store::{StoreError, StoreErrorKind, Stored},
};

use crate::{
    Durability, Inner,
    disk::{File, Open, regular},
    layout::{self, During},
    slots::{Slot, Slots, sync_point},
};

/// The files of an upload, open.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) file: File,
    /// None under `process`, and where an upload was made under it.
    slots: Option<Slots>,
    newest: Option<Slot>,
    on_disk: u64,
    pub(crate) stored: Stored,
}

impl Inner {
    /// Looks how much of an upload is there, and changes nothing.
    pub(crate) fn look(&self, id: &UploadId) -> Result<Object, StoreError> {
        let name = layout::data(id);
        let file = self.dir.open(&name, Open::Write).during("open", &name)?;
        let found = regular(&file).during("look at", &name)?;
        let modified = Timestamp::from(found.modified().during("look at", &name)?);
        let (slots, newest) = self.open_slots(id)?;
        let on_disk = found.len();
        let (length, synced) = match (self.durability, &slots, newest) {
            (Durability::Process, ..) => (on_disk, true),
            (Durability::Power, None, _) => (on_disk, false),
            (Durability::Power, Some(_), Some(slot)) if on_disk < slot.offset => {
                let text = format!("{name} has {on_disk} bytes, {} were synced", slot.offset);
                return Err(StoreError::new(StoreErrorKind::Corrupt, text));
            }
            (Durability::Power, Some(_), Some(slot)) if slot.boot == self.boot => {
                (on_disk, on_disk == slot.offset && slot.start == self.start)
            }
            // Whoever wrote it may have been killed before it was durable.
            (Durability::Power, Some(_), Some(slot)) => (slot.offset, slot.start == self.start),
            (Durability::Power, Some(_), None) => (0, true),
        };
        if let Some(slots) = &slots
            && length < on_disk
            && slots.is_damaged()
        {
            // The other one names what was synced before it. If it was the newer that was damaged,
            // and not torn when the power went, bytes that were told are cut now.
            tracing::warn!(upload = %id, on_disk, length, "a sync point cannot be read");
        }
        Ok(Object { file, slots, newest, on_disk, stored: Stored { length, synced, modified } })
    }

    fn open_slots(&self, id: &UploadId) -> Result<(Option<Slots>, Option<Slot>), StoreError> {
        if self.durability == Durability::Process {
            return Ok((None, None));
        }
        let name = layout::slots(id);
        let file = match self.dir.open(&name, Open::Write) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, None)),
            file => file.during("open", &name)?,
        };
        regular(&file).during("look at", &name)?;
        let slots = Slots::new(file, self.start);
        let newest = slots.newest().during("read", &name)?;
        Ok((Some(slots), newest))
    }

    /// Makes the files of an upload of which nothing is there yet.
    pub(crate) fn make(&self, id: &UploadId) -> Result<(), StoreError> {
        let taken = |name: &str| {
            let text = format!("{name} exists");
            StoreError::new(StoreErrorKind::AlreadyExists, text)
        };
        let (data, place) = (layout::data(id), layout::place(id));
        // The bytes of an upload whose finish was begun may have been moved away already.
        if self.dir.stat(&place).during("look for", &place)?.is_some() {
            return Err(taken(&place));
        }
        match self.dir.open(&data, Open::New) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(taken(&data));
            }
            made => drop(made.during("create", &data)?),
        }
        self.make_slots(id).map(drop).inspect_err(|_| {
            for name in [layout::slots(id), data] {
                if let Err(error) = self.dir.unlink(&name) {
                    tracing::warn!(upload = %id, %error, "{name} was made for nothing and is left");
                }
            }
        })
    }

    /// Makes new slots under `power`, removes old ones under `process`, which would not keep them
    /// true. All names made for the upload are durable then.
    fn make_slots(&self, id: &UploadId) -> Result<Option<(Slots, Slot)>, StoreError> {
        let name = layout::slots(id);
        if self.durability == Durability::Process {
            self.dir.unlink(&name).during("remove", &name)?;
            return Ok(None);
        }
        let file = self.dir.open_fresh(&name).during("create", &name)?;
        let slots = Slots::new(file, self.start);
        let slot = slots.begin(self.boot).during("write", &name)?;
        self.dir.sync().during("sync the directory of", &name)?;
        Ok(Some((slots, slot)))
    }

    /// Cuts what does not count, so that the file says what is stored.
    ///
    /// Idempotent at any point: until the claim, everything beyond the slot counts for nothing.
    pub(crate) fn settle(&self, id: &UploadId, object: &mut Object) -> Result<(), StoreError> {
        let length = object.stored.length;
        if length < object.on_disk {
            // A slot that says more must not outlive the bytes.
            if let Some(slots) = &object.slots {
                slots.sync().during("sync", &layout::slots(id))?;
            }
            object.file.set_len(length).during("cut", &layout::data(id))?;
            object.on_disk = length;
        }
        match &object.slots {
            None => (object.slots, object.newest) = self.make_slots(id)?.unzip(),
            Some(slots) if object.newest.is_none_or(|slot| !self.is_ours(slot)) => {
                slots.claim(object.newest, self.boot).during("write", &layout::slots(id))?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether [`settle`](Self::settle) would have nothing to do.
    pub(crate) fn is_settled(&self, id: &UploadId, object: &Object) -> Result<bool, StoreError> {
        let slots = layout::slots(id);
        match self.durability {
            Durability::Power => Ok(object.stored.length == object.on_disk
                && object.newest.is_some_and(|slot| self.is_ours(slot))),
            Durability::Process => Ok(self.dir.stat(&slots).during("look for", &slots)?.is_none()),
        }
    }

    /// Whether this start of the store wrote a slot, and so knows what became of it.
    fn is_ours(&self, slot: Slot) -> bool {
        (slot.boot, slot.start) == (self.boot, self.start)
    }

    /// Makes the bytes of a settled upload durable as far as `length`.
    pub(crate) fn sync(
        &self,
        id: &UploadId,
        object: &Object,
        length: u64,
    ) -> Result<(), StoreError> {
        object.sync(length, self.boot).during("sync", &layout::data(id))
    }

    /// Cuts an upload to `length` bytes.
    ///
    /// A slot must never say more than the file has, so it comes first. A crash in between leaves
    /// the upload as long as it was, and the cut is repeated.
    pub(crate) fn cut(
        &self,
        id: &UploadId,
        object: &mut Object,
        length: u64,
    ) -> Result<(), StoreError> {
        self.settle(id, object)?;
        if object.stored.length <= length {
            return Ok(());
        }
        let mut proven = u64::MAX;
        if let Some(slots) = &object.slots {
            let name = layout::slots(id);
            let newest = slots.newest().during("read", &name)?;
            proven = newest.map_or(0, |slot| slot.offset);
            if proven > length {
                slots.advance(newest, length, self.boot).during("write", &name)?;
            }
        }
        object.file.set_len(length).during("cut", &layout::data(id))?;
        (object.on_disk, object.stored.length) = (length, length);
        // A slot at `length` makes the cut durable: a longer file counts no further than that.
        if proven < length {
            self.sync(id, object, length)?;
        }
        Ok(())
    }
}

impl Object {
    /// A file that is written no more.
    pub(crate) fn whole(file: File, stored: Stored) -> Self {
        Self { file, slots: None, newest: None, on_disk: stored.length, stored }
    }

    /// Makes the bytes durable as far as `length`, as the store promises it.
    ///
    /// A file that is shorter has been cut behind our back, and its length is not told.
    pub(crate) fn sync(&self, length: u64, boot: u64) -> std::io::Result<()> {
        let found = self.file.metadata()?.len();
        if found < length {
            let text = format!("{found} bytes are there, {length} were written");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        match &self.slots {
            Some(slots) => sync_point(&self.file, slots, length, boot),
            None => Ok(()),
        }
    }
}
