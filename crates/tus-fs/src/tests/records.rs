use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use tus_core::{
    Revision,
    store::{Due, MetaStore, record},
};

use super::*;
use crate::Durability;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn expiring(text: &str, millis: u64) -> Upload {
    Upload { expires_at: Some(at(millis)), ..upload(text) }
}

async fn due(store: &FsStore, now: u64, after: Option<&Due>, limit: usize) -> Vec<String> {
    let due = store.due(at(now), after, limit).await.unwrap();
    due.into_iter().map(|due| due.id.to_string()).collect()
}

#[tokio::test]
async fn records_survive_reopening_in_either_durability() {
    for durability in [Durability::Power, Durability::Process] {
        let home = Home::new();
        let store = home.builder().durability(durability).open().await.unwrap();
        let first = MetaStore::create(&store, &named("u", "a.txt")).await.unwrap();
        let changed = Upload { fence: Some(3), ..named("u", "a.txt") };
        let second = store.update(&changed, first).await.unwrap();
        drop(store);
        let store = home.builder().durability(durability).open().await.unwrap();
        assert_eq!(store.load(&id("u")).await.unwrap(), (changed.clone(), second));
        fails(store.update(&changed, first).await, StoreErrorKind::Conflict);
        assert_eq!(home.names(), ["u.rec"]);

        MetaStore::remove(&store, &id("u")).await.unwrap();
        MetaStore::remove(&store, &id("u")).await.unwrap();
        fails(store.load(&id("u")).await, StoreErrorKind::NotFound);
        fails(store.update(&changed, second).await, StoreErrorKind::NotFound);
        assert_eq!(home.names(), [""; 0]);
    }
}

#[tokio::test]
async fn an_id_is_created_once() {
    let home = Home::new();
    let store = home.store().await;
    let first = Upload { owner: Some("ann".to_owned()), ..upload("u") };
    MetaStore::create(&store, &first).await.unwrap();
    let text = fails(MetaStore::create(&store, &upload("u")).await, StoreErrorKind::AlreadyExists);
    assert!(text.contains("u.rec"), "{text}");
    assert_eq!(store.load(&id("u")).await.unwrap(), (first, Revision(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_of_one_revision_one_succeeds() {
    let home = Home::new();
    let store = home.store().await;
    let mut current = MetaStore::create(&store, &upload("u")).await.unwrap();
    for round in 0..4 {
        let racers = (0..16).map(|n| {
            let (store, mine) = (store.clone(), Upload { fence: Some(n), ..upload("u") });
            tokio::spawn(async move { store.update(&mine, current).await.map(|next| (mine, next)) })
        });
        let mut won = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                Ok(winner) => won.push(winner),
                lost => drop(fails(lost, StoreErrorKind::Conflict)),
            }
        }
        assert_eq!(won, [store.load(&id("u")).await.unwrap()], "round {round}");
        current = won[0].1;
    }
}

#[tokio::test]
async fn a_record_with_any_byte_changed_or_missing_is_corrupt_and_harms_no_other() {
    let home = Home::new();
    let store = home.store().await;
    let upload = Upload { owner: Some("ann".to_owned()), ..expiring("u", 1) };
    MetaStore::create(&store, &upload).await.unwrap();
    MetaStore::create(&store, &expiring("other", 2)).await.unwrap();
    let good = fs::read(home.file("u.rec")).unwrap();
    let damage = |bytes: &[u8]| fs::write(home.file("u.rec"), bytes).unwrap();
    for n in 0..good.len() {
        let mut flipped = good.clone();
        flipped[n] ^= 1;
        damage(&flipped);
        fails(store.load(&upload.id).await, StoreErrorKind::Corrupt);
        damage(&good[..n]);
        fails(store.load(&upload.id).await, StoreErrorKind::Corrupt);
    }
    damage(&[&good, &b"x"[..]].concat());
    fails(store.load(&upload.id).await, StoreErrorKind::Corrupt);
    fails(store.update(&upload, Revision(1)).await, StoreErrorKind::Corrupt);
    assert_eq!(due(&store, u64::MAX, None, 9).await, ["other"]);
    damage(&vec![b'x'; 3 * record::MAX_LEN]);
    fails(store.load(&upload.id).await, StoreErrorKind::Corrupt);
    damage(&good);
    assert_eq!(store.load(&upload.id).await.unwrap().0, upload);
}

#[tokio::test]
async fn the_record_of_another_upload_is_corrupt() {
    let home = Home::new();
    let store = home.store().await;
    MetaStore::create(&store, &upload("mine")).await.unwrap();
    fs::copy(home.file("mine.rec"), home.file("yours.rec")).unwrap();
    fails(store.load(&id("yours")).await, StoreErrorKind::Corrupt);
}

/// As on a file system that takes both names for one.
#[tokio::test]
async fn an_id_in_other_letters_is_no_upload() {
    let home = Home::new();
    let store = home.store().await;
    MetaStore::create(&store, &upload("mine")).await.unwrap();
    fs::copy(home.file("mine.rec"), home.file("MINE.rec")).unwrap();
    fails(store.load(&id("MINE")).await, StoreErrorKind::NotFound);
    fs::copy(home.file("mine.rec"), home.file("mini.rec")).unwrap();
    fails(store.load(&id("mini")).await, StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_planted_link_is_neither_read_nor_written_through() {
    let home = Home::new();
    let store = home.store().await;
    MetaStore::create(&store, &upload("u")).await.unwrap();
    let elsewhere = home.0.path().join("elsewhere");
    fs::rename(home.file("u.rec"), &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, home.file("u.rec")).unwrap();
    fails(store.load(&id("u")).await, StoreErrorKind::Corrupt);
    fails(MetaStore::create(&store, &upload("u")).await, StoreErrorKind::AlreadyExists);

    fs::remove_file(home.file("u.rec")).unwrap();
    symlink(&elsewhere, home.file("u.rec.tmp")).unwrap();
    MetaStore::create(&store, &upload("u")).await.unwrap();
    assert!(fs::symlink_metadata(home.file("u.rec")).unwrap().is_file());
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

#[tokio::test]
async fn what_an_interrupted_write_left_aside_is_written_over() {
    let home = Home::new();
    let store = home.store().await;
    fs::write(home.file("u.rec.tmp"), "x".repeat(100_000)).unwrap();
    let first = MetaStore::create(&store, &upload("u")).await.unwrap();
    assert_eq!(store.load(&id("u")).await.unwrap().0, upload("u"));
    fs::write(home.file("u.rec.tmp"), "x".repeat(100_000)).unwrap();
    store.update(&upload("u"), first).await.unwrap();
    assert_eq!(store.load(&id("u")).await.unwrap().0, upload("u"));
    assert_eq!(home.names(), ["u.rec"]);
}

#[tokio::test]
async fn due_gives_pages_oldest_first() {
    let home = Home::new();
    let store = home.store().await;
    for (text, when) in [("d", 40), ("b", 20), ("c", 20), ("a", 10), ("late", 101)] {
        MetaStore::create(&store, &expiring(text, when)).await.unwrap();
    }
    MetaStore::create(&store, &upload("never")).await.unwrap();
    fs::write(home.file("stray"), "").unwrap();
    fs::write(home.file("not an id.rec"), "").unwrap();
    assert_eq!(due(&store, 100, None, 9).await, ["a", "b", "c", "d"]);
    assert_eq!(due(&store, 100, None, 0).await, [""; 0]);
    let page = store.due(at(100), None, 2).await.unwrap();
    assert_eq!(page, [Due { at: at(10), id: id("a") }, Due { at: at(20), id: id("b") }]);
    assert_eq!(due(&store, 100, page.last(), 2).await, ["c", "d"]);
    assert_eq!(due(&store, 39, page.last(), 2).await, ["c"]);
    assert_eq!(due(&store, 100, Some(&Due { at: at(40), id: id("d") }), 2).await, [""; 0]);
}

#[tokio::test]
async fn due_follows_updates_across_reopening() {
    let home = Home::new();
    let store = home.store().await;
    let hour = 3_600_000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let first = MetaStore::create(&store, &expiring("u", now + hour)).await.unwrap();
    assert_eq!(due(&store, now, None, 9).await, [""; 0]);
    assert_eq!(due(&store, now + hour, None, 9).await, ["u"]);
    let second = store.update(&expiring("u", now - hour), first).await.unwrap();
    assert_eq!(due(&store, now, None, 9).await, ["u"]);
    let third = store.update(&upload("u"), second).await.unwrap();
    assert_eq!(due(&store, now + 1000 * hour, None, 9).await, [""; 0]);
    store.update(&expiring("u", u64::MAX), third).await.unwrap();
    drop(store);
    assert_eq!(due(&home.store().await, now + 1000 * hour, None, 9).await, [""; 0]);
}

#[tokio::test]
async fn due_does_not_open_records_that_are_not_due() {
    let home = Home::new();
    let store = home.store().await;
    MetaStore::create(&store, &expiring("u", 5_000)).await.unwrap();
    let file = File::open(home.file("u.rec")).unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), at(5_000).to_system_time());
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    file.set_modified(later).unwrap();
    assert_eq!(due(&store, 59_999, None, 9).await, [""; 0]);
    assert_eq!(due(&store, 60_000, None, 9).await, ["u"]);
}

#[tokio::test]
async fn a_restored_backup_that_lost_its_times_is_read_all_the_same() {
    let home = Home::new();
    let store = home.store().await;
    for (text, when) in [("early", 1_000), ("late", 90_000)] {
        MetaStore::create(&store, &expiring(text, when)).await.unwrap();
        let file = File::open(home.file(&format!("{text}.rec"))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(50)).unwrap();
    }
    assert_eq!(due(&store, 60_000, None, 9).await, ["early"]);
}

#[tokio::test]
async fn a_record_is_not_read_while_an_update_is_under_way_whose_caller_may_have_gone() {
    let home = Home::new();
    let store = home.store().await;
    MetaStore::create(&store, &upload("u")).await.unwrap();
    let under_way = store.0.records.enter(&id("u")).await;
    let u = id("u");
    let mut load = store.load(&u);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(load.as_mut().poll(&mut context).is_pending());
    drop(under_way);
    assert_eq!(load.await.unwrap().1, Revision(1));
}
