mod due;

use std::sync::Arc;

use self::due::{
    a_thousand_due_records_are_walked_in_pages, changed_and_removed_records_are_due_no_more,
    what_is_due_comes_oldest_first,
};
use super::{
    Case,
    promises::meta as promise,
    samples::{id, upload, uploads},
};
use crate::{
    model::{Revision, Timestamp, Upload, UploadId},
    store::{MetaStore, StoreErrorKind, record},
};

/// Tries every promise of [`MetaStore`] on stores that `make` makes, each empty.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn meta<S: MetaStore>(make: impl AsyncFn() -> S) {
    macro_rules! run {
        ($($case:ident: $promise:expr,)+) => {$(
            let case = Case { suite: "meta", name: stringify!($case), promise: $promise };
            case.run(async { $case(case, Arc::new(make().await)).await }).await;
        )+};
    }
    run! {
        what_was_created_is_loaded: promise::KEPT,
        an_unknown_id_is_not_found: promise::LOAD,
        a_taken_id_is_refused_and_its_record_kept: promise::CREATE_TAKEN,
        of_many_creations_at_once_one_succeeds: promise::CREATE,
        ids_that_look_alike_are_not_one: promise::CREATE_TAKEN,
        an_update_replaces_the_record: promise::KEPT,
        a_stale_update_conflicts_and_changes_nothing: promise::UPDATE_REFUSED,
        of_many_updates_of_one_revision_one_succeeds: promise::UPDATE,
        increments_at_once_all_count: promise::UPDATE,
        a_removed_record_is_not_updated: promise::UPDATE_REFUSED,
        removal_can_be_repeated: promise::REMOVE,
        every_field_survives: promise::KEPT,
        a_record_of_the_largest_size_survives: promise::KEPT,
        what_is_due_comes_oldest_first: promise::DUE,
        changed_and_removed_records_are_due_no_more: promise::DUE,
        a_thousand_due_records_are_walked_in_pages: promise::DUE,
    }
}

async fn what_was_created_is_loaded(case: Case, store: Arc<impl MetaStore>) {
    let written = upload(&id("a"));
    let created = case.done(store.create(&written).await, "create");
    let (read, revision) = case.done(store.load(&written.id).await, "load");
    case.same(read, written, "the record");
    case.same(revision, created, "the revision that load gives");
}

async fn an_unknown_id_is_not_found(case: Case, store: Arc<impl MetaStore>) {
    case.done(store.create(&upload(&id("known"))).await, "create of another id");
    case.fails(store.load(&id("unknown")).await, StoreErrorKind::NotFound, "load");
}

async fn a_taken_id_is_refused_and_its_record_kept(case: Case, store: Arc<impl MetaStore>) {
    let first = Upload { owner: Some("first".to_owned()), ..upload(&id("a")) };
    let second = Upload { owner: Some("second".to_owned()), ..upload(&id("a")) };
    let created = case.done(store.create(&first).await, "create");
    let again = store.create(&second).await;
    case.fails(again, StoreErrorKind::AlreadyExists, "create of an id that is taken");
    let (read, revision) = case.done(store.load(&first.id).await, "load");
    case.same(read, first, "the record after a refused creation");
    case.same(revision, created, "the revision after a refused creation");
}

async fn of_many_creations_at_once_one_succeeds(case: Case, store: Arc<impl MetaStore>) {
    for round in 0..8 {
        let id = id(format!("contested-{round}"));
        let racers = (0..16).map(|racer: u32| {
            let mine = Upload { owner: Some(racer.to_string()), ..upload(&id) };
            let store = store.clone();
            tokio::spawn(async move { store.create(&mine).await.map(|_| mine) })
        });
        let mut winners = Vec::new();
        for result in case.join_all(racers.collect()).await {
            match result {
                Ok(mine) => winners.push(mine),
                lost => case.fails(lost, StoreErrorKind::AlreadyExists, "a creation that lost"),
            }
        }
        case.same(winners.len(), 1, "the number of creations that succeeded");
        let (read, _) = case.done(store.load(&id).await, "load");
        case.same(vec![read], winners, "the record, against what the one that succeeded wrote");
    }
}

async fn ids_that_look_alike_are_not_one(case: Case, store: Arc<impl MetaStore>) {
    let longest = "x".repeat(UploadId::MAX_LEN);
    let ids = ["a", "A", "aa", "a-", "a_", "-a", "_", "-", "0", "00", &longest, &longest[1..]];
    for text in ids {
        let mine = Upload { owner: Some(text.to_owned()), ..upload(&id(text)) };
        case.done(store.create(&mine).await, format_args!("create of {text:?}"));
    }
    for (n, text) in ids.into_iter().enumerate() {
        let (read, _) = case.done(store.load(&id(text)).await, format_args!("load of {text:?}"));
        case.same(read.owner.as_deref(), Some(text), format_args!("the owner of {text:?}"));
        case.same(read.id.as_str(), text, "the id in the record");
        if n % 2 == 0 {
            case.done(store.remove(&id(text)).await, format_args!("remove of {text:?}"));
        }
    }
    for text in ids.into_iter().skip(1).step_by(2) {
        case.done(store.load(&id(text)).await, format_args!("load of {text:?}, never removed"));
    }
}

async fn an_update_replaces_the_record(case: Case, store: Arc<impl MetaStore>) {
    let first = Upload { owner: Some("somebody".to_owned()), ..upload(&id("a")) };
    let created = case.done(store.create(&first).await, "create");
    let second = Upload { owner: None, length: None, fence: Some(7), ..first };
    let updated = case.done(store.update(&second, created).await, "update");
    case.holds(updated != created, "update returned the revision that it replaced");
    let (read, revision) = case.done(store.load(&second.id).await, "load");
    case.same(&read, &second, "the record");
    case.same(revision, updated, "the revision that load gives");
    let third = Upload { fence: Some(8), ..second };
    case.done(store.update(&third, updated).await, "update from the revision that update gave");
}

async fn a_stale_update_conflicts_and_changes_nothing(case: Case, store: Arc<impl MetaStore>) {
    let first = upload(&id("a"));
    let stale = case.done(store.create(&first).await, "create");
    let newer = Upload { fence: Some(1), expires_at: Some(Timestamp::EPOCH), ..first.clone() };
    let current = case.done(store.update(&newer, stale).await, "update");
    let late = Upload { fence: Some(2), ..first };
    for _ in 0..2 {
        let refused = store.update(&late, stale).await;
        case.fails(refused, StoreErrorKind::Conflict, "update of an older revision");
        let (read, revision) = case.done(store.load(&late.id).await, "load");
        case.same(&read, &newer, "the record after a refused update");
        case.same(revision, current, "the revision after a refused update");
        let due = case.done(store.due(Timestamp::EPOCH, None, 9).await, "due");
        case.same(due.len(), 1, "the number of due records after a refused update");
    }
    case.done(store.update(&late, current).await, "update of the current revision");
}

async fn of_many_updates_of_one_revision_one_succeeds(case: Case, store: Arc<impl MetaStore>) {
    let id = id("a");
    let mut current = case.done(store.create(&upload(&id)).await, "create");
    for round in 0..8 {
        let racers = (0..16).map(|racer| {
            let mine = Upload { fence: Some(round * 16 + racer), ..upload(&id) };
            let store = store.clone();
            tokio::spawn(async move { store.update(&mine, current).await.map(|new| (mine, new)) })
        });
        let mut winners = Vec::new();
        for result in case.join_all(racers.collect()).await {
            match result {
                Ok(won) => winners.push(won),
                lost => case.fails(lost, StoreErrorKind::Conflict, "an update that lost"),
            }
        }
        case.same(winners.len(), 1, "the number of updates that succeeded");
        let read = case.done(store.load(&id).await, "load");
        current = read.1;
        case.same(vec![read], winners, "the record, against what the one that succeeded wrote");
    }
}

async fn increments_at_once_all_count(case: Case, store: Arc<impl MetaStore>) {
    const TASKS: u64 = 8;
    const TIMES: u64 = 25;
    let zero = Upload { length: Some(0), ..upload(&id("a")) };
    case.done(store.create(&zero).await, "create");
    let tasks = (0..TASKS).map(|_| {
        let (store, id) = (store.clone(), zero.id.clone());
        tokio::spawn(async move {
            let mut counted = 0;
            while counted < TIMES {
                let (mut read, revision) = case.done(store.load(&id).await, "load");
                read.length = read.length.map(|n| n + 1);
                match store.update(&read, revision).await {
                    Ok(_) => counted += 1,
                    lost => case.fails(lost, StoreErrorKind::Conflict, "an update that lost"),
                }
            }
        })
    });
    case.join_all(tasks.collect()).await;
    let (read, _) = case.done(store.load(&zero.id).await, "load");
    case.same(read.length, Some(TASKS * TIMES), "the sum of all increments");
}

async fn a_removed_record_is_not_updated(case: Case, store: Arc<impl MetaStore>) {
    let record = Upload { expires_at: Some(Timestamp::EPOCH), ..upload(&id("a")) };
    let never = store.update(&record, Revision(1)).await;
    case.fails(never, StoreErrorKind::NotFound, "update of a record that never was");
    let created = case.done(store.create(&record).await, "create");
    case.done(store.remove(&record.id).await, "remove");
    let gone = store.update(&record, created).await;
    case.fails(gone, StoreErrorKind::NotFound, "update of a record that is gone");
    let load = store.load(&record.id).await;
    case.fails(load, StoreErrorKind::NotFound, "load after a refused update");
    let due = case.done(store.due(Timestamp::EPOCH, None, 9).await, "due");
    case.same(due, Vec::new(), "what is due after a refused update");
}

async fn removal_can_be_repeated(case: Case, store: Arc<impl MetaStore>) {
    let (mine, other) = (upload(&id("a")), upload(&id("b")));
    case.done(store.remove(&mine.id).await, "remove of an id that never was");
    case.done(store.create(&mine).await, "create");
    case.done(store.create(&other).await, "create");
    for _ in 0..2 {
        case.done(store.remove(&mine.id).await, "remove");
        case.fails(store.load(&mine.id).await, StoreErrorKind::NotFound, "load after remove");
    }
    case.done(store.load(&other.id).await, "load of another record");
    case.done(store.create(&mine).await, "create after remove");
    case.done(store.load(&mine.id).await, "load of what was created again");
}

async fn every_field_survives(case: Case, store: Arc<impl MetaStore>) {
    let changing = id("changing");
    let mut current = case.done(store.create(&upload(&changing)).await, "create");
    for (n, written) in uploads(&changing).into_iter().enumerate() {
        current = case.done(store.update(&written, current).await, "update");
        let (read, _) = case.done(store.load(&changing).await, "load");
        case.same(read.metadata.raw(), written.metadata.raw(), "the metadata's text");
        case.same(read, written.clone(), "an updated record");

        let created = Upload { id: id(format!("created-{n}")), ..written };
        case.done(store.create(&created).await, "create");
        let (read, _) = case.done(store.load(&created.id).await, "load");
        case.same(read, created, "a created record");
    }
}

async fn a_record_of_the_largest_size_survives(case: Case, store: Arc<impl MetaStore>) {
    let sized = |owner: usize| {
        let large = Upload { owner: Some("x".repeat(owner)), ..upload(&id("large")) };
        let length = case.done(record::encode(&large), "encode").len();
        (large, length)
    };
    // The length of a record stands in its head: with more digits, the head grows by a few bytes.
    let (_, rest) = sized(0);
    let (large, length) = sized(record::MAX_LEN - rest - 8);
    case.holds(length <= record::MAX_LEN && length > record::MAX_LEN - 16, "not near the limit");
    let created = case.done(store.create(&large).await, format_args!("create of {length} bytes"));
    let (read, _) = case.done(store.load(&large.id).await, "load");
    case.holds(read == large, format_args!("a record of {length} bytes came back changed"));
    let other = Upload { owner: large.owner.map(|text| text.replace('x', "y")), ..read };
    case.done(store.update(&other, created).await, format_args!("update of {length} bytes"));
    let (read, _) = case.done(store.load(&other.id).await, "load");
    case.holds(read == other, format_args!("a record of {length} bytes came back changed"));
}
