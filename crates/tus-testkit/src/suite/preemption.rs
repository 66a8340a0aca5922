//! One writer, and no waiting for ghosts (P4).

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tus_core::Rejection;

use super::{Subject, start, watched_uploads};
use crate::{
    client::Client,
    harness::{App, Server},
    head::Head,
    payload::pattern,
    response::Response,
    store::Watched,
    upload::{Framing, Upload},
};

/// Within this a newcomer has its answer: a second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(3);
const WHOLE: usize = 400_000;
const HALF: usize = 150_000;

/// An upload whose client sent half of it and then says nothing more.
async fn stalled(
    server: &Server,
    store: &Watched<tus_core::MemoryStore>,
    bytes: &[u8],
    framing: Framing,
) -> (Upload, Client) {
    let upload = server.create(WHOLE).await;
    let before = store.written() as usize;
    let mut client = upload.begin_patch(0, framing, WHOLE).await;
    client.send_body(&bytes[..HALF]).await;
    store.wait_written(before + HALF).await;
    (upload, client)
}

/// The one that was preempted hears so, or nothing.
async fn is_sent_away(mut client: Client) {
    if let Some(answer) = client.answer_or_close().await {
        assert!(answer.status == 423 || answer.status == 409, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
}

async fn soon(answer: impl Future<Output = Response>) -> Response {
    let begun = Instant::now();
    let answer = answer.await;
    assert!(begun.elapsed() < SOON, "{:?}: {answer:?}", begun.elapsed());
    answer
}

pub(super) async fn a_head_preempts_a_stalled_patch_and_tells_its_bytes(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    for framing in Framing::BOTH {
        let (upload, client) = stalled(&server, &store, &bytes, framing).await;
        let told = soon(upload.head()).await.expect(200);
        assert_eq!(told.offset(), HALF as u64, "{framing:?}");
        let rest = upload.patch(HALF as u64, &bytes[HALF..]).await;
        rest.expect(204);
        is_sent_away(client).await;
        upload.verify(&bytes).await;
    }
}

pub(super) async fn a_patch_preempts_a_stalled_patch_and_goes_on(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let (upload, client) = stalled(&server, &store, &bytes, Framing::Sized).await;
    let done = soon(upload.patch(HALF as u64, &bytes[HALF..])).await;
    done.expect(204);
    is_sent_away(client).await;
    upload.verify(&bytes).await;
}

pub(super) async fn a_delete_preempts_a_stalled_patch(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let (upload, client) = stalled(&server, &store, &bytes, Framing::Sized).await;
    soon(upload.delete()).await.expect(204);
    let gone = upload.head().await;
    assert!(matches!(gone.status, 404 | 410), "{gone:?}");
    is_sent_away(client).await;
}

pub(super) async fn a_dribbling_patch_is_preempted_and_nothing_that_was_told_is_lost(
    subject: Subject,
) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let upload = server.create(WHOLE).await;
    let mut client = upload.begin_patch(0, Framing::Sized, WHOLE).await;
    let dribble = tokio::spawn({
        let bytes = bytes.clone();
        async move {
            // The pace of a slow client, which never pauses for as long as it is waited for.
            for piece in bytes.chunks(1024) {
                if client.try_send_body(piece).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            client
        }
    });
    store.wait_written(3 * 1024).await;
    let told = soon(upload.head()).await.expect(200).offset();
    assert!(told >= 3 * 1024 && told < WHOLE as u64, "{told}");
    assert_eq!(store.written(), told, "what is told is what is stored");
    assert_eq!(upload.resume(&bytes).await, told);
    let client = timeout(SOON, dribble).await.expect("a dribble that ends");
    is_sent_away(client.expect("a client")).await;
    upload.verify(&bytes).await;
}

pub(super) async fn of_two_patches_at_one_offset_one_wins(subject: Subject) {
    let server = start(subject);
    for round in 0..10 {
        let bodies = [pattern(100_000, round), pattern(100_000, 100 + round)];
        let upload = server.create(100_000).await;
        let mut clients = [upload.clone(), upload.clone()].map(Some);
        let answers = futures_util::future::join_all(clients.iter_mut().zip(&bodies).map(
            |(upload, body)| {
                let upload = upload.take();
                async move { upload.expect("an upload").patch(0, body).await }
            },
        ));
        let statuses: Vec<u16> = answers.await.iter().map(|answer| answer.status).collect();
        let winner = statuses.iter().position(|status| *status == 204);
        let Some(winner) = winner else { panic!("nobody won: {statuses:?}") };
        assert!(matches!(statuses[1 - winner], 409 | 423), "{statuses:?}");
        upload.verify(&bodies[winner]).await;
    }
}

pub(super) async fn a_hopeless_request_does_not_disturb_the_holder(subject: Subject) {
    let (store, tus) = watched_uploads();
    let tus = tus.authorize(|request, _| async move {
        match request.headers().contains_key("x-stranger") {
            true => Err(Rejection::forbidden("no\n").into()),
            false => Ok(()),
        }
    });
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let (upload, mut client) = stalled(&server, &store, &bytes, Framing::Sized).await;
    let patch = || upload.patch_head(HALF as u64).sized(3);
    let stranger = |head: Head| head.with("X-Stranger", 1);
    let longer = upload.patch_head(HALF as u64).sized(WHOLE);
    let whole = WHOLE + 1;
    for (head, body, status) in [
        (patch().without("Content-Type"), "abc", 415),
        (patch().without("Upload-Offset"), "abc", 400),
        (patch().without("Tus-Resumable"), "abc", 412),
        (patch().with("Upload-Length", whole), "abc", 400),
        (patch().with("Upload-Checksum", "sha3 AAAA"), "abc", 400),
        (stranger(patch()), "abc", 403),
        (stranger(Head::new("HEAD", &upload.path)), "", 403),
        (stranger(Head::new("DELETE", &upload.path)), "", 403),
        (longer, &"x".repeat(WHOLE), 413),
        (Head::plain("OPTIONS", &upload.path), "", 204),
    ] {
        let answer = soon(upload.request(&head, body.as_bytes())).await;
        assert_eq!(answer.status, status, "{head:?}: {answer:?}");
    }
    client.send_body(&bytes[HALF..]).await;
    client.read_response().await.expect(204);
    upload.verify(&bytes).await;
}
