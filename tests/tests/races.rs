//! Two clients and the sweeper at one upload, in every order that chance finds.
//!
//! The engine shares nothing between requests but its stores, its leases and its timers. Here every
//! call to a store takes a time of its own, drawn from a seed, before it begins and after it ends:
//! on a paused clock that decides in which order all of them happen, and each seed repeats one such
//! order. Whatever it was, the history of answers must obey the promises.
//!
//! `TUS_SCHEDULES` says how many orders are tried, `TUS_SEED` which.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

#[path = "races/client.rs"]
mod client;
#[path = "races/laws.rs"]
mod laws;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use client::{Client, Dice, History, LENGTH};
use tokio::time::sleep;
use tus_core::{
    Phase, Policy, Tus,
    conformance::{Faults, Flaky},
};
use tus_tests::{
    rig::{Application, Ask, Manner, World},
    scale::{scale, seed},
};

/// What the orders came across.
#[derive(Debug, Default)]
struct Tally {
    answers: AtomicU64,
    preempted: AtomicU64,
    kills: AtomicU64,
    complete: AtomicU64,
    ended: AtomicU64,
}

static TALLY: Tally = Tally {
    answers: AtomicU64::new(0),
    preempted: AtomicU64::new(0),
    kills: AtomicU64::new(0),
    complete: AtomicU64::new(0),
    ended: AtomicU64::new(0),
};

fn serve(world: &World, dice: &Dice) -> (Tus, Faults) {
    let faults = Faults::none();
    let paced = dice.clone();
    faults.pace(move || paced.moment());
    let meta = Flaky::new(world.records.clone(), &faults);
    let tus = world.serve(meta, Flaky::new(world.bytes.clone(), &faults));
    (tus, faults)
}

async fn holds(seed: u64) -> Result<(), String> {
    let dice = Dice::new(seed);
    let mut policy = Policy::default();
    policy.sync_every = 8;
    policy.min_rate = 0;
    let manner = Manner { volatile: true, places: true, is_blind: false };
    let world = World::new(manner, policy, Application::default());
    let (mut tus, faults) = serve(&world, &dice);
    let made = Ask::post().length(LENGTH).send(&tus).await;
    assert_eq!(made.status, 201, "{made:?}");
    let history = History::default();
    let mut tasks: Vec<_> = (0..2)
        .map(|number| {
            let (world, dice) = (world.clone(), dice.clone());
            let client = Client { number, world, dice, history: history.clone() };
            tokio::spawn(client.works(tus.clone()))
        })
        .collect();
    let sweeper = tus.clone();
    let again = dice.clone();
    tasks.push(tokio::spawn(async move {
        for _ in 0..3 {
            sleep(again.moment()).await;
            sweeper.sweep().await;
        }
    }));
    if dice.draw(4) == 0 {
        // The process is killed, wherever everybody is.
        sleep(Duration::from_millis(dice.draw(3_000))).await;
        tasks.iter().for_each(|task| task.abort());
        faults.crash();
        drop(tus);
        sleep(Duration::from_secs(10)).await;
        world.bytes.crash();
        tus = serve(&world, &dice).0;
        TALLY.kills.fetch_add(1, Ordering::SeqCst);
    }
    for task in tasks {
        if let Err(error) = task.await
            && error.is_panic()
        {
            return Err(error.to_string());
        }
    }
    ends(&world, &tus, &history).await
}

/// Everybody has left: the upload is as it was told, and can be gone on with.
async fn ends(world: &World, tus: &Tus, history: &History) -> Result<(), String> {
    sleep(Duration::from_secs(60)).await;
    let head = Ask::head("/files/u1").send(tus).await;
    let last = match head.status {
        200 => head.offset(),
        404 | 410 => None,
        _ => return Err(format!("in the end: {head:?}")),
    };
    let id = "u1".parse().unwrap();
    let upload = world.record(&id).await;
    let bytes = upload.as_ref().and_then(|upload| world.bytes.durable(&upload.locator));
    let events = history.events();
    if let Err(text) = laws::check(history, last, &bytes.unwrap_or_default()) {
        let mut heard = events;
        heard.sort_by_key(|event| event.began);
        return Err(format!("{text}\n{heard:#?}"));
    }
    if world.bytes.most_writers() > 1 {
        return Err("two have written at once".to_owned());
    }
    let complaints = world.application.complaints.lock().unwrap().clone();
    if !complaints.is_empty() {
        return Err(format!("{complaints:?}"));
    }
    let mut told = world.application.events(&id);
    told.dedup();
    let announced = upload.is_some_and(|one| matches!(one.phase, Phase::Announced { .. }));
    if told.len() > 1 || (announced && told.len() != 1) || announced != (last == Some(LENGTH)) {
        return Err(format!("announced: {announced}, {told:?}, at {last:?}"));
    }
    TALLY.answers.fetch_add(events.len() as u64, Ordering::SeqCst);
    let preempted = events.iter().filter(|event| event.status == 423).count();
    TALLY.preempted.fetch_add(preempted as u64, Ordering::SeqCst);
    TALLY.complete.fetch_add(u64::from(announced), Ordering::SeqCst);
    TALLY.ended.fetch_add(u64::from(last.is_none()), Ordering::SeqCst);
    Ok(())
}

fn run(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(holds(seed))
}

#[test]
fn whatever_the_order_the_answers_obey_the_promises() {
    let began = Instant::now();
    let orders = scale("TUS_SCHEDULES", 2_000, 100_000);
    let first = seed();
    for n in 0..orders {
        let seed = first.wrapping_add(n);
        if let Err(said) = run(seed) {
            panic!("TUS_SEED={seed} TUS_SCHEDULES=1: {said}");
        }
    }
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    println!(
        "races: {orders} orders, {} answers, {} preempted, {} kills, {} complete, {} ended, in {:.1?}",
        count(&TALLY.answers),
        count(&TALLY.preempted),
        count(&TALLY.kills),
        count(&TALLY.complete),
        count(&TALLY.ended),
        began.elapsed()
    );
}
