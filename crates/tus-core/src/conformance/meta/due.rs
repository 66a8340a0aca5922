use std::sync::Arc;

use crate::{
    conformance::{
        Case,
        samples::{id, upload},
    },
    model::{Timestamp, Upload},
    store::{Due, MetaStore},
};

fn expiring(name: impl Into<String>, at: u64) -> Upload {
    Upload { expires_at: Some(Timestamp::from_millis(at)), ..upload(&id(name)) }
}

fn due(record: &Upload) -> Option<Due> {
    record.due_at().map(|at| Due { at, id: record.id.clone() })
}

pub(super) async fn what_is_due_comes_oldest_first(case: Case, store: Arc<impl MetaStore>) {
    let now = Timestamp::from_millis(5_000);
    let empty = case.done(store.due(now, None, 9).await, "due");
    case.same(empty, Vec::new(), "what is due in an empty store");
    let ages = [("d", 5_000), ("a", 4_000), ("f", 5_001), ("c", 1_000), ("b", 2_000), ("e", 0)];
    for (name, at) in ages {
        case.done(store.create(&expiring(name, at)).await, "create");
    }
    let never = Upload { expires_at: None, ..upload(&id("never")) };
    let end = Timestamp::EPOCH.after(std::time::Duration::MAX);
    let last = Upload { expires_at: Some(end), ..upload(&id("last")) };
    case.done(store.create(&never).await, "create");
    case.done(store.create(&last).await, "create of a record that is due at the end of time");

    let all: Vec<_> = ["e", "c", "b", "a", "d"].map(id).into();
    let ids = |dues: Vec<Due>| dues.into_iter().map(|due| due.id).collect::<Vec<_>>();
    let found = case.done(store.due(now, None, 100).await, "due");
    let third = found.get(2).cloned();
    case.same(ids(found), all.clone(), "what is due");
    for limit in 0..=all.len() {
        let found = ids(case.done(store.due(now, None, limit).await, "due"));
        let want: Vec<_> = all.iter().take(limit).cloned().collect();
        case.same(found, want, format_args!("what is due, limited to {limit}"));
    }
    let rest = ids(case.done(store.due(now, third.as_ref(), 100).await, "due"));
    case.same(rest, ["a", "d"].map(id).into(), "what is due after the third");
    let earlier = Timestamp::from_millis(1_999);
    let found = ids(case.done(store.due(earlier, None, 100).await, "due"));
    case.same(found, ["e", "c"].map(id).into(), "what is due at an earlier time");
}

pub(super) async fn changed_and_removed_records_are_due_no_more(
    case: Case,
    store: Arc<impl MetaStore>,
) {
    let now = Timestamp::from_millis(1_000);
    let dues = async || case.done(store.due(now, None, 100).await, "due");
    let record = expiring("a", 1_000);
    let current = case.done(store.create(&record).await, "create");
    case.same(dues().await, Vec::from_iter(due(&record)), "what is due after creation");

    let later = expiring("a", 1_001);
    let current = case.done(store.update(&later, current).await, "update");
    case.same(dues().await, Vec::new(), "what is due after it was put off");

    let never = upload(&id("a"));
    let current = case.done(store.update(&never, current).await, "update");
    let earlier = expiring("a", 10);
    case.same(dues().await, Vec::new(), "what is due when it never will be");
    case.done(store.update(&earlier, current).await, "update");
    let found = dues().await;
    case.same(&found, &Vec::from_iter(due(&earlier)), "what is due after it was brought forward");

    let next = expiring("b", 20);
    case.done(store.create(&next).await, "create");
    case.done(store.remove(&earlier.id).await, "remove");
    case.same(dues().await, Vec::from_iter(due(&next)), "what is due after a removal");
    let after = case.done(store.due(now, found.first(), 100).await, "due after a removed record");
    case.same(after, Vec::from_iter(due(&next)), "what is due after a removed record");
}

pub(super) async fn a_thousand_due_records_are_walked_in_pages(
    case: Case,
    store: Arc<impl MetaStore>,
) {
    const COUNT: u64 = 1_000;
    const WRITERS: u64 = 20;
    const PAGE: usize = 64;
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (writer..COUNT).step_by(WRITERS as usize) {
                // Scattered ids, and several of the same age.
                let record = expiring(format!("{:04}", n * 7_919 % COUNT), n / 3);
                case.done(store.create(&record).await, "create");
            }
        })
    });
    case.join_all(writers.collect()).await;

    let (mut walked, mut last) = (Vec::<Due>::new(), None);
    loop {
        let now = Timestamp::from_millis(COUNT);
        let page = case.done(store.due(now, last.as_ref(), PAGE).await, "due");
        case.holds(page.len() <= PAGE, format_args!("a page of {PAGE} has {}", page.len()));
        let Some(end) = page.last() else { break };
        last = Some(end.clone());
        walked.extend(page);
        case.holds(walked.len() as u64 <= COUNT, "the walk goes round in circles");
    }
    case.holds(walked.is_sorted_by_key(|due| due.at), "the walk is not oldest first");
    walked.sort_by(|one, other| one.id.cmp(&other.id));
    walked.dedup_by(|one, other| one.id == other.id);
    case.same(walked.len() as u64, COUNT, "the number of records in the walk");
    let (read, _) = case.done(store.load(&id("0999")).await, "load of one of many");
    case.same(read.id, id("0999"), "the id in the record");
}
