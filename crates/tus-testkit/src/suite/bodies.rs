//! Bytes on their way in.

use super::{Subject, start};
use crate::{
    client::Client,
    head::Head,
    payload::pattern,
    upload::{Framing, Upload},
};

pub(super) async fn bodies_of_every_size_and_framing_arrive_whole(subject: Subject) {
    let server = start(subject);
    for framing in Framing::BOTH {
        for (seed, length) in [0, 1, 100_000, 8 << 20].into_iter().enumerate() {
            let bytes = pattern(length, seed as u64);
            let upload = server.create(length).await;
            let head = framing.announce(upload.patch_head(0), length);
            let done = upload.request(&head, &bytes).await.expect(204);
            assert_eq!(done.offset(), length as u64);
            upload.verify(&bytes).await;
        }
    }
}

pub(super) async fn a_body_that_dribbles_by_single_bytes_arrives_whole(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(300, 1);
    for framing in Framing::BOTH {
        let upload = server.create(bytes.len()).await;
        let mut client = upload.begin_patch(0, framing, bytes.len()).await;
        for byte in bytes.chunks(1) {
            client.send_body(byte).await;
            // Gives the server its turn, so that the bytes do not arrive as one piece.
            tokio::task::yield_now().await;
        }
        client.end_body(&[]).await;
        client.read_response().await.expect(204);
        upload.verify(&bytes).await;
    }
}

pub(super) async fn a_creation_brings_its_first_bytes(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(50_000, 1);
    for framing in Framing::BOTH {
        for length in [20_000, bytes.len()] {
            let head = Head::create("/files", bytes.len() as u64)
                .with("Content-Type", "application/offset+octet-stream");
            let head = framing.announce(head, length);
            let created = server.request(&head, &bytes[..length]).await.expect(201);
            assert_eq!(created.offset(), length as u64);
            let upload = Upload::told_by(server.addr, &created);
            assert_eq!(upload.resume(&bytes).await, length as u64);
        }
    }
}

pub(super) async fn a_request_that_expects_100_hears_it_and_then_its_answer(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(100_000, 1);
    for framing in Framing::BOTH {
        let upload = server.create(bytes.len()).await;
        let head = upload.patch_head(0).with("Expect", "100-continue");
        let mut client = server.connect().await;
        client.send_head(&framing.announce(head, bytes.len())).await;
        client.read_interim(100).await;
        client.send_body(&bytes).await;
        client.end_body(&[]).await;
        let answer = client.read_response().await.expect(204);
        assert_eq!(answer.interim, [0_u16; 0], "{answer:?}");
        upload.verify(&bytes).await;
    }
}

pub(super) async fn an_expectation_that_is_refused_hears_the_refusal(subject: Subject) {
    let server = start(subject);
    let upload = server.create(2_000_000).await;
    let heads = [
        (upload.patch_head(7), 409),
        (upload.patch_head(0).without("Tus-Resumable"), 412),
        (upload.patch_head(0).without("Content-Type"), 415),
    ];
    for (head, status) in heads {
        let mut client = Client::connect(server.addr).await;
        client.send_head(&head.sized(1_000_000).with("Expect", "100-continue")).await;
        // Nothing of the body is sent: the answer must not wait for it.
        let answer = client.read_response().await.expect(status);
        if subject.abilities().late_continue {
            assert_eq!(answer.interim, [0_u16; 0], "{answer:?}");
        } else {
            assert_eq!(answer.interim, [100], "{answer:?}");
        }
        // The body is neither wanted nor sent, so the connection cannot go on.
        assert!(answer.closes(), "{answer:?}");
        client.closed().await;
    }
    assert_eq!(upload.offset().await, 0);
}

pub(super) async fn a_body_longer_than_the_upload_leaves_nothing(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(200_000, 1);
    let upload = server.create(100_000).await;
    upload.patch(0, &bytes[..50_000]).await.expect(204);
    for framing in Framing::BOTH {
        let rest = &bytes[50_000..];
        let head = framing.announce(upload.patch_head(50_000), rest.len());
        upload.request(&head, rest).await.expect(413);
        assert_eq!(upload.offset().await, 50_000, "{framing:?}");
    }
    assert_eq!(upload.resume(&bytes[..100_000]).await, 50_000);
}
