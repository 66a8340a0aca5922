//! What a 104 tells is as good as what a response tells: it is durable (P1).
//!
//! The store forgets at a crash what was not synced. Whenever an offset is on its way to the
//! client, so many bytes would survive one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::sleep,
};
use tus_core::{Interim, InterimMode, Locator, Policy, SendInterim, Tus};
use tus_tests::rig::{Answer, Application, Ask, Frames, Manner, Piece, World};

/// A connection that looks at the store whenever it is to tell an offset.
struct Watching {
    world: World,
    /// The offsets that were told, and how many bytes were durable then.
    told: Mutex<Vec<(u64, u64)>>,
}

impl SendInterim for Watching {
    fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        assert_eq!(status, 104);
        if let Some(offset) = headers.get("upload-offset") {
            let offset = offset.to_str().unwrap().parse().unwrap();
            self.told.lock().unwrap().push((offset, durable(&self.world)));
        }
        true
    }
}

/// How many bytes of the one upload that there is would survive a crash now.
fn durable(world: &World) -> u64 {
    let [at] = &world.bytes.locators()[..] else { panic!("one upload") };
    world.bytes.durable(&Locator::new(at)).unwrap().len() as u64
}

/// A request under way, and those who watch it.
struct Request {
    watching: Arc<Watching>,
    sender: UnboundedSender<Piece>,
    answer: JoinHandle<Answer>,
}

impl Request {
    fn begin(world: &World, tus: &Tus, ask: Ask) -> Self {
        let watching = Arc::new(Watching { world: world.clone(), told: Mutex::default() });
        let (sender, receiver) = unbounded_channel();
        let ask = ask
            .rufh()
            .with("upload-draft-interop-version", 8)
            .with("upload-complete", "?0")
            .interim(Interim::new(watching.clone()))
            .body(Frames::chunked([Piece::Later(receiver)]));
        let tus = tus.clone();
        let answer = tokio::spawn(async move { ask.send(&tus).await });
        Self { watching, sender, answer }
    }

    /// The client sends a little more, after a while.
    async fn sends(&self, bytes: u8) {
        sleep(Duration::from_secs(2)).await;
        let data = Bytes::from(vec![b'x'; bytes.into()]);
        // Whoever has heard enough does not listen any more.
        let _unread = self.sender.send(Piece::Data(data));
        sleep(Duration::from_millis(1)).await;
    }

    async fn ends(self) -> (Answer, Vec<(u64, u64)>) {
        drop(self.sender);
        let answer = self.answer.await.unwrap();
        let told = self.watching.told.lock().unwrap().clone();
        (answer, told)
    }
}

fn world() -> (World, Tus) {
    let mut policy = Policy::default();
    policy.interim = InterimMode::On;
    policy.min_rate = 0;
    let manner = Manner { volatile: true, ..Manner::default() };
    let world = World::new(manner, policy, Application::default());
    let tus = world.serve(world.records.clone(), world.bytes.clone());
    (world, tus)
}

#[tokio::test(start_paused = true)]
async fn what_is_told_before_the_answer_survives_a_crash_at_once() {
    let (world, tus) = world();
    let creation = Request::begin(&world, &tus, Ask::post());
    for bytes in [5, 1, 7] {
        creation.sends(bytes).await;
    }
    let (answer, told) = creation.ends().await;
    assert_eq!((answer.status, answer.offset()), (201, Some(13)));
    assert_eq!(told, [(5, 5), (6, 6), (13, 13)]);

    let append = Request::begin(&world, &tus, Ask::patch(&answer.location(), 13));
    append.sends(2).await;
    append.sends(3).await;
    // The process dies here, in the midst of a body.
    append.answer.abort();
    sleep(Duration::from_millis(1)).await;
    world.bytes.crash();
    let told = append.watching.told.lock().unwrap().clone();
    assert_eq!(told, [(15, 15), (18, 18)]);
    assert_eq!(durable(&world), 18);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_synced_is_not_told() {
    let (world, tus) = world();
    let creation = Request::begin(&world, &tus, Ask::post());
    creation.sends(5).await;
    world.bytes.fail_next_sync();
    creation.sends(4).await;
    creation.sends(3).await;
    let (answer, told) = creation.ends().await;
    assert_eq!(told, [(5, 5)], "only what was synced");
    assert!(answer.status >= 500, "{answer:?}");
    world.bytes.crash();
    assert!(durable(&world) >= 5);
    let tus = world.serve(world.records.clone(), world.bytes.clone());
    let head = Ask::head("/files/u1").rufh().send(&tus).await;
    assert_eq!((head.status, head.offset()), (204, Some(5)));
}
