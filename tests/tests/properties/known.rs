//! Sequences that once found the engine and the model at odds, or that show a promise in few words.

use tus_tests::model::{Bytes, Mood, Operation, Proof, Request, Says, Then, run};

fn bytes(frames: &[u8], proof: Proof) -> Bytes {
    Bytes { frames: frames.to_vec(), announced: false, proof }
}

fn single(length: Option<u8>) -> Request {
    Request::Create { says: Says::Tus, partial: false, length, mood: Mood::Fine, body: None }
}

fn append(behind: bool, length: Option<u8>, body: Bytes) -> Request {
    Request::Append { says: Says::Tus, upload: 0, behind, beside: 0, length, body }
}

fn ask(request: Request) -> Operation {
    Operation::Ask { request, denied: false, meanwhile: Vec::new() }
}

fn begin(client: u8, request: Request, pause: u8) -> Operation {
    Operation::Begin { client, request, pause, meanwhile: Vec::new() }
}

fn holds(operations: &[Operation]) {
    if let Err(failed) = run(operations) {
        panic!("{failed}: {operations:?}");
    }
}

#[test]
fn a_creation_with_too_much_and_a_proof_that_nobody_announced() {
    let body = Some(bytes(&[12, 12, 13], Proof::SurpriseRight));
    let request =
        Request::Create { says: Says::Tus, partial: false, length: None, mood: Mood::Fine, body };
    holds(&[ask(request)]);
}

/// P4: a length below the offset is hopeless, so it stops no transfer.
#[test]
fn a_length_below_the_offset_stops_nobody() {
    holds(&[
        ask(single(None)),
        begin(1, append(false, None, bytes(&[3, 5], Proof::None)), 1),
        ask(append(false, Some(0), bytes(&[], Proof::None))),
        Operation::GoOn { client: 1, then: Then::Rest },
    ]);
}

/// P4: the holder stores what it has, and what still arrives.
#[test]
fn a_newcomer_goes_on_where_the_holder_has_stopped() {
    let meanwhile = vec![Then::Frame, Then::Breaks];
    let head = Request::Head { says: Says::Tus, upload: 0 };
    holds(&[
        ask(single(Some(20))),
        begin(0, append(false, None, bytes(&[4, 4, 4], Proof::None)), 1),
        Operation::Ask { request: head, denied: false, meanwhile },
        begin(1, append(false, None, bytes(&[2, 2], Proof::None)), 1),
        ask(Request::Complete { says: Says::Tus, upload: 0 }),
    ]);
}

/// P3: who is stopped before the proof has brought nothing, also when the process dies then.
#[test]
fn bytes_that_were_to_be_proven_go_with_their_request() {
    let promised = append(true, None, bytes(&[9, 9], Proof::Right));
    let all = [
        Operation::Ask {
            request: Request::Head { says: Says::Tus, upload: 0 },
            denied: false,
            meanwhile: vec![Then::Frame],
        },
        ask(append(true, None, bytes(&[1], Proof::None))),
        Operation::Cancel { client: 0 },
        Operation::Restart,
        Operation::Idle,
        ask(Request::Delete { says: Says::Tus, upload: 0, stays: false }),
    ];
    for stops in all {
        holds(&[
            ask(single(Some(20))),
            ask(append(false, None, bytes(&[2], Proof::None))),
            begin(0, promised.clone(), 1),
            stops,
            ask(Request::Head { says: Says::Tus, upload: 0 }),
        ]);
    }
}

/// A jump of the wall clock deletes nothing; once it is put right, everything is as before.
#[test]
fn a_clock_that_jumps_and_comes_back_deletes_nothing() {
    for off in [60 * 24, -60 * 24] {
        holds(&[
            ask(single(Some(20))),
            ask(append(false, None, bytes(&[2], Proof::None))),
            Operation::Round(off),
            ask(Request::Head { says: Says::Tus, upload: 0 }),
            Operation::Round(-60 * 24),
            ask(Request::Head { says: Says::Tus, upload: 0 }),
            Operation::Round(0),
        ]);
    }
}

/// A termination wins over whoever writes, and is final.
#[test]
fn a_termination_ends_the_holder_too() {
    holds(&[
        ask(single(Some(8))),
        begin(0, append(false, None, bytes(&[4, 4], Proof::None)), 1),
        Operation::Ask {
            request: Request::Delete { says: Says::Tus, upload: 0, stays: false },
            denied: false,
            meanwhile: vec![Then::Rest],
        },
        ask(Request::Complete { says: Says::Tus, upload: 0 }),
        Operation::Restart,
        ask(Request::Head { says: Says::Tus, upload: 0 }),
    ]);
}

fn append_in(says: Says, length: Option<u8>, frames: &[u8], proof: Proof) -> Operation {
    let body = bytes(frames, proof);
    ask(Request::Append { says, upload: 0, behind: false, beside: 0, length, body })
}

/// P6: what waits for its end is not complete because somebody's request is refused.
#[test]
fn a_refused_request_of_tus_does_not_end_what_waits_for_its_end() {
    for (frames, proof) in [
        (&[1][..], Proof::None),
        (&[], Proof::Wrong),
        (&[], Proof::TrailerMissing),
        (&[0], Proof::SurpriseWrong),
    ] {
        holds(&[
            ask(single(Some(5))),
            append_in(Says::Later, None, &[5], Proof::None),
            append_in(Says::Tus, None, frames, proof),
            ask(Request::Head { says: Says::Later, upload: 0 }),
            append_in(Says::Complete, None, &[], Proof::None),
        ]);
    }
}

/// P5: a complete upload is the application's, and nothing that is sent to it takes it away.
#[test]
fn a_body_for_a_complete_upload_does_not_end_it() {
    holds(&[
        ask(single(Some(5))),
        append_in(Says::Complete, None, &[5], Proof::None),
        append_in(Says::Complete, None, &[1], Proof::None),
        ask(Request::Head { says: Says::Tus, upload: 0 }),
    ]);
}

/// A final hears of it, and a DELETE that has waited for the one who did it.
#[test]
fn an_upload_that_outgrows_its_length_is_gone_for_everybody() {
    let part = Request::Create {
        says: Says::Tus,
        partial: true,
        length: Some(5),
        mood: Mood::Fine,
        body: None,
    };
    let mut ends = append(false, None, bytes(&[6], Proof::None));
    if let Request::Append { says, upload, .. } = &mut ends {
        (*says, *upload) = (Says::Later, 1);
    }
    holds(&[
        ask(part),
        ask(Request::Concat { parts: vec![0], mood: Mood::Fine }),
        begin(0, ends, 0),
        Operation::Ask {
            request: Request::Delete { says: Says::Later, upload: 1, stays: false },
            denied: false,
            meanwhile: vec![Then::Frame],
        },
        ask(Request::Head { says: Says::Later, upload: 0 }),
    ]);
}

/// P5: it is complete with its record, and told of by whoever comes after the crash.
#[test]
fn a_process_that_dies_in_the_creation_of_nothing_leaves_it_complete() {
    for at in 1..9 {
        for mood in [Mood::Fine, Mood::FailsOnce, Mood::Refuses] {
            let request = Request::Create {
                says: Says::Tus,
                partial: false,
                length: Some(0),
                mood,
                body: Some(bytes(&[1], Proof::None)),
            };
            holds(&[Operation::Crash { at, after: true, request: request.clone() }]);
            holds(&[Operation::Crash { at, after: false, request }]);
        }
    }
}
