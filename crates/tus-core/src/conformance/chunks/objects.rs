use std::time::Duration;

use super::Rig;
use crate::{
    conformance::samples::{bytes, id},
    model::{Timestamp, UploadId},
    store::{ChunkStore, NewObject, StoreErrorKind},
};

pub(super) async fn a_new_object_is_empty(rig: Rig<impl ChunkStore>) {
    let at = rig.create(&id("a")).await;
    rig.case.same(rig.stat(&at).await.length, 0, "the length of a new object");
    rig.shows(&at, &[], "of a new object").await;
    let declared = id("declared");
    let new = NewObject { length: Some(1 << 20), ..NewObject::new(&declared) };
    let at = rig.case.done(rig.store.create(&new).await, "create with a length");
    rig.case.same(rig.stat(&at).await.length, 0, "the length of a new object, declared as 1 MiB");
    rig.shows(&at, &[], "of a new object, declared as 1 MiB").await;
}

pub(super) async fn what_is_not_there_is_not_found(rig: Rig<impl ChunkStore>) {
    let at = rig.create(&id("a")).await;
    rig.case.done(rig.store.remove(&at).await, "remove");
    let missing = StoreErrorKind::NotFound;
    rig.case.fails(rig.store.stat(&at).await, missing, "stat of what is removed");
    rig.case.fails(rig.try_open(&at, 0).await, missing, "open of what is removed");
    rig.case.fails(rig.store.truncate(&at, 0).await, missing, "truncate of what is removed");
    rig.case.fails(rig.store.stat(&at).await, missing, "stat after all that");
}

pub(super) async fn a_taken_id_is_refused_and_its_bytes_kept(rig: Rig<impl ChunkStore>) {
    let taken = id("a");
    let at = rig.create(&taken).await;
    for chunk in [&b""[..], b"first"] {
        rig.append(&at, chunk).await;
        let again = rig.store.create(&NewObject::new(&taken)).await;
        rig.case.fails(again, StoreErrorKind::AlreadyExists, "create of an id that is taken");
        rig.holds(&at, chunk, "after a refused creation").await;
    }
}

pub(super) async fn of_many_creations_at_once_one_succeeds(rig: Rig<impl ChunkStore>) {
    for round in 0..8 {
        let contested = id(format!("contested-{round}"));
        let racers = (0..16).map(|_| {
            let (rig, id) = (rig.clone(), contested.clone());
            tokio::spawn(async move { rig.store.create(&NewObject::new(&id)).await })
        });
        let mut winners = Vec::new();
        for result in rig.case.join_all(racers.collect()).await {
            match result {
                Ok(at) => winners.push(at),
                lost => rig.case.fails(lost, StoreErrorKind::AlreadyExists, "a lost creation"),
            }
        }
        rig.case.same(winners.len(), 1, "the number of creations that succeeded");
        for at in winners {
            rig.append(&at, b"mine").await;
            rig.holds(&at, b"mine", "of what was created").await;
        }
    }
}

pub(super) async fn objects_that_look_alike_do_not_mix(rig: Rig<impl ChunkStore>) {
    let longest = "x".repeat(UploadId::MAX_LEN);
    let ids = ["a", "A", "aa", "a-", "a_", "-a", "_", "-", "0", "00", &longest, &longest[1..]];
    let mut objects = Vec::new();
    for (seed, text) in (0..).zip(ids) {
        let at = rig.create(&id(text)).await;
        objects.push((text, at, bytes(seed, 500 + text.len())));
    }
    for half in [0, 250] {
        for (_, at, bytes) in &objects {
            let end = if half == 0 { 250 } else { bytes.len() };
            rig.append(at, &bytes[half..end]).await;
        }
    }
    for pair in objects.chunks_exact(2) {
        for (text, at, bytes) in pair {
            rig.holds(at, bytes, &format!("of {text:?}")).await;
        }
        let (_, first, _) = &pair[0];
        rig.case.done(rig.store.remove(first).await, "remove");
    }
    for pair in objects.chunks_exact(2) {
        let (text, at, bytes) = &pair[1];
        rig.holds(at, bytes, &format!("of {text:?}, after others were removed")).await;
    }
}

pub(super) async fn only_what_is_empty_may_be_unrecorded(rig: Rig<impl ChunkStore>) {
    rig.holding(&id("full"), b"bytes").await;
    for text in ["c", "a", "b"] {
        rig.create(&id(text)).await;
    }
    let ask = async |after: Option<&UploadId>, limit| {
        rig.case.done(rig.store.unrecorded(after, limit).await, "unrecorded")
    };
    let all = ask(None, 100).await;
    for (id, at) in &all {
        let empty = ["a", "b", "c"].contains(&id.as_str());
        rig.case.holds(empty, format_args!("unrecorded names {id}, which is not empty"));
        rig.case.same(rig.stat(at).await.length, 0, "the length of what is perhaps unrecorded");
    }
    let order = all.is_sorted_by(|(a, _), (b, _)| a < b);
    rig.case.holds(order, format_args!("unrecorded is not in the order of ids: {all:?}"));
    let Some((first, rest)) = all.split_first() else { return };
    rig.case.same(ask(None, 1).await, vec![first.clone()], "the first that is unrecorded");
    rig.case.same(ask(Some(&first.0), 100).await, rest.to_vec(), "the others");
    rig.case.done(rig.store.remove(&first.1).await, "remove");
    rig.case.same(ask(None, 100).await, rest.to_vec(), "what is left after a removal");
}

pub(super) async fn removal_can_be_repeated(rig: Rig<impl ChunkStore>) {
    let old = bytes(1, 10_000);
    let at = rig.holding(&id("a"), &old).await;
    for _ in 0..2 {
        rig.case.done(rig.store.remove(&at).await, "remove");
        rig.case.fails(rig.store.stat(&at).await, StoreErrorKind::NotFound, "stat after remove");
    }
    let at = rig.create(&id("a")).await;
    rig.case.same(rig.stat(&at).await.length, 0, "the length of what was created again");
    rig.append(&at, b"new").await;
    rig.holds(&at, b"new", "of what was created again").await;
}

pub(super) async fn many_uploads_at_once_do_not_mix(rig: Rig<impl ChunkStore>) {
    let uploads = (0..64).map(|seed| {
        let rig = rig.clone();
        tokio::spawn(async move {
            let mine = bytes(seed, 100_000 + seed as usize);
            let at = rig.create(&id(format!("upload-{seed}"))).await;
            let mut offset = 0;
            for request in mine.chunks(40_000) {
                let mut writer = rig.open(&at, offset).await;
                for chunk in request.chunks(7_001) {
                    rig.write(&mut *writer, chunk).await;
                    tokio::task::yield_now().await;
                }
                offset = rig.case.done(writer.sync().await, "sync");
            }
            (at, mine)
        })
    });
    for (at, mine) in rig.case.join_all(uploads.collect()).await {
        rig.holds(&at, &mine, "of one of 64 uploads at once").await;
    }
}

pub(super) async fn the_last_write_is_dated(rig: Rig<impl ChunkStore>) {
    const TOLERANCE: Duration = Duration::from_secs(15 * 60);
    let at = rig.create(&id("a")).await;
    let mut last = Timestamp::EPOCH;
    for n in 0..3 {
        rig.append(&at, b"more").await;
        let (modified, now) = (rig.stat(&at).await.modified, Timestamp::now());
        let off = modified.since(now).max(now.since(modified));
        rig.case.holds(off < TOLERANCE, format_args!("write {n} is dated {off:?} off our clock"));
        rig.case.holds(modified >= last, format_args!("write {n} is dated before the one before"));
        last = modified;
    }
}
