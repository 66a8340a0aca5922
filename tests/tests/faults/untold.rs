//! Finals whose creation died before their parts knew of them: whoever looks at one next tells
//! them, so that it is joined when the last part is complete, and not at some later sweep.

use std::time::Duration;

use tus_core::{
    Policy, Tus,
    conformance::{Fault, Faults, Flaky},
};
use tus_tests::rig::{Answer, Ask, Frames, World};

use super::found::{create, part, world};

fn flaky(world: &World, faults: &Faults) -> Tus {
    let meta = Flaky::new(world.records.clone(), faults);
    world.serve(meta, Flaky::new(world.bytes.clone(), faults))
}

/// Long enough for the first look after a start, far too short for the next sweep.
async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Two parts, and a final of both whose creation dies at this call; whether it came so far.
async fn dies_at(n: usize, fault: Fault) -> (World, bool) {
    let world = world(Policy::default());
    let faults = Faults::none();
    let tus = flaky(&world, &faults);
    for _ in 0..2 {
        create(&tus, part(4)).await;
    }
    a_moment().await;
    faults.plan(n, fault);
    let concat = Ask::post().with("upload-concat", "final;/files/u1 /files/u2");
    let answer = concat.send(&tus).await;
    assert!(faults.is_reached() || answer.status == 201, "{answer:?}");
    (world, faults.is_reached())
}

async fn patch(tus: &Tus, url: &str) -> Answer {
    Ask::patch(url, 0).body(Frames::whole(b"part")).send(tus).await
}

async fn fill(tus: &Tus, url: &str) {
    let answer = patch(tus, url).await;
    assert_eq!(answer.status, 204, "{url}: {answer:?}");
}

async fn is_joined(tus: &Tus, what: &str) {
    a_moment().await;
    let head = Ask::head("/files/u3").send(tus).await;
    assert_eq!(head.offset(), Some(8), "{what}: {head:?}");
}

#[tokio::test(start_paused = true)]
async fn a_final_whose_creation_died_does_not_wait_for_a_sweep() {
    let (mut n, mut made) = (1, 0);
    loop {
        let mut came = false;
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let (world, reached) = dies_at(n, fault).await;
            came |= reached;
            let tus = flaky(&world, &Faults::none());
            a_moment().await;
            for url in ["/files/u1", "/files/u2"] {
                fill(&tus, url).await;
            }
            if world.record(&"u3".parse().unwrap()).await.is_some() {
                is_joined(&tus, &format!("call {n}, {fault:?}")).await;
                made += usize::from(reached);
            }
        }
        if !came {
            break;
        }
        n += 1;
    }
    assert!(made > 4, "only {made} deaths have left a final");
}

/// A part may become complete between the look that finds it untold and the moment at which it is
/// told, or at any other moment of that look.
#[tokio::test(start_paused = true)]
async fn parts_that_are_completed_while_they_are_told_are_joined_all_the_same() {
    // Right after the final's record.
    let mut death = 1;
    while dies_at(death, Fault::Crash).await.0.record(&"u3".parse().unwrap()).await.is_none() {
        death += 1;
    }
    let (mut n, mut told) = (1, false);
    loop {
        let (world, _) = dies_at(death, Fault::Crash).await;
        let part = world.record(&"u1".parse().unwrap()).await.unwrap();
        assert!(part.finals.is_empty(), "{part:?}");
        let faults = Faults::at(n, Fault::Stall);
        let tus = flaky(&world, &faults);
        let looking = tokio::spawn({
            let tus = tus.clone();
            async move { tus.sweep().await }
        });
        a_moment().await;
        if !faults.is_reached() {
            break;
        }
        told |= faults.calls()[n - 1] == "meta.update";
        // Who looks at a part itself holds it meanwhile; the client comes again.
        let mut left = Vec::new();
        for url in ["/files/u1", "/files/u2"] {
            match patch(&tus, url).await.status {
                423 => left.push(url),
                status => assert_eq!(status, 204, "{url}"),
            }
        }
        faults.release();
        looking.await.unwrap();
        for url in left {
            fill(&tus, url).await;
        }
        is_joined(&tus, &format!("stalled at call {n} of {:?}", faults.calls())).await;
        n += 1;
    }
    assert!(told, "no look has told a part");
}
