mod objects;
mod reading;
mod whole;
mod writing;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{Case, promises::chunks as promise};
use crate::{
    model::{Locator, UploadId},
    store::{Blocking, ChunkStore, ChunkWriter, NewObject, StoreError, Stored},
};

/// Tries every promise of [`ChunkStore`] on stores that `make` makes, each empty.
///
/// Every case runs for each way to wait that the runtime allows. Verbs that the store's
/// capabilities exclude must answer `Unsupported`.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn chunks<S: ChunkStore>(make: impl AsyncFn() -> S) {
    let ways: &[Blocking] = match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => &[Blocking::InPlace, Blocking::Offload],
        _ => &[Blocking::Offload],
    };
    for &blocking in ways {
        suite(&make, blocking).await;
    }
}

async fn suite<S: ChunkStore>(make: &impl AsyncFn() -> S, blocking: Blocking) {
    macro_rules! run {
        ($($module:ident::$case:ident: $promise:expr,)+) => {$(
            let case = Case { suite: "chunks", name: stringify!($case), promise: $promise };
            case.run(async {
                let rig = Rig { case, store: Arc::new(make().await), blocking };
                $module::$case(rig).await;
            })
            .await;
        )+};
    }
    run! {
        objects::a_new_object_is_empty: promise::CREATE,
        writing::synced_bytes_are_stored: promise::SYNC,
        writing::a_sync_of_nothing_returns_the_length: promise::SYNC,
        writing::pieces_of_any_size_are_stored_in_order: promise::WRITE,
        reading::ranges_give_their_bytes: promise::READ,
        objects::what_is_not_there_is_not_found: promise::STAT_MISSING,
        objects::a_taken_id_is_refused_and_its_bytes_kept: promise::CREATE_TAKEN,
        objects::of_many_creations_at_once_one_succeeds: promise::CREATE_TAKEN,
        objects::objects_that_look_alike_do_not_mix: promise::MORE,
        objects::removal_can_be_repeated: promise::REMOVE,
        objects::only_what_is_empty_may_be_unrecorded: promise::UNRECORDED,
        objects::many_uploads_at_once_do_not_mix: promise::MORE,
        objects::the_last_write_is_dated: promise::MODIFIED,
        writing::the_stored_length_only_grows: promise::STAT,
        writing::writers_follow_one_another: promise::OPEN,
        writing::a_wrong_offset_conflicts_and_changes_nothing: promise::OPEN,
        writing::a_dropped_writer_leaves_a_true_prefix: promise::DROPPED,
        writing::a_writer_that_wrote_nothing_changes_nothing: promise::DROPPED,
        writing::nothing_lands_after_a_drop: promise::ENDED,
        writing::the_same_bytes_again_change_nothing: promise::POSITIONAL,
        writing::a_cut_object_goes_on_from_there: promise::TRUNCATE,
        writing::a_shorter_object_is_not_stretched: promise::TRUNCATE,
        reading::a_removed_object_is_not_found: promise::READ_MISSING,
        reading::a_store_that_cannot_read_says_so: promise::OPTIONAL,
        whole::finished_bytes_are_whole: promise::FINISH,
        whole::a_finish_can_be_repeated: promise::FINISH_AGAIN,
        whole::the_old_locator_serves_until_it_is_removed: promise::FINISH_OLD,
        whole::a_hostile_name_is_no_obstacle: promise::FINISH,
        whole::two_of_a_name_lose_nothing: promise::FINISH_TAKEN,
        whole::parts_are_joined_in_order: promise::CONCAT,
        whole::no_parts_make_nothing: promise::CONCAT,
        whole::a_concatenation_can_be_repeated: promise::CONCAT_AGAIN,
        whole::a_missing_part_is_not_found: promise::CONCAT_MISSING,
        whole::a_store_that_cannot_concatenate_says_so: promise::OPTIONAL,
    }
}

/// A case, the store that it is tried on, and how that may wait.
struct Rig<S> {
    case: Case,
    store: Arc<S>,
    blocking: Blocking,
}

impl<S> Clone for Rig<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), ..*self }
    }
}

impl<S: ChunkStore> Rig<S> {
    async fn create(&self, id: &UploadId) -> Locator {
        self.case.done(self.store.create(&NewObject::new(id)).await, "create")
    }

    async fn stat(&self, at: &Locator) -> Stored {
        self.case.done(self.store.stat(at).await, "stat")
    }

    async fn try_open(
        &self,
        at: &Locator,
        offset: u64,
    ) -> Result<Box<dyn ChunkWriter>, StoreError> {
        self.store.open(at, offset, self.blocking).await
    }

    async fn open(&self, at: &Locator, offset: u64) -> Box<dyn ChunkWriter> {
        self.case.done(self.try_open(at, offset).await, format_args!("open at {offset}"))
    }

    async fn write(&self, writer: &mut dyn ChunkWriter, chunk: &[u8]) {
        let written = writer.write(Bytes::copy_from_slice(chunk)).await;
        self.case.done(written, format_args!("write of {} bytes", chunk.len()));
    }

    /// Adds bytes at the stored length, and makes them durable.
    async fn append(&self, at: &Locator, chunk: &[u8]) {
        let offset = self.stat(at).await.length;
        let mut writer = self.open(at, offset).await;
        self.write(&mut *writer, chunk).await;
        let length = self.case.done(writer.sync().await, "sync");
        self.case.same(length, offset + chunk.len() as u64, "the length that sync returns");
    }

    /// A new object with these bytes.
    async fn holding(&self, id: &UploadId, bytes: &[u8]) -> Locator {
        let at = self.create(id).await;
        self.append(&at, bytes).await;
        at
    }

    /// A range of an object, or `None` if the store cannot read.
    async fn read(&self, at: &Locator, range: Range<u64>) -> Option<Vec<u8>> {
        if !self.store.capabilities().read {
            return None;
        }
        let call = format!("read of {range:?}");
        let mut reader = self.case.done(self.store.read(at, range).await, &call);
        let mut bytes = Vec::new();
        while let Some(piece) = self.case.done(reader.next().await, &call) {
            bytes.extend_from_slice(&piece);
        }
        Some(bytes)
    }

    /// The object holds exactly these bytes, durably.
    async fn holds(&self, at: &Locator, bytes: &[u8], when: &str) {
        let stored = self.stat(at).await;
        self.case.same(stored.length, bytes.len() as u64, format_args!("the length {when}"));
        self.case.holds(stored.synced, format_args!("stat says that bytes are unsynced {when}"));
        self.shows(at, bytes, when).await;
    }

    /// What can be read of the object is exactly these bytes.
    async fn shows(&self, at: &Locator, bytes: &[u8], when: &str) {
        if let Some(read) = self.read(at, 0..u64::MAX).await {
            self.same_bytes(&read, bytes, when);
        }
    }

    fn same_bytes(&self, got: &[u8], want: &[u8], when: &str) {
        if got != want {
            let same = got.iter().zip(want).take_while(|(one, other)| one == other).count();
            self.case.fail(format_args!(
                "read gives {} bytes {when} and should give {}; they differ from byte {same} on",
                got.len(),
                want.len(),
            ));
        }
    }
}
