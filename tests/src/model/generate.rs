//! Sequences of operations, drawn so that requests meet.

use super::{Bytes, Mood, Operation, Proof, Request, Says, Then};
use proptest::{collection::vec, option, prelude::*};

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
    let frame = prop_oneof![6 => 0..14_u8, 1 => Just(36), 1 => Just(37)];
    (vec(frame, 0..4), any::<bool>(), proof()).prop_map(|(frames, announced, proof)| Bytes {
        frames,
        announced,
        proof,
    })
}

fn length() -> impl Strategy<Value = u8> {
    prop_oneof![10 => 0..30_u8, 1 => Just(36), 1 => Just(37)]
}

/// The latest one as often as all others, so that requests meet.
fn upload() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0_u8), 1 => 0..4_u8]
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        10 => Just(Mood::Fine),
        1 => Just(Mood::Unwanted),
        2 => Just(Mood::FailsOnce),
        2 => Just(Mood::Refuses),
        1 => Just(Mood::DeafOnce),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![4 => Just(Says::Tus), 2 => Just(Says::Later), 1 => Just(Says::Complete)]
}

/// Without what a dialect does not have. Two lengths hardly agree by chance, so of a body that tells
/// one mostly no other is told.
fn of_dialect(request: Request) -> Request {
    let unproven = |body: Bytes| Bytes { proof: Proof::None, ..body };
    let told = |says, length: Option<u8>| {
        length.filter(|length| says != Says::Complete || length.is_multiple_of(4))
    };
    match request {
        Request::Create { says, length, mood, body, .. } if says.is_rufh() => {
            let length = told(says, length);
            Request::Create { says, partial: false, length, mood, body: body.map(unproven) }
        }
        Request::Append { says, upload, behind, beside, length, body } if says.is_rufh() => {
            let length = told(says, length);
            Request::Append { says, upload, behind, beside, length, body: unproven(body) }
        }
        request => request,
    }
}

fn create() -> impl Strategy<Value = Request> {
    let length = option::weighted(0.8, length());
    (says(), prop::bool::weighted(0.6), length, mood(), option::weighted(0.4, bytes())).prop_map(
        |(says, partial, length, mood, body)| {
            of_dialect(Request::Create { says, partial, length, mood, body })
        },
    )
}

fn append() -> impl Strategy<Value = Request> {
    let beside = prop_oneof![6 => Just(0_i8), 1 => -3..4_i8];
    let length = option::weighted(0.15, length());
    (says(), upload(), any::<bool>(), beside, length, bytes()).prop_map(
        |(says, upload, behind, beside, length, body)| {
            of_dialect(Request::Append { says, upload, behind, beside, length, body })
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        4 => create(),
        5 => append(),
        3 => (says(), upload()).prop_map(|(says, upload)| Request::Complete { says, upload }),
        3 => (says(), upload()).prop_map(|(says, upload)| Request::Head { says, upload }),
        1 => (says(), upload(), prop::bool::weighted(0.2))
            .prop_map(|(says, upload, stays)| Request::Delete { says, upload, stays }),
        3 => (vec(upload(), 1..4), mood())
            .prop_map(|(parts, mood)| Request::Concat { parts, mood }),
    ]
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![3 => Just(Then::Frame), 2 => Just(Then::Rest), 1 => Just(Then::Breaks)]
}

fn meanwhile() -> impl Strategy<Value = Vec<Then>> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec(then(), 1..4)]
}

/// Some uploads, and what happens to them.
pub fn sequence() -> impl Strategy<Value = Vec<Operation>> {
    (vec(creation(), 1..3), vec(operation(), 1..30)).prop_map(|(mut made, then)| {
        made.extend(then);
        made
    })
}

/// An upload comes to be.
pub fn creation() -> impl Strategy<Value = Operation> {
    let ask = |request| Operation::Ask { request, denied: false, meanwhile: Vec::new() };
    create().prop_map(ask)
}

/// Anything happens.
pub fn operation() -> impl Strategy<Value = Operation> {
    let client = 0..2_u8;
    let begun = prop_oneof![2 => append(), 1 => create()];
    let off = prop_oneof![3 => -5..=5_i16, 1 => 60..6000_i16, 1 => -6000..-60_i16];
    prop_oneof![
        14 => (request(), prop::bool::weighted(0.05), meanwhile())
            .prop_map(|(request, denied, meanwhile)| Operation::Ask { request, denied, meanwhile }),
        8 => (client.clone(), begun, 0..3_u8, meanwhile()).prop_map(
            |(client, request, pause, meanwhile)| {
                Operation::Begin { client, request, pause, meanwhile }
            }
        ),
        4 => (client.clone(), then()).prop_map(|(client, then)| Operation::GoOn { client, then }),
        1 => client.prop_map(|client| Operation::Cancel { client }),
        1 => Just(Operation::Idle),
        2 => (1..70_u8).prop_map(Operation::Wait),
        1 => Just(Operation::Sweep),
        1 => off.prop_map(Operation::Round),
        1 => Just(Operation::Restart),
        2 => (1..16_u8, any::<bool>(), request())
            .prop_map(|(at, after, request)| Operation::Crash { at, after, request }),
    ]
}
