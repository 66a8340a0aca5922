//! Connections that are used more than once.

use super::{Subject, start};
use crate::{
    head::Head,
    payload::pattern,
    upload::{Framing, Upload},
};

pub(super) async fn a_connection_serves_one_request_after_another(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(90_000, 1);
    let mut client = server.connect().await;
    for framing in Framing::BOTH {
        let length = bytes.len() as u64;
        let created = client.request(&Head::create("/files", length), b"").await;
        let upload = Upload::told_by(server.addr, &created.expect(201));
        for piece in [0..40_000, 40_000..90_000] {
            let head = upload.patch_head(piece.start as u64);
            let head = framing.announce(head, piece.len());
            let answer = client.request(&head, &bytes[piece.clone()]).await.expect(204);
            assert_eq!(answer.offset(), piece.end as u64);
        }
        let asked = client.request(&Head::new("HEAD", &upload.path), b"").await;
        assert_eq!(asked.expect(200).offset(), length);
        let got = client.request(&Head::plain("GET", &upload.path), b"").await;
        assert!(got.expect(200).body == bytes, "{framing:?}");
        let hello = client.request(&Head::plain("GET", "/hello"), b"").await;
        assert_eq!(hello.expect(200).text(), "hello");
    }
}

pub(super) async fn pipelined_requests_are_answered_in_their_order(subject: Subject) {
    let server = start(subject);
    let upload = server.create(6).await;
    let mut client = server.connect().await;
    let asked = Head::new("HEAD", &upload.path);
    client.send_request(&upload.patch_head(0).sized(3), b"abc").await;
    client.send_request(&asked, b"").await;
    client.send_request(&upload.patch_head(3).chunked(), b"def").await;
    client.send_request(&asked, b"").await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let answer = client.read_response().await;
        told.push((answer.status, answer.offset()));
    }
    assert_eq!(told, [(204, 3), (200, 3), (204, 6), (200, 6)]);
    upload.verify(b"abcdef").await;
}
