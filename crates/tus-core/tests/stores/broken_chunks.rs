use std::{ops::Range, path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tus_core::{
    Locator, Timestamp, UploadId,
    store::{
        Blocking, Capabilities, ChunkReader, ChunkStore, ChunkWriter, FinishAs, MemoryStore,
        NewObject, StoreError, StoreErrorKind, Stored,
    },
};

use super::another_turn;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ChunkFlaw {
    StatSaysMore,
    StatNeverSynced,
    StatOfNothingIsZero,
    StatHasNoDate,
    CreateReplaces,
    ChecksBeforeItCreates,
    IdsIgnoreCase,
    OpensAnywhere,
    TruncateDoesNothing,
    TruncateStretches,
    RemoveWantsAnObject,
    SyncCountsItsOwn,
    WriterDropsShortPieces,
    WriterShiftsAfterDrop,
    WriterAppends,
    WriterLandsLate,
    ReadsOneShort,
    ReadsFromTheStart,
    ReadsWhatIsGone,
    DeniesThatItReads,
    DeniesThatItConcatenates,
    FinishMovesAtOnce,
    FinishCopiesAnew,
    FinishChokesOnNames,
    FinishMixesNames,
    NamesWhatHasBytes,
    ConcatAppends,
    ConcatAppendsParts,
    ConcatSorts,
    ConcatTakesThePart,
    ConcatSkipsTheMissing,
}

impl ChunkFlaw {
    pub(crate) const ALL: [(Self, &str); 31] = [
        (Self::StatSaysMore, "a_new_object_is_empty"),
        (Self::StatNeverSynced, "synced_bytes_are_stored"),
        (Self::StatOfNothingIsZero, "what_is_not_there_is_not_found"),
        (Self::StatHasNoDate, "the_last_write_is_dated"),
        (Self::CreateReplaces, "a_taken_id_is_refused_and_its_bytes_kept"),
        (Self::ChecksBeforeItCreates, "of_many_creations_at_once_one_succeeds"),
        (Self::IdsIgnoreCase, "objects_that_look_alike_do_not_mix"),
        (Self::OpensAnywhere, "a_wrong_offset_conflicts_and_changes_nothing"),
        (Self::TruncateDoesNothing, "a_cut_object_goes_on_from_there"),
        (Self::TruncateStretches, "a_shorter_object_is_not_stretched"),
        (Self::RemoveWantsAnObject, "removal_can_be_repeated"),
        (Self::SyncCountsItsOwn, "a_sync_of_nothing_returns_the_length"),
        (Self::WriterDropsShortPieces, "pieces_of_any_size_are_stored_in_order"),
        (Self::WriterShiftsAfterDrop, "a_dropped_writer_leaves_a_true_prefix"),
        (Self::WriterAppends, "the_same_bytes_again_change_nothing"),
        (Self::WriterLandsLate, "nothing_lands_after_a_drop"),
        (Self::ReadsOneShort, "synced_bytes_are_stored"),
        (Self::ReadsFromTheStart, "ranges_give_their_bytes"),
        (Self::ReadsWhatIsGone, "a_removed_object_is_not_found"),
        (Self::DeniesThatItReads, "a_store_that_cannot_read_says_so"),
        (Self::DeniesThatItConcatenates, "a_store_that_cannot_concatenate_says_so"),
        (Self::FinishMovesAtOnce, "a_finish_can_be_repeated"),
        (Self::FinishCopiesAnew, "a_finish_can_be_repeated"),
        (Self::FinishChokesOnNames, "a_hostile_name_is_no_obstacle"),
        (Self::FinishMixesNames, "two_of_a_name_lose_nothing"),
        (Self::NamesWhatHasBytes, "only_what_is_empty_may_be_unrecorded"),
        (Self::ConcatAppends, "no_parts_make_nothing"),
        (Self::ConcatAppendsParts, "a_concatenation_can_be_repeated"),
        (Self::ConcatSorts, "parts_are_joined_in_order"),
        (Self::ConcatTakesThePart, "parts_are_joined_in_order"),
        (Self::ConcatSkipsTheMissing, "a_missing_part_is_not_found"),
    ];

    pub(crate) fn store(self) -> BrokenChunks {
        BrokenChunks { within: MemoryStore::new(), flaw: self }
    }
}

#[derive(Debug)]
pub(crate) struct BrokenChunks {
    within: MemoryStore,
    flaw: ChunkFlaw,
}

async fn append(store: &MemoryStore, at: &Locator, chunk: &[u8]) -> Result<u64, StoreError> {
    let length = store.stat(at).await?.length;
    let mut writer = store.open(at, length, Blocking::Offload).await?;
    writer.write(Bytes::copy_from_slice(chunk)).await?;
    writer.sync().await
}

async fn content(store: &MemoryStore, at: &Locator) -> Result<Vec<u8>, StoreError> {
    let mut reader = store.read(at, 0..u64::MAX).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[async_trait]
impl ChunkStore for BrokenChunks {
    async fn create(&self, new: &NewObject<'_>) -> Result<Locator, StoreError> {
        let at = Locator::new(new.id.as_str());
        match self.flaw {
            ChunkFlaw::CreateReplaces => self.within.remove(&at).await?,
            ChunkFlaw::ChecksBeforeItCreates if self.within.stat(&at).await.is_err() => {
                another_turn().await;
                self.within.remove(&at).await?;
            }
            ChunkFlaw::IdsIgnoreCase => {
                let id = new.id.as_str().to_lowercase().parse().unwrap();
                return self.within.create(&NewObject::new(&id)).await;
            }
            _ => {}
        }
        self.within.create(new).await
    }

    async fn stat(&self, at: &Locator) -> Result<Stored, StoreError> {
        let stored = self.within.stat(at).await;
        if self.flaw == ChunkFlaw::StatOfNothingIsZero && stored.is_err() {
            return Ok(Stored { length: 0, synced: true, modified: Timestamp::now() });
        }
        let mut stored = stored?;
        match self.flaw {
            ChunkFlaw::StatSaysMore => stored.length += 1,
            ChunkFlaw::StatNeverSynced => stored.synced = false,
            ChunkFlaw::StatHasNoDate => stored.modified = Timestamp::EPOCH,
            _ => {}
        }
        Ok(stored)
    }

    async fn open(
        &self,
        at: &Locator,
        offset: u64,
        blocking: Blocking,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        let begin = match self.flaw {
            ChunkFlaw::OpensAnywhere => self.within.stat(at).await?.length,
            _ => offset,
        };
        Ok(Box::new(BrokenWriter {
            writer: self.within.open(at, begin, blocking).await?,
            within: self.within.clone(),
            flaw: self.flaw,
            at: at.clone(),
            taken: 0,
            pending: Vec::new(),
        }))
    }

    async fn truncate(&self, at: &Locator, length: u64) -> Result<(), StoreError> {
        let stored = self.within.stat(at).await?.length;
        match self.flaw {
            ChunkFlaw::TruncateDoesNothing => return Ok(()),
            ChunkFlaw::TruncateStretches if length < stored + 10 && length > stored => {
                append(&self.within, at, &vec![0; (length - stored) as usize]).await?;
            }
            _ => {}
        }
        self.within.truncate(at, length).await
    }

    async fn finish(&self, at: &Locator, upload: &FinishAs<'_>) -> Result<Locator, StoreError> {
        let name = upload.place.metadata.filename().unwrap_or_default();
        let to = match self.flaw {
            ChunkFlaw::FinishMovesAtOnce => format!("moved-{}", upload.id),
            ChunkFlaw::FinishCopiesAnew => {
                let mut to = format!("copy-of-{}", upload.id);
                while self.within.stat(&Locator::new(&*to)).await.is_ok() {
                    to.push('+');
                }
                to
            }
            ChunkFlaw::FinishMixesNames if name == "same.bin" => "same".to_owned(),
            ChunkFlaw::FinishChokesOnNames if name.contains('/') => {
                return Err(StoreError::new(StoreErrorKind::Other, "no such directory"));
            }
            _ => return self.within.finish(at, upload).await,
        };
        let bytes = content(&self.within, at).await?;
        let id = to.replace('+', "_").parse().unwrap();
        let to = match self.within.create(&NewObject::new(&id)).await {
            Ok(to) => to,
            Err(_) => Locator::new(id.as_str()),
        };
        append(&self.within, &to, &bytes).await?;
        if self.flaw == ChunkFlaw::FinishMovesAtOnce {
            self.within.remove(at).await?;
        }
        Ok(to)
    }

    async fn concat(&self, at: &Locator, parts: &[Locator]) -> Result<u64, StoreError> {
        let mut parts = parts.to_vec();
        match self.flaw {
            ChunkFlaw::ConcatAppendsParts if parts.is_empty() => {}
            ChunkFlaw::ConcatAppends | ChunkFlaw::ConcatAppendsParts => {
                for part in &parts {
                    let bytes = content(&self.within, part).await?;
                    append(&self.within, at, &bytes).await?;
                }
                return Ok(self.within.stat(at).await?.length);
            }
            ChunkFlaw::ConcatSorts => parts.sort_by(|a, b| a.as_str().cmp(b.as_str())),
            ChunkFlaw::ConcatSkipsTheMissing => {
                let mut there = Vec::new();
                for part in parts {
                    if self.within.stat(&part).await.is_ok() {
                        there.push(part);
                    }
                }
                parts = there;
            }
            _ => {}
        }
        let sum = self.within.concat(at, &parts).await;
        if let (ChunkFlaw::ConcatTakesThePart, [part]) = (self.flaw, &parts[..]) {
            self.within.truncate(part, 0).await?;
        }
        sum
    }

    async fn read(
        &self,
        at: &Locator,
        range: Range<u64>,
    ) -> Result<Box<dyn ChunkReader>, StoreError> {
        let length = self.within.stat(at).await.map(|stored| stored.length);
        let range = match self.flaw {
            ChunkFlaw::ReadsOneShort => range.start..range.end.min(length?).saturating_sub(1),
            ChunkFlaw::ReadsFromTheStart => 0..range.end.saturating_sub(range.start),
            ChunkFlaw::ReadsWhatIsGone if length.is_err() => {
                let id = "ghost".parse().unwrap();
                let ghost = self.within.create(&NewObject::new(&id)).await?;
                return self.within.read(&ghost, range).await;
            }
            _ => range,
        };
        self.within.read(at, range).await
    }

    async fn remove(&self, at: &Locator) -> Result<(), StoreError> {
        if self.flaw == ChunkFlaw::RemoveWantsAnObject {
            self.within.stat(at).await?;
        }
        self.within.remove(at).await
    }

    async fn unrecorded(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<(UploadId, Locator)>, StoreError> {
        let flaw = self.flaw == ChunkFlaw::NamesWhatHasBytes;
        let mut named = self.within.unrecorded(after, limit).await?;
        if flaw && self.within.stat(&Locator::new("full")).await.is_ok() {
            named.push(("full".parse().unwrap(), Locator::new("full")));
        }
        Ok(named)
    }

    fn capabilities(&self) -> Capabilities {
        let mut all = Capabilities::ALL;
        all.read = self.flaw != ChunkFlaw::DeniesThatItReads;
        all.concat = self.flaw != ChunkFlaw::DeniesThatItConcatenates;
        all
    }

    fn local_path(&self, _at: &Locator) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct BrokenWriter {
    writer: Box<dyn ChunkWriter>,
    within: MemoryStore,
    flaw: ChunkFlaw,
    at: Locator,
    taken: u64,
    pending: Vec<u8>,
}

#[async_trait]
impl ChunkWriter for BrokenWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.taken += chunk.len() as u64;
        match self.flaw {
            ChunkFlaw::WriterDropsShortPieces if chunk.len() < 3 => Ok(()),
            ChunkFlaw::WriterAppends => append(&self.within, &self.at, &chunk).await.map(|_| ()),
            ChunkFlaw::WriterLandsLate | ChunkFlaw::WriterShiftsAfterDrop => {
                self.pending.extend_from_slice(&chunk);
                Ok(())
            }
            _ => self.writer.write(chunk).await,
        }
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        let pending = std::mem::take(&mut self.pending);
        self.writer.write(Bytes::from(pending)).await?;
        let length = self.writer.sync().await?;
        Ok(if self.flaw == ChunkFlaw::SyncCountsItsOwn { self.taken } else { length })
    }
}

impl Drop for BrokenWriter {
    fn drop(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let (within, at) = (self.within.clone(), self.at.clone());
        match self.flaw {
            ChunkFlaw::WriterLandsLate if !pending.is_empty() => {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    append(&within, &at, &pending).await
                });
            }
            ChunkFlaw::WriterShiftsAfterDrop if !pending.is_empty() => {
                pending.rotate_left(1);
                let append = append(&within, &at, &pending);
                futures_util::FutureExt::now_or_never(append).unwrap().unwrap();
            }
            _ => {}
        }
    }
}
