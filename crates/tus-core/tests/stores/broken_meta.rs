use std::cmp::Reverse;

use async_trait::async_trait;
use tus_core::{
    Metadata, Phase, Reply, Revision, Timestamp, Upload, UploadId,
    store::{Due, MemoryStore, MetaStore, StoreError, StoreErrorKind},
};

use super::another_turn;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MetaFlaw {
    CreateIsSave,
    ChecksBeforeItCreates,
    IdsIgnoreCase,
    LoadsAnything,
    UpdateIgnoresTheRevision,
    ChecksBeforeItUpdates,
    UpdateCreates,
    UpdateForgets,
    RemoveWantsARecord,
    RemoveKeeps,
    TidiesMetadata,
    LosesReplies,
    SmallRecordsOnly,
    NewestFirst,
    DueIgnoresNow,
    DueIgnoresTheLimit,
    DueIgnoresWhereItWas,
    DueKeepsFormerDates,
}

impl MetaFlaw {
    pub(crate) const ALL: [(Self, &str); 18] = [
        (Self::CreateIsSave, "a_taken_id_is_refused_and_its_record_kept"),
        (Self::ChecksBeforeItCreates, "of_many_creations_at_once_one_succeeds"),
        (Self::IdsIgnoreCase, "ids_that_look_alike_are_not_one"),
        (Self::LoadsAnything, "an_unknown_id_is_not_found"),
        (Self::UpdateIgnoresTheRevision, "a_stale_update_conflicts_and_changes_nothing"),
        (Self::ChecksBeforeItUpdates, "of_many_updates_of_one_revision_one_succeeds"),
        (Self::UpdateCreates, "a_removed_record_is_not_updated"),
        (Self::UpdateForgets, "an_update_replaces_the_record"),
        (Self::RemoveWantsARecord, "removal_can_be_repeated"),
        (Self::RemoveKeeps, "a_removed_record_is_not_updated"),
        (Self::TidiesMetadata, "every_field_survives"),
        (Self::LosesReplies, "every_field_survives"),
        (Self::SmallRecordsOnly, "a_record_of_the_largest_size_survives"),
        (Self::NewestFirst, "what_is_due_comes_oldest_first"),
        (Self::DueIgnoresNow, "what_is_due_comes_oldest_first"),
        (Self::DueIgnoresTheLimit, "what_is_due_comes_oldest_first"),
        (Self::DueIgnoresWhereItWas, "what_is_due_comes_oldest_first"),
        (Self::DueKeepsFormerDates, "changed_and_removed_records_are_due_no_more"),
    ];

    pub(crate) fn store(self) -> BrokenMeta {
        BrokenMeta { within: MemoryStore::new(), first: MemoryStore::new(), flaw: self }
    }
}

#[derive(Debug)]
pub(crate) struct BrokenMeta {
    within: MemoryStore,
    /// Every record as it was created.
    first: MemoryStore,
    flaw: MetaFlaw,
}

impl BrokenMeta {
    async fn replace(&self, upload: &Upload) -> Result<Revision, StoreError> {
        self.within.remove(&upload.id).await?;
        self.within.create(upload).await
    }

    async fn exists(&self, id: &UploadId) -> bool {
        self.within.load(id).await.is_ok()
    }

    fn bent(&self, upload: &Upload) -> Upload {
        let mut upload = upload.clone();
        match self.flaw {
            MetaFlaw::TidiesMetadata => {
                let pairs = upload.metadata.iter().map(|(k, v)| (k.to_owned(), v.to_vec()));
                upload.metadata = Metadata::from_pairs(pairs).unwrap();
            }
            MetaFlaw::LosesReplies => {
                if let Phase::Announced { reply, .. } = &mut upload.phase {
                    *reply = Reply::new();
                }
            }
            MetaFlaw::IdsIgnoreCase => {
                upload.id = upload.id.as_str().to_lowercase().parse().unwrap();
            }
            _ => {}
        }
        upload
    }
}

#[async_trait]
impl MetaStore for BrokenMeta {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        let upload = &self.bent(upload);
        if self.flaw == MetaFlaw::SmallRecordsOnly && format!("{upload:?}").len() > 64 * 1024 {
            return Err(StoreError::new(StoreErrorKind::Other, "too large"));
        }
        self.first.remove(&upload.id).await?;
        self.first.create(upload).await.or_else(|error| match error.kind() {
            StoreErrorKind::AlreadyExists => Ok(Revision(0)),
            _ => Err(error),
        })?;
        match self.flaw {
            MetaFlaw::CreateIsSave => self.replace(upload).await,
            MetaFlaw::ChecksBeforeItCreates if !self.exists(&upload.id).await => {
                another_turn().await;
                self.replace(upload).await
            }
            _ => self.within.create(upload).await,
        }
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        match self.flaw {
            MetaFlaw::LoadsAnything if !self.exists(id).await => self.first.load(id).await.or({
                let known = "known".parse().unwrap();
                self.within.load(&known).await
            }),
            MetaFlaw::IdsIgnoreCase => {
                let id = id.as_str().to_lowercase().parse().unwrap();
                self.within.load(&id).await
            }
            _ => self.within.load(id).await,
        }
    }

    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        let upload = &self.bent(upload);
        let found = self.within.load(&upload.id).await;
        match (self.flaw, found) {
            (MetaFlaw::UpdateIgnoresTheRevision, Ok((_, current))) => {
                self.within.update(upload, current).await
            }
            (MetaFlaw::ChecksBeforeItUpdates, Ok((_, current))) if current == expected => {
                another_turn().await;
                self.replace(upload).await
            }
            (MetaFlaw::UpdateCreates, Err(_)) => self.within.create(upload).await,
            (MetaFlaw::UpdateForgets, Ok((old, _))) => {
                let owner = upload.owner.clone().or(old.owner);
                self.within.update(&Upload { owner, ..upload.clone() }, expected).await
            }
            _ => self.within.update(upload, expected).await,
        }
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        match self.flaw {
            MetaFlaw::RemoveWantsARecord => {
                self.within.load(id).await?;
                self.within.remove(id).await
            }
            MetaFlaw::RemoveKeeps => Ok(()),
            _ => self.within.remove(id).await,
        }
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let end = Timestamp::from_millis(u64::MAX);
        match self.flaw {
            MetaFlaw::NewestFirst => {
                let mut all = self.within.due(now, after, usize::MAX).await?;
                all.sort_by_key(|due| Reverse(due.at));
                all.truncate(limit);
                Ok(all)
            }
            MetaFlaw::DueIgnoresNow => self.within.due(end, after, limit).await,
            MetaFlaw::DueIgnoresTheLimit => self.within.due(now, after, usize::MAX).await,
            MetaFlaw::DueIgnoresWhereItWas => self.within.due(now, None, limit).await,
            MetaFlaw::DueKeepsFormerDates => {
                let mut all = self.within.due(now, after, limit).await?;
                for former in self.first.due(now, after, limit).await? {
                    if self.exists(&former.id).await && !all.contains(&former) {
                        all.push(former);
                    }
                }
                Ok(all)
            }
            _ => self.within.due(now, after, limit).await,
        }
    }
}
