use super::Rig;
use crate::{
    conformance::samples::{bytes, id},
    store::{ChunkStore, StoreErrorKind},
};

pub(super) async fn ranges_give_their_bytes(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 300_000);
    let end = all.len() as u64;
    let at = rig.holding(&id("a"), &all).await;
    let within = [0..1, 0..65_536, 65_535..65_537, 1..2, 131_072..300_000, 299_999..300_000];
    for range in within {
        let want = &all[range.start as usize..range.end as usize];
        if let Some(read) = rig.read(&at, range.clone()).await {
            rig.same_bytes(&read, want, &format!("in {range:?} of 300000"));
        }
    }
    for range in [0..0, 7..7, end..end, end..u64::MAX, end + 1..end + 2, u64::MAX - 1..u64::MAX] {
        if let Some(read) = rig.read(&at, range.clone()).await {
            rig.same_bytes(&read, &[], &format!("in {range:?} of 300000"));
        }
    }
    for start in [0, 1, 65_536, end - 1] {
        for range in [start..end, start..end + 1, start..u64::MAX] {
            if let Some(read) = rig.read(&at, range.clone()).await {
                let want = &all[start as usize..];
                rig.same_bytes(&read, want, &format!("in {range:?} of 300000"));
            }
        }
    }
}

pub(super) async fn a_removed_object_is_not_found(rig: Rig<impl ChunkStore>) {
    let at = rig.holding(&id("a"), b"here").await;
    rig.case.done(rig.store.remove(&at).await, "remove");
    if rig.store.capabilities().read {
        let gone = rig.store.read(&at, 0..1).await;
        rig.case.fails(gone, StoreErrorKind::NotFound, "read of what is removed");
    }
}

pub(super) async fn a_store_that_cannot_read_says_so(rig: Rig<impl ChunkStore>) {
    let at = rig.holding(&id("a"), b"here").await;
    match rig.store.capabilities().read {
        true => rig.shows(&at, b"here", "as the capabilities say").await,
        false => {
            let cannot = rig.store.read(&at, 0..4).await;
            rig.case.fails(cannot, StoreErrorKind::Unsupported, "read by a store that cannot");
        }
    }
}
