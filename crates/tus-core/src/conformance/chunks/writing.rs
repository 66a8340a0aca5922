use std::{future::Future as _, pin::pin, task::Context, time::Duration};

use bytes::Bytes;

use super::Rig;
use crate::{
    conformance::samples::{bytes, id},
    store::{ChunkStore, StoreErrorKind},
};

const MIB: usize = 1024 * 1024;

pub(super) async fn synced_bytes_are_stored(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 5_000);
    let at = rig.create(&id("a")).await;
    let mut writer = rig.open(&at, 0).await;
    let mut end = 0;
    for chunk in all.chunks(1_700) {
        rig.write(&mut *writer, chunk).await;
        end += chunk.len();
        let length = rig.case.done(writer.sync().await, "sync");
        rig.case.same(length, end as u64, "the length that sync returns");
        rig.holds(&at, &all[..end], "after a sync in the middle").await;
    }
    drop(writer);
    rig.holds(&at, &all, "after the writer was dropped").await;
}

pub(super) async fn a_sync_of_nothing_returns_the_length(rig: Rig<impl ChunkStore>) {
    let at = rig.create(&id("a")).await;
    for stored in [0, 3] {
        let mut writer = rig.open(&at, stored).await;
        for _ in 0..2 {
            let length = rig.case.done(writer.sync().await, "sync");
            rig.case.same(length, stored, "the length that sync returns");
        }
        rig.write(&mut *writer, b"abc").await;
        for _ in 0..2 {
            let length = rig.case.done(writer.sync().await, "sync");
            rig.case.same(length, stored + 3, "the length that sync returns");
        }
    }
    rig.holds(&at, b"abcabc", "after two writers").await;
}

pub(super) async fn pieces_of_any_size_are_stored_in_order(rig: Rig<impl ChunkStore>) {
    const K64: usize = 64 * 1024;
    let mixed = [1, 0, K64 - 1, 1, K64, 0, K64 + 1, 3 * MIB, 1, 4_095, 3 * MIB + 1, 0];
    let tables = [
        ("of every size", mixed.to_vec()),
        ("of one byte", vec![1; 300]),
        ("of no bytes", vec![0; 3]),
        ("just below 64 KiB", vec![K64 - 1; 17]),
        ("of 64 KiB", vec![K64; 17]),
        ("just above 64 KiB", vec![K64 + 1; 17]),
    ];
    for (seed, (name, sizes)) in (0..).zip(tables) {
        let all = bytes(seed, sizes.iter().sum());
        let at = rig.create(&id(format!("pieces-{seed}"))).await;
        let mut writer = rig.open(&at, 0).await;
        let mut rest = all.clone();
        for size in sizes {
            let written = writer.write(rest.split_to(size)).await;
            rig.case.done(written, format_args!("write of {size} bytes"));
        }
        let length = rig.case.done(writer.sync().await, "sync");
        rig.case.same(length, all.len() as u64, format_args!("what sync returns, pieces {name}"));
        drop(writer);
        rig.holds(&at, &all, &format!("after pieces {name}")).await;
    }
}

pub(super) async fn the_stored_length_only_grows(rig: Rig<impl ChunkStore>) {
    let chunk = bytes(1, 150_000);
    let at = rig.create(&id("a")).await;
    let mut writer = rig.open(&at, 0).await;
    let (mut stored, mut written, mut synced) = (0, 0, 0);
    for n in 1..=24 {
        rig.write(&mut *writer, &chunk).await;
        written += chunk.len() as u64;
        if n % 5 == 0 {
            synced = rig.case.done(writer.sync().await, "sync");
        }
        let now = rig.stat(&at).await.length;
        let seen = format!("{now} bytes are stored of {written} written and {synced} synced");
        rig.case.holds(now >= stored && now >= synced, format_args!("{seen}; before: {stored}"));
        rig.case.holds(now <= written, seen);
        stored = now;
    }
}

pub(super) async fn writers_follow_one_another(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 200_000);
    let at = rig.create(&id("a")).await;
    let mut end = 0;
    for size in [1, 65_536, 0, 99_999, 1_000, 33_464] {
        rig.append(&at, &all[end..end + size]).await;
        end += size;
        rig.holds(&at, &all[..end], "after one of several writers").await;
    }
}

pub(super) async fn a_wrong_offset_conflicts_and_changes_nothing(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 5_000);
    let at = rig.create(&id("a")).await;
    let conflict = StoreErrorKind::Conflict;
    rig.case.fails(rig.try_open(&at, 1).await, conflict, "open at 1 of nothing");
    rig.append(&at, &all).await;
    for offset in [0, 1, 4_999, 5_001, u64::from(u32::MAX), u64::MAX] {
        let wrong = rig.try_open(&at, offset).await;
        rig.case.fails(wrong, conflict, format_args!("open at {offset} of 5000"));
        rig.holds(&at, &all, "after a wrong open").await;
    }
    rig.append(&at, b"x").await;
}

pub(super) async fn a_dropped_writer_leaves_a_true_prefix(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 4 * MIB);
    for (n, size) in [1, 5_000, 64 * 1024, 1_000_000].into_iter().enumerate() {
        let at = rig.create(&id(format!("dropped-{n}"))).await;
        rig.append(&at, &all[..1_000]).await;
        let mut writer = rig.open(&at, 1_000).await;
        for chunk in all[1_000..].chunks(size).take(3) {
            rig.write(&mut *writer, chunk).await;
        }
        drop(writer);
        let kept = rig.stat(&at).await.length;
        let most = 1_000 + 3 * size;
        let seen = format!("{kept} bytes are stored of {most} written and 1000 synced");
        rig.case.holds((1_000..=most as u64).contains(&kept), &seen);

        // What is not known to be durable is made so by a sync that has nothing to add.
        let mut writer = rig.open(&at, kept).await;
        rig.case.same(rig.case.done(writer.sync().await, "sync"), kept, "what sync returns");
        rig.holds(&at, &all[..kept as usize], "after a writer was dropped").await;
        rig.write(&mut *writer, &all[kept as usize..]).await;
        rig.case.done(writer.sync().await, "sync");
        drop(writer);
        rig.holds(&at, &all, "after a dropped writer was followed by another").await;
    }
}

pub(super) async fn a_writer_that_wrote_nothing_changes_nothing(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 1_000);
    let at = rig.holding(&id("a"), &all).await;
    for _ in 0..3 {
        drop(rig.open(&at, 1_000).await);
        let mut writer = rig.open(&at, 1_000).await;
        rig.write(&mut *writer, b"").await;
        drop(writer);
    }
    rig.holds(&at, &all, "after writers that wrote nothing").await;
}

/// Lets go of writers in the middle of a write, and looks for bytes that come late.
pub(super) async fn nothing_lands_after_a_drop(rig: Rig<impl ChunkStore>) {
    /// Nothing can be awaited that must not happen, so it is given a while to happen.
    const WHILE: Duration = Duration::from_millis(300);
    let stray = bytes(1, 3 * MIB);
    let mut objects = Vec::new();
    for n in 0..8 {
        let at = rig.create(&id(format!("let-go-{n}"))).await;
        rig.append(&at, &stray[..1_000]).await;
        let mut writer = rig.open(&at, 1_000).await;
        {
            let mut write = pin!(writer.write(stray.slice(1_000..)));
            let mut context = Context::from_waker(std::task::Waker::noop());
            for _ in 0..=n % 3 {
                if write.as_mut().poll(&mut context).is_ready() {
                    break;
                }
            }
        }
        drop(writer);
        let kept = rig.stat(&at).await.length as usize;
        rig.case.holds((1_000..=stray.len()).contains(&kept), format_args!("{kept} are stored"));
        // The next writer's bytes differ, so that a late one of the first is seen among them.
        let next = bytes(2 + n, if n < 4 { 1_000 } else { 3 * MIB });
        rig.append(&at, &next).await;
        objects.push((at, [&stray[..kept], &next[..]].concat()));
    }
    tokio::time::sleep(WHILE).await;
    for (at, all) in objects {
        rig.holds(&at, &all, "some time after a writer was dropped").await;
    }
}

/// A writer that has lost the upload without knowing it writes what the next one wrote too.
pub(super) async fn the_same_bytes_again_change_nothing(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 100_000);
    let at = rig.create(&id("a")).await;
    rig.append(&at, &all[..10_000]).await;
    let mut first = rig.open(&at, 10_000).await;
    // A store may know that it is being written, and may find out the one that was overtaken.
    let mut second = match rig.try_open(&at, 10_000).await {
        Ok(second) => second,
        held => {
            let conflict = StoreErrorKind::Conflict;
            return rig.case.fails(held, conflict, "open of what is being written");
        }
    };
    rig.write(&mut *second, &all[10_000..]).await;
    rig.case.done(second.sync().await, "sync");
    let again = async {
        first.write(Bytes::copy_from_slice(&all[10_000..60_000])).await?;
        first.sync().await
    };
    match again.await {
        Ok(length) => {
            let seen =
                format!("sync returns {length} of 100000 stored bytes, 60000 of them its own");
            rig.case.holds((60_000..=100_000).contains(&length), seen);
        }
        lost => rig.case.fails(lost, StoreErrorKind::Conflict, "the same write again"),
    }
    drop((first, second));
    let length = rig.stat(&at).await.length;
    rig.case.same(length, 100_000, "the length after the same bytes were written again");
    rig.shows(&at, &all, "after the same bytes were written again").await;
}

pub(super) async fn a_cut_object_goes_on_from_there(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 300_000);
    let at = rig.holding(&id("a"), &all).await;
    for length in [299_999, 65_536, 65_535, 1, 0, 0] {
        rig.case.done(rig.store.truncate(&at, length as u64).await, "truncate");
        rig.holds(&at, &all[..length], &format!("after a cut to {length}")).await;
    }
    let wrong = rig.try_open(&at, 1).await;
    rig.case.fails(wrong, StoreErrorKind::Conflict, "open at a length from before the cut");
    let other = bytes(2, 300_000);
    rig.append(&at, &other[..200_000]).await;
    rig.case.done(rig.store.truncate(&at, 100_000).await, "truncate");
    rig.append(&at, &all[..1]).await;
    let sum = [&other[..100_000], &all[..1]].concat();
    rig.holds(&at, &sum, "after a cut and another write").await;
}

pub(super) async fn a_shorter_object_is_not_stretched(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 1_000);
    let at = rig.create(&id("a")).await;
    rig.case.done(rig.store.truncate(&at, 1).await, "truncate of nothing");
    rig.append(&at, &all).await;
    for length in [1_000, 1_001, 1 << 40, u64::MAX] {
        rig.case.done(rig.store.truncate(&at, length).await, "truncate");
        rig.holds(&at, &all, &format!("after a cut of 1000 bytes to {length}")).await;
    }
    rig.append(&at, b"x").await;
}
