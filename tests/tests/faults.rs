//! The crash matrix: every scenario once for every call that it makes to a store, with that call
//! failing, or the process dying at it, and a client that goes on as a sane one would.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

#[path = "faults/client.rs"]
mod client;
#[path = "faults/digests.rs"]
mod digests;
#[path = "faults/found.rs"]
mod found;
#[path = "faults/ground.rs"]
mod ground;
#[path = "faults/hooks.rs"]
mod hooks;
#[path = "faults/matrix.rs"]
mod matrix;
#[path = "faults/rare.rs"]
mod rare;
#[path = "faults/run.rs"]
mod run;
#[path = "faults/stalled.rs"]
mod stalled;
#[path = "faults/untold.rs"]
mod untold;

use std::{sync::atomic::AtomicU64, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use matrix::{Bears, matrix, matrix_of};
use tus_core::{Expiry, Phase, Policy};
use tus_tests::rig::{Application, Ask, Frames, Piece, crc32};

const TEXT: &[u8] = b"resumable uploads for everybody";

fn length() -> u64 {
    TEXT.len() as u64
}

fn data(bytes: &[u8]) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes))
}

/// A trailer with the digest of these bytes.
fn proof(bytes: &[u8]) -> Piece {
    let mut trailers = HeaderMap::new();
    let value = HeaderValue::from_str(&crc32(bytes)).unwrap();
    trailers.insert("upload-checksum", value);
    Piece::Trailers(trailers)
}

#[test]
fn a_creation() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        assert_eq!(run.offset(&url).await, 0);
    });
}

#[test]
fn a_creation_with_all_its_bytes() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length()).body(Frames::whole(TEXT))).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_creation_with_some_bytes() {
    matrix(async |run| {
        let url = run
            .create(|| {
                let frames = [data(&TEXT[..4]), data(&TEXT[4..10])];
                Ask::post().length(length()).body(Frames::chunked(frames))
            })
            .await;
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn an_upload_of_nothing() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(0)).await;
        run.is_complete(&url, b"").await;
    });
}

#[test]
fn an_upload_in_pieces() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.go_on(&url, TEXT, 13).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_piece_whose_connection_breaks() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        let frames = [data(&TEXT[..3]), data(&TEXT[3..9]), Piece::Break];
        run.ask(Ask::patch(&url, 0).body(Frames::announced(length(), frames))).await;
        let kept = run.offset(&url).await;
        assert!(kept <= 9, "{kept}");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_piece_with_its_checksum() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        let first = || Ask::patch(&url, 0).with("upload-checksum", crc32(&TEXT[..9]));
        run.ask(first().body(Frames::chunked([data(&TEXT[..5]), data(&TEXT[5..9])]))).await;
        let kept = run.offset(&url).await;
        assert!(kept == 0 || kept == 9, "half a checksum: {kept}");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_piece_with_a_wrong_checksum() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 4).await;
        let wrong = Ask::patch(&url, 4).with("upload-checksum", crc32(b"something else"));
        let answer = run.ask(wrong.body(Frames::chunked([data(b"bad"), data(b"bytes")]))).await;
        assert!(answer.is_none_or(|answer| !answer.is_success()));
        assert_eq!(run.offset(&url).await, 4, "unproven bytes count");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_piece_whose_checksum_never_comes() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 4).await;
        let broken = Ask::patch(&url, 4).with("trailer", "upload-checksum");
        run.ask(broken.body(Frames::chunked([data(b"bad"), data(b"bytes"), Piece::Break]))).await;
        assert_eq!(run.offset(&url).await, 4, "unproven bytes count");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_piece_with_a_wrong_checksum_in_a_trailer_that_was_announced() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 4).await;
        let wrong = Ask::patch(&url, 4).with("trailer", "upload-checksum");
        run.ask(wrong.body(Frames::chunked([data(b"bad"), proof(b"good")]))).await;
        assert_eq!(run.offset(&url).await, 4, "unproven bytes count");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

/// Who was not told of a checksum cannot fence the bytes off; but once it has come and is wrong,
/// they must not count, whatever fails then. (A process that dies before that has kept bytes of
/// which nobody had promised anything.)
#[test]
fn a_piece_with_a_wrong_checksum_in_a_trailer_that_nobody_announced() {
    matrix_of(&Policy::default(), Application::default, Bears::NoSuddenDeath, async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 4).await;
        let wrong = Ask::patch(&url, 4);
        run.ask(wrong.body(Frames::chunked([data(b"bad"), proof(b"good")]))).await;
        assert_eq!(run.offset(&url).await, 4, "bytes that were disproven count");
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_length_that_is_declared_late() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().with("upload-defer-length", 1)).await;
        run.send_until(&url, TEXT, 8).await;
        run.declare(&url, TEXT).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_termination() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 8).await;
        run.end(&url).await;
        run.is_gone(&url).await;
        run.is_told_of_the_end(&url).await;
    });
}

#[test]
fn a_termination_of_a_complete_upload() {
    matrix(async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.go_on(&url, TEXT, 99).await;
        run.is_complete(&url, TEXT).await;
        run.end(&url).await;
        run.is_gone(&url).await;
        run.is_told_of_the_end(&url).await;
    });
}

#[test]
fn a_termination_of_an_upload_that_was_not_announced_yet() {
    let application = || Application { fails: AtomicU64::new(u64::MAX), ..Application::default() };
    matrix_of(&Policy::default(), application, Bears::Everything, async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_all(&url, TEXT).await;
        run.end(&url).await;
        run.is_gone(&url).await;
        run.is_told_of_the_end(&url).await;
    });
}

#[test]
fn a_final_of_complete_parts() {
    matrix(async |run| {
        let (first, second) = run.two_parts(TEXT, TEXT.len()).await;
        let url = run.concat(&[&first, &second]).await;
        run.joins(&url, TEXT).await;
    });
}

#[test]
fn a_final_of_parts_to_come() {
    matrix(async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        run.go_on(&second, &TEXT[13..], 99).await;
        run.go_on(&first, &TEXT[..13], 99).await;
        run.joins(&url, TEXT).await;
    });
}

#[test]
fn a_final_whose_used_parts_are_to_go() {
    let mut policy = Policy::default();
    policy.remove_used_parts = true;
    matrix_of(&policy, Application::default, Bears::Everything, async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        // Once the final has its bytes the parts may go at any time.
        run.go_on_or_gone(&second, &TEXT[13..]).await;
        run.go_on_or_gone(&first, &TEXT[..13]).await;
        run.joins(&url, TEXT).await;
        run.settle().await;
        for part in [&first, &second] {
            assert!(run.record(part).await.is_none(), "a used part is left");
        }
    });
}

#[test]
fn a_final_that_loses_a_part() {
    matrix(async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        run.end(&first).await;
        run.settle().await;
        run.is_gone(&url).await;
        assert!(run.application().finished.lock().unwrap().is_empty());
    });
}

#[test]
fn a_termination_of_a_final_that_waits() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(3600)));
    matrix_of(&policy, Application::default, Bears::Everything, async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        run.end(&url).await;
        run.is_gone(&url).await;
        run.is_told_of_the_end(&url).await;
        run.expires(&[&first, &second]).await;
    });
}

#[test]
fn parts_of_a_complete_final_expire() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(3600)));
    matrix_of(&policy, Application::default, Bears::Everything, async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        run.go_on(&second, &TEXT[13..], 99).await;
        run.go_on(&first, &TEXT[..13], 99).await;
        run.joins(&url, TEXT).await;
        run.expires(&[&first, &second]).await;
        run.joins(&url, TEXT).await;
    });
}

#[test]
fn an_upload_that_expires() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(3600)));
    matrix_of(&policy, Application::default, Bears::Everything, async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_until(&url, TEXT, 8).await;
        run.expires(&[&url]).await;
    });
}

#[test]
fn an_upload_whose_finish_fails_once() {
    let application = || Application { fails: AtomicU64::new(1), ..Application::default() };
    matrix_of(&Policy::default(), application, Bears::Everything, async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.go_on(&url, TEXT, 20).await;
        run.is_complete(&url, TEXT).await;
    });
}

#[test]
fn a_final_whose_finish_fails_once() {
    let application = || Application { fails: AtomicU64::new(1), ..Application::default() };
    let mut policy = Policy::default();
    policy.remove_used_parts = true;
    matrix_of(&policy, application, Bears::Everything, async |run| {
        let (first, second) = run.two_parts(TEXT, 0).await;
        let url = run.concat(&[&first, &second]).await;
        run.go_on_or_gone(&second, &TEXT[13..]).await;
        run.go_on_or_gone(&first, &TEXT[..13]).await;
        run.joins(&url, TEXT).await;
        run.settle().await;
        for part in [&first, &second] {
            assert!(run.record(part).await.is_none(), "a used part is left");
        }
    });
}

#[test]
fn an_upload_that_is_refused_at_its_end() {
    let application = || Application { rejects: true, ..Application::default() };
    matrix_of(&Policy::default(), application, Bears::Everything, async |run| {
        let url = run.create(|| Ask::post().length(length())).await;
        run.send_all(&url, TEXT).await;
        run.is_refused(&url).await;
        run.restart().await;
        run.is_refused(&url).await;
        run.settle().await;
        let upload = run.record(&url).await.expect("a refusal is remembered");
        assert!(matches!(upload.phase, Phase::Refused { .. }), "{:?}", upload.phase);
        assert_eq!(run.durable(&upload).await, None, "refused bytes are kept");
    });
}
