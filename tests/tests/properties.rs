//! Whatever happens in whatever order, clients hear what the reference model says.
//!
//! `TUS_CASES` says how many sequences are tried, `TUS_SEED` which.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

use std::time::Duration;

use bytes::Bytes as Data;
use http::{HeaderMap, HeaderValue};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use tus_core::{Expiry, Phase, Policy, Tus};
use tus_tests::{
    model::{Bytes, Expected, MAX_SIZE, Operation, PERIOD, Proof, Reference},
    rig::{Answer, Application, Ask, Frames, Manner, Piece, World, crc32},
    scale::{scale, seed},
};

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![
        8 => Just(Proof::None),
        1 => Just(Proof::Right),
        1 => Just(Proof::Wrong),
        1 => Just(Proof::TrailerRight),
        1 => Just(Proof::TrailerWrong),
        1 => Just(Proof::TrailerMissing),
        1 => Just(Proof::SurpriseRight),
        1 => Just(Proof::SurpriseWrong),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let breaks = prop_oneof![3 => Just(None), 1 => (0..4_u8).prop_map(Some)];
    let frame = prop_oneof![6 => 0..14_u8, 1 => Just(36), 1 => Just(37)];
    (vec(frame, 0..4), breaks, any::<bool>(), proof()).prop_map(
        |(frames, breaks_after, announced, proof)| Bytes { frames, breaks_after, announced, proof },
    )
}

fn length() -> impl Strategy<Value = u8> {
    prop_oneof![10 => 0..30_u8, 1 => Just(36), 1 => Just(37)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let beside = prop_oneof![6 => Just(0_i8), 1 => -3..4_i8];
    prop_oneof![
        4 => (prop::bool::weighted(0.6), option::weighted(0.8, length()), option::weighted(0.4, bytes()))
            .prop_map(|(partial, length, body)| Operation::Create { partial, length, body }),
        6 => (any::<u8>(), beside, option::weighted(0.15, length()), bytes())
            .prop_map(|(upload, beside, length, body)| {
                Operation::Append { upload, beside, length, body }
            }),
        3 => any::<u8>().prop_map(|upload| Operation::Complete { upload }),
        2 => any::<u8>().prop_map(|upload| Operation::Head { upload }),
        1 => any::<u8>().prop_map(|upload| Operation::Delete { upload }),
        3 => vec(any::<u8>(), 1..4).prop_map(|parts| Operation::Concat { parts }),
        2 => (1..70_u8).prop_map(Operation::Wait),
        1 => Just(Operation::Sweep),
        1 => Just(Operation::Restart),
    ]
}

/// The service under test.
struct Service {
    world: World,
    tus: Tus,
}

impl Service {
    fn new() -> Self {
        let mut policy = Policy::default();
        policy.max_size = Some(MAX_SIZE);
        policy.expiry = Some(Expiry::sliding(minutes(PERIOD)));
        let manner = Manner { volatile: true, places: true, is_blind: false };
        let world = World::new(manner, policy, Application::default());
        let tus = world.serve(world.records.clone(), world.bytes.clone());
        Self { world, tus }
    }

    /// Does what the model is about to do; `None` if nobody listens.
    async fn does(&mut self, operation: &Operation, model: &Reference) -> Option<Answer> {
        let url = |upload: usize| format!("/files/{}", model.id(upload));
        let ask = match operation {
            Operation::Create { partial, length, body } => {
                let ask = match length {
                    Some(length) => Ask::post().length(u64::from(*length)),
                    None => Ask::post().with("upload-defer-length", 1),
                };
                let ask = if *partial { ask.with("upload-concat", "partial") } else { ask };
                match body {
                    Some(body) => bring(ask, body, model.next_number(), 0, model),
                    None => ask,
                }
            }
            Operation::Append { upload, beside, length, body } => {
                let upload = model.pick(*upload)?;
                let at = model.offset(upload).saturating_add_signed(i64::from(*beside));
                let ask = Ask::patch(&url(upload), at);
                let ask = match length {
                    Some(length) => ask.length(u64::from(*length)),
                    None => ask,
                };
                bring(ask, body, model.number(upload), at, model)
            }
            Operation::Complete { upload } => {
                let upload = model.pick(*upload)?;
                let (at, rest) = (model.offset(upload), model.rest(upload));
                let bytes = model.body(model.number(upload), at, rest);
                Ask::patch(&url(upload), at).length(at + rest).body(Frames::whole(&bytes))
            }
            Operation::Head { upload } => Ask::head(&url(model.pick(*upload)?)),
            Operation::Delete { upload } => Ask::delete(&url(model.pick(*upload)?)),
            Operation::Concat { parts } => {
                let parts = parts.iter().map(|part| model.pick(*part).map(url));
                let parts = parts.collect::<Option<Vec<_>>>()?;
                Ask::post().with("upload-concat", format!("final;{}", parts.join(" ")))
            }
            Operation::Wait(by) => {
                self.world.clock.advance(minutes(u64::from(*by)));
                return None;
            }
            Operation::Sweep => {
                for _ in 0..3 {
                    self.tus.sweep().await;
                }
                return None;
            }
            Operation::Restart => {
                self.world.bytes.crash();
                self.tus = self.world.serve(self.world.records.clone(), self.world.bytes.clone());
                return None;
            }
        };
        Some(ask.send(&self.tus).await)
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Adds a body that begins at an offset of the upload of this number.
fn bring(ask: Ask, body: &Bytes, number: u64, at: u64, model: &Reference) -> Ask {
    let all = model.body(number, at, body.total());
    let trailer = |text: String| {
        let mut trailers = HeaderMap::new();
        trailers.insert("upload-checksum", HeaderValue::from_str(&text).unwrap());
        Piece::Trailers(trailers)
    };
    let (right, wrong) = (crc32(&all), crc32(b"not these bytes"));
    let (ask, last) = match body.proof {
        Proof::None => (ask, None),
        Proof::Right => (ask.with("upload-checksum", right), None),
        Proof::Wrong => (ask.with("upload-checksum", wrong), None),
        Proof::TrailerRight => (ask.with("trailer", "Upload-Checksum"), Some(trailer(right))),
        Proof::TrailerWrong => (ask.with("trailer", "Upload-Checksum"), Some(trailer(wrong))),
        Proof::TrailerMissing => (ask.with("trailer", "Upload-Checksum"), None),
        Proof::SurpriseRight => (ask, Some(trailer(right))),
        Proof::SurpriseWrong => (ask, Some(trailer(wrong))),
    };
    let mut pieces = Vec::new();
    let mut rest = all.as_slice();
    for (n, frame) in body.frames.iter().enumerate() {
        if body.breaks_after.is_some_and(|after| usize::from(after) == n) {
            pieces.push(Piece::Break);
        }
        let (data, more) = rest.split_at(usize::from(*frame));
        pieces.push(Piece::Data(Data::copy_from_slice(data)));
        rest = more;
    }
    if body.breaks_after.is_some_and(|after| usize::from(after) == body.frames.len()) {
        pieces.push(Piece::Break);
    }
    pieces.extend(last);
    // Nothing at all is announced as such; trailers cannot follow it then.
    ask.body(match body.announced && (body.total() > 0 || pieces.is_empty()) {
        true => Frames::announced(body.total(), pieces),
        false => Frames::chunked(pieces),
    })
}

fn heard(answer: &Answer, is_head: bool) -> Expected {
    Expected {
        status: answer.status,
        offset: answer.offset(),
        length: if is_head { answer.length() } else { None },
        deferred: is_head && answer.headers.contains_key("upload-defer-length"),
    }
}

async fn holds(operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut model = Reference::default();
    let mut service = Service::new();
    for operation in operations {
        let expired = match operation {
            Operation::Append { upload, .. } | Operation::Complete { upload } => {
                model.pick(*upload).is_some_and(|upload| model.is_expired(upload))
            }
            _ => false,
        };
        let answer = service.does(operation, &model).await;
        let expected = model.does(operation);
        if let Some(answer) = answer {
            // What is wrong for more than one reason may be refused for any of them.
            if expired && matches!(answer.status, 409 | 413) {
                continue;
            }
            let is_head = matches!(operation, Operation::Head { .. });
            let mut heard = heard(&answer, is_head);
            if let Operation::Create { body: Some(body), .. } = operation
                && body.total() == 0
                && answer.status == 201
            {
                // Whether a body without bytes is one stands in `faults/found.rs`.
                heard.offset = Some(0);
            }
            prop_assert_eq!(heard, expected, "{:?}: {:?}", operation, answer);
        }
        if let Operation::Create { body: Some(Bytes { breaks_after: Some(_), .. }), .. } = operation
            && model.count() > 0
        {
            // What is left of it once all its bytes had come stands in `faults/found.rs`.
            let id = model.id(model.count() - 1);
            Ask::head(&format!("/files/{id}")).send(&service.tus).await;
        }
        // Finals are joined in tasks of their own.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for upload in 0..model.count() {
        let id = model.id(upload).parse().unwrap();
        let head = Ask::head(&format!("/files/{id}")).send(&service.tus).await;
        prop_assert_eq!(heard(&head, true), model.head(upload), "in the end, HEAD {}", id);
        if let Some((bytes, announced)) = model.whole(upload) {
            let record = service.world.record(&id).await;
            let record = record.ok_or_else(|| TestCaseError::fail(format!("{id} is lost")))?;
            let is_announced = matches!(record.phase, Phase::Announced { .. });
            prop_assert!(is_announced, "{} is {:?}", id, record.phase);
            let durable = service.world.bytes.durable(&record.locator);
            prop_assert_eq!(durable.as_deref(), Some(bytes), "the bytes of {}", id);
            let events = service.world.application.events(&id).len();
            prop_assert_eq!(events, usize::from(announced), "events of {}", id);
        }
    }
    let complaints = service.world.application.complaints.lock().unwrap().clone();
    prop_assert!(complaints.is_empty(), "{:?}", complaints);
    Ok(())
}

#[test]
fn clients_hear_what_the_model_says() {
    let config = ProptestConfig {
        cases: u32::try_from(scale("TUS_CASES", 2_000, 100_000)).unwrap(),
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&vec(operation(), 1..40), |operations| run(&operations));
    if let Err(failed) = ran {
        panic!("{failed}");
    }
}

fn run(operations: &[Operation]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(holds(operations))
}

/// Each of these once found the engine and the model at odds.
#[test]
fn sequences_that_failed_once_hold() {
    let too_much = Bytes {
        frames: vec![12, 12, 13],
        breaks_after: None,
        announced: false,
        proof: Proof::SurpriseRight,
    };
    let sequences =
        [vec![Operation::Create { partial: false, length: None, body: Some(too_much) }]];
    for operations in sequences {
        if let Err(failed) = run(&operations) {
            panic!("{failed}: {operations:?}");
        }
    }
}
