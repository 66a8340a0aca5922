//! Refusals of requests whose bodies are on their way.

use super::{Subject, start};
use crate::{
    client::Client,
    head::Head,
    payload::pattern,
    upload::{Framing, Upload},
};

/// What a body may look like, to be found out where a server reads it as the next request.
fn smuggled(victim: &Upload) -> String {
    let head = Head::new("DELETE", &victim.path);
    String::from_utf8(head.to_bytes()).expect("a head of text")
}

/// Heads of requests for an upload that are refused whatever their body is.
fn refused(upload: &Upload) -> Vec<(Head, u16)> {
    let elsewhere = Upload { addr: upload.addr, path: "/files/unknown".to_owned() };
    vec![
        (upload.patch_head(7), 409),
        (upload.patch_head(0).without("Tus-Resumable"), 412),
        (upload.patch_head(0).without("Content-Type"), 415),
        (elsewhere.patch_head(0), 404),
        (Head::new("PUT", &upload.path), 405),
        (Head::new("POST", "/files"), 400),
    ]
}

pub(super) async fn a_refusal_reaches_a_client_that_is_still_sending(subject: Subject) {
    let server = start(subject);
    let upload = server.create(10 << 20).await;
    let bytes = pattern(600_000, 1);
    for framing in Framing::BOTH {
        for (head, status) in refused(&upload) {
            let mut client = server.connect().await;
            // In pieces, and without looking at what comes back before all is sent.
            client.send_head(&framing.announce(head, bytes.len())).await;
            for piece in bytes.chunks(100_000) {
                client.send_body(piece).await;
            }
            client.end_body(&[]).await;
            client.read_response().await.expect(status);
        }
    }
    assert_eq!(upload.offset().await, 0);
}

pub(super) async fn a_refusal_reaches_a_client_that_was_told_to_continue(subject: Subject) {
    let server = start(subject);
    let upload = server.create(10 << 20).await;
    let bytes = pattern(600_000, 1);
    for (head, status) in refused(&upload) {
        let mut client = server.connect().await;
        let head = head.sized(bytes.len()).with("Expect", "100-continue");
        if subject.abilities().late_continue {
            // It need not wait for the 100 for ever, and may send all the same.
            client.send_head(&head).await;
            client.send_until_answered(&bytes).await;
        } else {
            client.send_head(&head).await;
            client.read_interim(100).await;
            client.send_body(&bytes).await;
        }
        client.read_response().await.expect(status);
    }
}

pub(super) async fn the_body_of_a_refused_request_is_never_taken_for_a_request(subject: Subject) {
    let server = start(subject);
    let victim = server.create(3).await;
    let upload = server.create(10 << 20).await;
    let request = smuggled(&victim);
    // One that is read and thrown away, and one that is more than anybody would read.
    for body in [request.clone(), request.repeat((3 << 20) / request.len())] {
        for expects in [false, true] {
            for (head, status) in refused(&upload) {
                let head = head.sized(body.len());
                let head = if expects { head.with("Expect", "100-continue") } else { head };
                let mut client = Client::connect(server.addr).await;
                client.send_head(&head).await;
                let sent = client.send_until_answered(body.as_bytes()).await;
                // A client that has the answer in hand may still have a RST follow it.
                let Some(answer) = client.answer_or_close().await else {
                    assert!(body.len() > 1 << 20, "no answer to {head:?}");
                    continue;
                };
                let closes = answer.closes();
                answer.expect(status);
                if closes {
                    continue;
                }
                // The connection goes on, so the rest of the body is still a body.
                client.send(&body.as_bytes()[sent..]).await;
                let next = client.request(&Head::new("HEAD", &upload.path), b"").await;
                assert_eq!(next.expect(200).offset(), 0, "{head:?}");
            }
        }
        assert_eq!(victim.head().await.status, 200, "a body was taken for a request");
    }
}

pub(super) async fn a_refused_request_changes_nothing(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(200_000, 1);
    let upload = server.create(bytes.len()).await;
    upload.patch(0, &bytes[..50_000]).await.expect(204);
    for (offset, status) in [(0, 409), (49_999, 409), (50_001, 409), (200_001, 409)] {
        upload.patch(offset, &bytes[..1_000]).await.expect(status);
        assert_eq!(upload.offset().await, 50_000);
    }
    // tus 1.0.0, PATCH: the offset comes first, also where the body is too long as well.
    upload.patch(50_001, &bytes).await.expect(409);
    upload.patch(50_000, &bytes).await.expect(413);
    assert_eq!(upload.resume(&bytes).await, 50_000);
}
