//! Many at once.

use futures_util::{StreamExt as _, future::join_all, stream};

use super::{Subject, start};
use crate::{
    head::Head,
    payload::{Random, pattern},
    upload::{Framing, Upload},
    waiting::eventually,
};

pub(super) async fn fifty_uploads_at_once_arrive_whole(subject: Subject) {
    let server = start(subject);
    let uploads = (0..50).map(|seed| {
        let server = &server;
        async move {
            let bytes = pattern(200_000 + 100 * seed as usize, seed);
            let upload = server.create(bytes.len()).await;
            let framing = Framing::BOTH[seed as usize % 2];
            let mut client = upload.begin_patch(0, framing, bytes.len()).await;
            for piece in bytes.chunks(7_777) {
                client.send_body(piece).await;
                tokio::task::yield_now().await;
            }
            client.end_body(&[]).await;
            client.read_response().await.expect(204);
            upload.verify(&bytes).await;
        }
    });
    join_all(uploads).await;
    server.stop().await;
}

pub(super) async fn two_hundred_cut_connections_lose_nothing_that_was_told(subject: Subject) {
    const LENGTH: usize = 60_000;
    let server = start(subject);
    let cut = |seed| {
        let server = &server;
        async move {
            let bytes = pattern(LENGTH, seed);
            let upload = server.create(LENGTH).await;
            cut_somewhere(&upload, &bytes, &mut Random::new(seed)).await;
            let mut told = 0;
            eventually("an upload that was resumed", async || {
                let offset = upload.offset().await;
                assert!(offset >= told, "seed {seed}: {offset} after {told} was told");
                told = offset;
                // A connection that was cut may still be on its way in, and is a writer like us.
                let answer = upload.patch(offset, &bytes[offset as usize..]).await;
                match answer.status {
                    204 => Some(()),
                    409 | 423 => None,
                    _ => panic!("seed {seed}: {answer:?}"),
                }
            })
            .await;
            upload.verify(&bytes).await;
        }
    };
    stream::iter(0..200).for_each_concurrent(20, cut).await;
    let hello = server.request(&Head::plain("GET", "/hello"), b"").await;
    hello.expect(200);
    server.stop().await;
}

/// Sends a PATCH up to some byte of its head or body, in some pieces, and leaves in some way.
async fn cut_somewhere(upload: &Upload, bytes: &[u8], random: &mut Random) {
    let framing = Framing::BOTH[random.below(2) as usize];
    let mut wire = framing.announce(upload.patch_head(0), bytes.len()).to_bytes();
    for piece in bytes.chunks(1_000 + random.below(20_000) as usize) {
        if framing == Framing::Chunked {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        wire.extend_from_slice(piece);
        if framing == Framing::Chunked {
            wire.extend_from_slice(b"\r\n");
        }
    }
    let mut client = crate::Client::connect(upload.addr).await;
    let end = random.below(wire.len() as u64) as usize;
    let middle = random.below(end as u64 + 1) as usize;
    for piece in [&wire[..middle], &wire[middle..end]] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    match random.below(3) {
        0 => client.abort(),
        1 => client.finish().await,
        _ => drop(client),
    }
}
