//! Bodies that end before they should: what arrived is kept (P2), unless a digest was promised.

use super::{Subject, start, uploads, watched_uploads};
use crate::{
    client::Client,
    harness::App,
    head::Head,
    payload::{pattern, sha1},
    upload::{Framing, Upload},
};

const WHOLE: usize = 300_000;
const HALF: usize = 140_000;

pub(super) async fn a_fin_in_mid_body_keeps_what_arrived(subject: Subject) {
    let server = start(subject);
    let bytes = pattern(WHOLE, 1);
    for framing in Framing::BOTH {
        let upload = server.create(WHOLE).await;
        let mut client = upload.begin_patch(0, framing, WHOLE).await;
        client.send_body(&bytes[..HALF]).await;
        client.finish().await;
        // The server has seen the end, before anybody else asks for the upload.
        if let Some(answer) = client.answer_or_close().await {
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
        assert_eq!(upload.resume(&bytes).await, HALF as u64, "{framing:?}");
    }
}

pub(super) async fn a_reset_in_mid_body_keeps_what_arrived(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    for framing in Framing::BOTH {
        let upload = server.create(WHOLE).await;
        let before = store.written() as usize;
        let mut client = upload.begin_patch(0, framing, WHOLE).await;
        client.send_body(&bytes[..HALF]).await;
        store.wait_written(before + HALF).await;
        client.abort();
        assert_eq!(upload.resume(&bytes).await, HALF as u64, "{framing:?}");
    }
}

pub(super) async fn a_broken_body_with_a_checksum_leaves_the_offset_where_it_was(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    for (framing, reset) in [
        (Framing::Sized, false),
        (Framing::Sized, true),
        (Framing::Chunked, false),
        (Framing::Chunked, true),
    ] {
        let upload = server.create(WHOLE).await;
        upload.patch(0, &bytes[..1_000]).await.expect(204);
        let before = store.written() as usize;
        let mut client = Client::connect(server.addr).await;
        let head = framing.announce(upload.patch_head(1_000), WHOLE - 1_000);
        let promise = sha1(&bytes[1_000..]);
        client.send_head(&head.with("Upload-Checksum", promise)).await;
        client.send_body(&bytes[1_000..HALF]).await;
        store.wait_written(before + HALF - 1_000).await;
        if reset {
            client.abort();
        } else {
            client.finish().await;
            client.answer_or_close().await;
        }
        let case = format!("{framing:?}, reset: {reset}");
        assert_eq!(upload.resume(&bytes).await, 1_000, "{case}");
    }
}

pub(super) async fn a_broken_creation_keeps_what_arrived(subject: Subject) {
    // The client never hears the Location, so the application gives an id that it knows.
    let tus = uploads().before_create(|request, mut new| async move {
        let id = request.headers().get("x-id");
        let id = id.and_then(|id| id.to_str().ok());
        new.id = id.map(|id| id.parse().expect("an id"));
        Ok(new)
    });
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    for framing in Framing::BOTH {
        let id = format!("{framing:?}");
        let head = Head::create("/files", WHOLE as u64)
            .with("Content-Type", "application/offset+octet-stream")
            .with("X-Id", &id);
        let mut client = server.connect().await;
        client.send_head(&framing.announce(head, WHOLE)).await;
        client.send_body(&bytes[..HALF]).await;
        client.finish().await;
        client.answer_or_close().await;
        let upload = Upload { addr: server.addr, path: format!("/files/{id}") };
        assert_eq!(upload.resume(&bytes).await, HALF as u64, "{framing:?}");
    }
}

pub(super) async fn a_chunk_that_is_no_chunk_keeps_what_was_right(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let upload = server.create(WHOLE).await;
    let mut client = upload.begin_patch(0, Framing::Chunked, WHOLE).await;
    client.send_body(&bytes[..HALF]).await;
    store.wait_written(HALF).await;
    client.send("no chunk size\r\n").await;
    if let Some(answer) = client.answer_or_close().await {
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(upload.resume(&bytes).await, HALF as u64);
}
