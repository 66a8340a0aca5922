//! A store call that does not come back holds up nobody else.

use std::time::Duration;

use tus_core::{
    Policy, Tus,
    conformance::{Fault, Faults, Flaky},
};
use tus_tests::rig::{Application, Ask, Frames, Manner, World};

/// Uploads in pieces; the path.
async fn upload(tus: &Tus, text: &[u8]) -> String {
    let answer = Ask::post().length(text.len() as u64).send(tus).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let url = answer.location();
    for (n, piece) in text.chunks(4).enumerate() {
        let answer = Ask::patch(&url, n as u64 * 4).body(Frames::whole(piece)).send(tus).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    let answer = Ask::head(&url).send(tus).await;
    assert_eq!((answer.status, answer.offset()), (200, Some(text.len() as u64)));
    url
}

#[tokio::test(start_paused = true)]
async fn a_stalled_call_holds_up_no_other_upload() {
    let manner = Manner { volatile: true, places: true, ..Manner::default() };
    let start = |faults: &Faults| {
        let world = World::new(manner, Policy::default(), Application::default());
        let meta = Flaky::new(world.records.clone(), faults);
        world.serve(meta, Flaky::new(world.bytes.clone(), faults))
    };
    let counted = Faults::none();
    upload(&start(&counted), b"one of them").await;
    for n in 1..=counted.calls().len() {
        let faults = Faults::at(n, Fault::Stall);
        let tus = start(&faults);
        let stalled = tokio::spawn({
            let tus = tus.clone();
            async move { upload(&tus, b"one of them").await }
        });
        faults.reached().await;
        let others = async {
            upload(&tus, b"another one").await;
            let url = upload(&tus, b"one to be ended").await;
            assert_eq!(Ask::delete(&url).send(&tus).await.status, 204);
        };
        let waited = tokio::time::timeout(Duration::from_secs(1), others).await;
        assert!(waited.is_ok(), "held up by call {n}, {}", counted.calls()[n - 1]);
        faults.release();
        stalled.await.unwrap();
    }
}
