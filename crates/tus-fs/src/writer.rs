//! The bytes of one request on their way into the file.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tus_core::{
    UploadId,
    store::{Blocking, ChunkWriter, StoreError, StoreErrorKind},
};

use crate::{
    Durability, Inner,
    gate::blocking,
    layout::{self, During},
    object::Object,
};

/// A write of so many bytes into the page cache takes less time than telling the runtime.
const INLINE: usize = 64 * 1024;

/// So many bytes are worth a hop to the blocking pool.
const BUFFER: usize = 256 * 1024;

/// Writes at explicit offsets, and never after its last call has returned or was dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Arc<Inner>,
    id: UploadId,
    /// Of the file, for errors.
    name: Arc<str>,
    object: Arc<Object>,
    /// Where the next byte goes in the file.
    at: u64,
    /// What was accepted and comes before `at`'s next byte (`Offload`).
    buffer: Vec<u8>,
    blocking: Blocking,
    /// The length that is durable already.
    synced: Option<u64>,
    /// A call failed, or was dropped before it ended.
    spent: bool,
}

impl Writer {
    pub(crate) fn new(store: Arc<Inner>, id: UploadId, object: Object, blocking: Blocking) -> Self {
        let stored = object.stored;
        Self {
            store,
            name: layout::data(&id).into(),
            id,
            object: Arc::new(object),
            at: stored.length,
            buffer: Vec::new(),
            blocking,
            synced: stored.synced.then_some(stored.length),
            spent: false,
        }
    }

    /// Marks the writer as spent until the call that is beginning has ended well.
    fn begin(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.spent, true) {
            let text = format!("the writer of upload {} failed before", self.id);
            return Err(StoreError::new(StoreErrorKind::Other, text));
        }
        Ok(())
    }

    fn write_here(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.object.file.write_all_at(chunk, self.at).during("write", &self.name)?;
        self.at += chunk.len() as u64;
        Ok(())
    }

    async fn write_elsewhere(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        if !self.buffer.is_empty() && self.buffer.len() + chunk.len() > BUFFER {
            self.flush(false).await?;
        }
        if chunk.len() < BUFFER {
            self.buffer.extend_from_slice(&chunk);
            return Ok(());
        }
        let end = self.at + chunk.len() as u64;
        self.job(move |object, at| object.file.write_all_at(&chunk, at)).await?;
        self.at = end;
        Ok(())
    }

    /// Writes the buffer, and syncs if that is wanted, in one hop.
    async fn flush(&mut self, sync: bool) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let end = self.at + buffer.len() as u64;
        let boot = self.store.boot;
        self.buffer = self
            .job(move |object, at| {
                object.file.write_all_at(&buffer, at)?;
                if sync {
                    object.sync(end, boot)?;
                }
                buffer.clear();
                Ok(buffer)
            })
            .await?;
        self.at = end;
        Ok(())
    }

    /// Does something with the file on the blocking pool; the next one for this upload, by
    /// whomever, waits for it even if this call is dropped.
    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Object, u64) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let pass = self.store.bytes.enter(&self.id).await;
        let (store, object, at) = (self.store.clone(), self.object.clone(), self.at);
        let name = self.name.clone();
        blocking(move || {
            // The directory stays ours until the job has ended.
            let _held = (pass, store);
            job(&object, at).during("write", &name)
        })
        .await
    }
}

#[async_trait]
impl ChunkWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.begin()?;
        match self.blocking {
            Blocking::InPlace if chunk.len() <= INLINE => self.write_here(&chunk)?,
            Blocking::InPlace => tokio::task::block_in_place(|| self.write_here(&chunk))?,
            Blocking::Offload => self.write_elsewhere(chunk).await?,
        }
        self.spent = false;
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.begin()?;
        let end = self.at + self.buffer.len() as u64;
        let sync = self.store.durability == Durability::Power && self.synced != Some(end);
        if sync || !self.buffer.is_empty() {
            self.flush(sync).await?;
        }
        self.synced = Some(end);
        self.spent = false;
        Ok(end)
    }
}
