//! A pointer to a store is a store: code that is generic over stores takes `Arc<dyn ..>` and
//! `Box<dyn ..>` too.

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::{
    Acquire, Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, Due, FinishAs, Lease,
    Locker, MetaStore, NewObject, StoreError, Stored,
};
use crate::model::{Locator, Revision, Timestamp, Upload, UploadId};

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<T: MetaStore + ?Sized> MetaStore for $pointer<T> {
            async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
                (**self).create(upload).await
            }

            async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
                (**self).load(id).await
            }

            async fn update(
                &self,
                upload: &Upload,
                expected: Revision,
            ) -> Result<Revision, StoreError> {
                (**self).update(upload, expected).await
            }

            async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
                (**self).remove(id).await
            }

            async fn due(
                &self,
                now: Timestamp,
                after: Option<&Due>,
                limit: usize,
            ) -> Result<Vec<Due>, StoreError> {
                (**self).due(now, after, limit).await
            }
        }

        #[async_trait]
        impl<T: ChunkStore + ?Sized> ChunkStore for $pointer<T> {
            async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
                (**self).create(new).await
            }

            async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
                (**self).stat(at).await
            }

            async fn open(
                &self,
                at: &Locator,
                offset: u64,
                blocking: Blocking,
            ) -> Result<Box<dyn ChunkWriter>, StoreError> {
                (**self).open(at, offset, blocking).await
            }

            async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
                (**self).truncate(at, length).await
            }

            async fn finish(
                &self,
                at: &Locator,
                upload: &FinishAs<'_>,
            ) -> Result<Locator, StoreError> {
                (**self).finish(at, upload).await
            }

            async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
                (**self).concat(at, parts).await
            }

            async fn read(
                &self,
                at: &Locator,
                range: Range<u64>,
            ) -> Result<Box<dyn ChunkReader>, StoreError> {
                (**self).read(at, range).await
            }

            async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
                (**self).remove(at).await
            }

            async fn unrecorded(
                &self,
                after: Option<&UploadId>,
                limit: usize,
            ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
                (**self).unrecorded(after, limit).await
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn local_path(&self, at: &Locator) -> Option<PathBuf> {
                (**self).local_path(at)
            }
        }

        #[async_trait]
        impl<T: Locker + ?Sized> Locker for $pointer<T> {
            async fn acquire(
                &self,
                id: &UploadId,
                how: Acquire,
            ) -> Result<Box<dyn Lease>, StoreError> {
                (**self).acquire(id, how).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
