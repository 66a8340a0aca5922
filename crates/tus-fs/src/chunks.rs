//! Bytes: one file each, positional writes, its length the offset.
//!
//! | call | order under `power` | a crash leaves |
//! |---|---|---|
//! | create | data file, slots, sync directory | nothing that a record names |
//! | append | write, sync data, write slot, sync slot | at least the last slot's bytes |
//! | truncate | slot (if it said more), cut, slot | the old length, to be cut again, or the new |
//! | concat | truncate to 0, copy, sync data, slot | some prefix that no record calls whole |
//! | finish | see `place.rs` | the file in its place or not, its first home intact |
//! | remove | note, data, slots, sync directory | names that no record knows, removed again |
//!
//! Under `process` nothing is synced and there are no slots; the order is the same.

use std::{collections::BTreeSet, ops::Range, path::PathBuf};

use async_trait::async_trait;
use tus_core::{
    Locator, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, NewObject,
        StoreError, StoreErrorKind, Stored,
    },
};

use crate::{
    FsStore, Inner,
    gate::blocking,
    layout::{self, During, Place, not_found},
    object::Object,
    reader::Reader,
    writer::Writer,
};

impl Inner {
    /// The bytes under a locator, wherever a finish has left them.
    fn find(&self, place: &Place) -> Result<Object, StoreError> {
        match place {
            Place::Placed(placed) => {
                self.open_placed(placed)?.ok_or_else(|| not_found(&place.locator()))
            }
            Place::Upload(id) => match self.look(id) {
                Err(error) if error.is_not_found() => self.open_moved(id)?.ok_or(error),
                object => object,
            },
        }
    }

    fn truncate(&self, id: &UploadId, length: u64) -> Result<(), StoreError> {
        let mut object = self.look(id)?;
        self.cut(id, &mut object, length)
    }

    fn concat(&self, id: &UploadId, parts: &[Place]) -> Result<u64, StoreError> {
        let mut whole = self.look(id)?;
        self.cut(id, &mut whole, 0)?;
        let copied = self.copy_parts(&whole, parts).and_then(|sum| {
            self.sync(id, &whole, sum)?;
            Ok(sum)
        });
        copied.inspect_err(|_| {
            // Room for the next attempt; what is left is cut then at the latest.
            if let Err(error) = self.truncate(id, 0) {
                tracing::warn!(upload = %id, %error, "part of a concatenation is left");
            }
        })
    }

    fn copy_parts(&self, whole: &Object, parts: &[Place]) -> Result<u64, StoreError> {
        let mut sum: u64 = 0;
        for place in parts {
            let part = self.find(place)?;
            let length = part.stored.length;
            let name = place.locator();
            let copied = whole.file.copy_from(&part.file, length, sum);
            let copied = copied.during("copy", name.as_str())?;
            if copied != length {
                let text = format!("{} has {copied} bytes of {length}", name.as_str());
                return Err(StoreError::new(StoreErrorKind::Corrupt, text));
            }
            sum += length;
        }
        Ok(sum)
    }

    /// Uploads that have some of our files, but neither a byte nor a record here.
    fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<BTreeSet<UploadId>, StoreError> {
        let mut first = BTreeSet::new();
        for name in self.dir.names().during("list", "the upload directory")? {
            let name = name.during("list", "the upload directory")?;
            let Some(id) = layout::upload_of(&name) else { continue };
            let there = |name: String| self.dir.stat(&name).during("look for", &name);
            if after.is_some_and(|after| id <= *after)
                || first.contains(&id)
                || there(layout::record(&id))?.is_some()
                || there(layout::data(&id))?.is_some_and(|data| data.length > 0)
            {
                continue;
            }
            first.insert(id);
            if first.len() > limit {
                first.pop_last();
            }
        }
        Ok(first)
    }

    fn remove_object(&self, id: &UploadId) -> Result<(), StoreError> {
        self.forget_note(id)?;
        for name in [layout::data(id), layout::slots(id)] {
            self.dir.unlink(&name).during("remove", &name)?;
        }
        // Also when nothing was there: an attempt before this one may not have come so far.
        self.settle_names()
    }
}

impl FsStore {
    /// Does something with the bytes of one upload, after whatever else was begun with them.
    async fn on_bytes<T: Send + 'static>(
        &self,
        id: &UploadId,
        job: impl FnOnce(&Inner, &UploadId) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pass = self.0.bytes.enter(id).await;
        let (inner, id) = (self.0.clone(), id.clone());
        blocking(move || {
            let _pass = pass;
            job(&inner, &id)
        })
        .await
    }
}

fn place(at: &Locator) -> Result<Place, StoreError> {
    Place::parse(at).ok_or_else(|| not_found(at))
}

/// The upload that a locator names, for the verbs that change one.
fn upload(at: &Locator) -> Result<UploadId, StoreError> {
    match place(at)? {
        Place::Upload(id) => Ok(id),
        Place::Placed(_) => {
            let text = format!("{:?} is placed and changes no more", at.as_str());
            Err(StoreError::new(StoreErrorKind::Unsupported, text))
        }
    }
}

#[async_trait]
impl ChunkStore for FsStore {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let wish = match (&self.0.destination, &new.place) {
            (Some(to), Some(place)) => Some(to.wish(new.id, place)),
            _ => None,
        };
        let length = new.length.unwrap_or(0);
        self.on_bytes(new.id, move |inner, id| {
            inner.refuse_full(length, wish.is_some())?;
            if let (Some(to), Some(wish)) = (&inner.destination, &wish) {
                inner.refuse_taken(to, wish)?;
            }
            inner.make(id)?;
            Ok(Place::Upload(id.clone()).locator())
        })
        .await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let place = place(at)?;
        let _pass = match &place {
            Place::Upload(id) => Some(self.0.bytes.enter(id).await),
            Place::Placed(_) => None,
        };
        Ok(self.0.find(&place)?.stored)
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        how: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let id = upload(at)?;
        let pass = self.0.bytes.enter(&id).await;
        let mut object = self.0.look(&id)?;
        if object.stored.length != offset {
            let text = format!("opened at {offset}, {} bytes are stored", object.stored.length);
            return Err(StoreError::new(StoreErrorKind::Conflict, text));
        }
        if !self.0.is_settled(&id, &object)? {
            let (inner, id) = (self.0.clone(), id.clone());
            object = blocking(move || {
                let _pass = pass;
                inner.settle(&id, &mut object)?;
                Ok(object)
            })
            .await?;
        }
        Ok(Box::new(Writer::new(self.0.clone(), id, object, how)))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        self.on_bytes(&upload(at)?, move |inner, id| inner.truncate(id, length)).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        let place = place(at)?;
        let Place::Upload(id) = &place else {
            return self.0.find(&place).map(|_| at.clone());
        };
        let length = upload.length;
        let wish = self.0.destination.as_ref().map(|to| to.wish(id, &upload.place));
        self.on_bytes(id, move |inner, id| match (&inner.destination, &wish) {
            (Some(to), Some(wish)) => inner.place(to, id, length, wish),
            _ => inner.whole(id, length).map(|_| Place::Upload(id.clone()).locator()),
        })
        .await
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        let whole = upload(at)?;
        let parts = parts.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().any(|part| matches!(part, Place::Upload(id) if *id == whole)) {
            let text = format!("upload {whole} is to be a part of itself");
            return Err(StoreError::new(StoreErrorKind::Unsupported, text));
        }
        self.on_bytes(&whole, move |inner, id| inner.concat(id, &parts)).await
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        let Object { file, stored, .. } = self.0.find(&place(at)?)?;
        Ok(Box::new(Reader::new(file, at.as_str().to_owned(), range, stored.length)))
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        match Place::parse(at) {
            Some(Place::Upload(id)) => {
                self.on_bytes(&id, |inner, id| inner.remove_object(id)).await
            }
            Some(Place::Placed(placed)) => {
                let inner = self.0.clone();
                blocking(move || inner.remove_placed(&placed)).await
            }
            None => Ok(()),
        }
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        let (inner, after) = (self.0.clone(), after.cloned());
        let ids = blocking(move || inner.unrecorded(after.as_ref(), limit)).await?;
        Ok(ids.into_iter().map(|id| (id.clone(), Place::Upload(id).locator())).collect())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn local_path(&self, at: &Locator) -> Option<PathBuf> {
        match Place::parse(at)? {
            Place::Upload(id) => Some(self.0.dir.path().join(layout::data(&id))),
            Place::Placed(placed) => {
                Some(self.0.destination.as_ref()?.dir.path().join(placed.path()))
            }
        }
    }
}
