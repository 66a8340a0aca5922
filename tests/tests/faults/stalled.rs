//! Store calls that hang where no request makes them: in the application's own hooks.
//!
//! Those that requests and the sweeper make are in the matrix.

use std::time::Duration;

use tokio::time::Instant;
use tus_core::{
    Phase, Policy, Reply, Tus,
    conformance::{Fault, Faults, Flaky},
};
use tus_tests::rig::{Ask, Frames};

use super::found::{create, world};

/// `hook_timeout` bounds what a hook waits for, the store included; it is asked again.
#[tokio::test(start_paused = true)]
async fn a_hook_that_waits_for_its_store_does_not_hold_its_client() {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut policy = Policy::default();
    policy.hook_timeout = PATIENCE;
    for call in ["chunks.read", "reader.next"] {
        let world = world(policy.clone());
        let (faults, hooks) = (Faults::none(), Faults::none());
        // The application reads through the store that the engine has.
        let meta = Flaky::new(world.records.clone(), &faults);
        let tus = Tus::builder()
            .meta(meta)
            .chunks(Flaky::new(world.bytes.clone(), &hooks))
            .policy(policy.clone())
            .before_create(|_, mut new| async move {
                new.id = "u1".parse().ok();
                Ok(new)
            })
            .on_finish(|finished| async move {
                let mut reader = finished.reader().await?;
                while reader.next().await?.is_some() {}
                Ok(Reply::new())
            })
            .build()
            .unwrap();
        let url = create(&tus, Ask::post().length(4)).await;
        // As often as the upload itself calls it, and once or twice more.
        let before = hooks.calls().len();
        let upload = [
            "chunks.stat",
            "chunks.stat",
            "chunks.open",
            "writer.write",
            "writer.sync",
            "chunks.finish",
            "chunks.remove",
        ];
        let more = if call == "chunks.read" { 1 } else { 2 };
        hooks.plan(upload.len() + more, Fault::Stall);
        let began = Instant::now();
        let patch = Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
        let calls = hooks.calls().split_off(before);
        let stalled = calls.get(upload.len() + more - 1);
        assert_eq!((stalled, hooks.is_reached()), (Some(&call), true), "{calls:?}");
        assert_eq!(patch.status, 503, "{patch:?}");
        let waited = began.elapsed();
        assert!((PATIENCE..PATIENCE * 2).contains(&waited), "answered after {waited:?}");
        hooks.release();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
        assert!(matches!(upload.phase, Phase::Announced { .. }), "{:?}", upload.phase);
        assert_eq!(Ask::head(&url).send(&tus).await.offset(), Some(4));
    }
}
