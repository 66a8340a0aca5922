//! Digests of whole uploads: right whatever happens, and no byte is read for them that need not be.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

#[path = "digests/house.rs"]
mod house;

use house::{House, repr, sha256};
use http_body_util::BodyExt as _;
use tus_core::{Algorithm, Digest, GoneReason, Phase, store::ChunkStore as _};
use tus_fs::FsStore;
use tus_testkit::{Call, pattern};
use tus_tests::rig::{Ask, Frames};

#[tokio::test]
async fn many_requests_and_restarts_read_no_byte_again() {
    let mut house = House::new();
    let bytes = pattern(20_011, 1);
    let url = house.expecting(&bytes).await;
    let mut at = 0;
    for (number, piece) in bytes.chunks(997).enumerate() {
        assert!(house.patch(&url, at, piece).await.is_success());
        at += piece.len();
        if number % 3 == 0 {
            house.restart();
        }
    }
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 0);
    // One for each request (P8's exception), and those of a finish.
    assert_eq!(house.store.updates(), 20 + 2);
}

#[tokio::test]
async fn an_upload_of_which_nobody_wants_a_digest_rewrites_no_record() {
    let house = House::new();
    let made = house.send(Ask::post().length(3000)).await;
    for at in [0, 1000] {
        assert!(house.patch(&made.location(), at, &[7; 1000]).await.is_success());
    }
    assert_eq!(house.store.updates(), 0);
}

#[tokio::test]
async fn after_a_crash_only_what_no_saved_state_has_seen_is_read_again() {
    let mut house = House::new();
    let bytes = pattern(5000, 2);
    let url = house.expecting(&bytes).await;
    assert!(house.patch(&url, 0, &bytes[..1200]).await.is_success());
    // Saved at 1200, and at the sync points at 2200 and 3200.
    house.die_after(&url, 1200, &bytes[1200..3700]).await;
    assert_eq!(house.record(&url).await.digests[0].state.as_ref().unwrap().at, 3200);
    assert!(house.patch(&url, 3700, &bytes[3700..]).await.is_success());
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 500);
}

#[tokio::test]
async fn a_state_in_an_unknown_form_is_computed_anew() {
    let mut house = House::new();
    let bytes = pattern(3000, 3);
    let url = house.expecting(&bytes).await;
    assert!(house.patch(&url, 0, &bytes[..1200]).await.is_success());
    house.tamper(&url, |upload| upload.digests[0].state.as_mut().unwrap().format += 1).await;
    house.restart();
    assert!(house.patch(&url, 1200, &bytes[1200..1300]).await.is_success());
    assert_eq!(house.store.read(), 1200);
    house.tamper(&url, |upload| upload.digests[0].state.as_mut().unwrap().bytes.truncate(9)).await;
    assert!(house.patch(&url, 1300, &bytes[1300..]).await.is_success());
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 1200 + 1300);
}

#[tokio::test]
async fn a_state_that_has_seen_more_than_is_stored_never_counts() {
    let mut house = House::new();
    let (lost, bytes) = (pattern(100, 4), pattern(300, 5));
    let url = house.expecting(&bytes).await;
    assert!(house.patch(&url, 0, &lost).await.is_success());
    // A disk that has lost what it had promised to keep.
    let locator = house.record(&url).await.locator;
    house.store.truncate(&locator, 0).await.unwrap();
    house.restart();
    // Other bytes come to stand where it has seen those.
    house.die_after(&url, 0, &bytes[..200]).await;
    assert!(house.patch(&url, 200, &bytes[200..]).await.is_success());
    house.assert_finished(&bytes).await;
}

#[tokio::test]
async fn what_is_rolled_back_was_never_seen() {
    let house = House::new();
    let bytes = pattern(3000, 6);
    let url = house.expecting(&bytes).await;
    assert!(house.patch(&url, 0, &bytes[..100]).await.is_success());
    let lie = pattern(1700, 7);
    let checksum = tus_tests::rig::crc32(&bytes[100..]);
    let wrong = Ask::patch(&url, 100).with("upload-checksum", checksum).body(Frames::whole(&lie));
    assert_eq!(house.send(wrong).await.status, 460);
    // Longer than what is lacking, and beyond a sync point: none of it counts.
    let long = pattern(4000, 8);
    let frames = long.chunks(150).map(|c| tus_tests::rig::Piece::Data(c.to_vec().into()));
    let long = Ask::patch(&url, 100).body(Frames::chunked(frames));
    assert_eq!(house.send(long).await.status, 413);
    assert_eq!(house.record(&url).await.digests[0].state.as_ref().unwrap().at, 100);
    assert!(house.patch(&url, 100, &bytes[100..]).await.is_success());
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 0);
}

#[tokio::test]
async fn an_upload_that_is_not_what_it_must_be_ends_and_is_never_announced() {
    let house = House::new();
    let bytes = pattern(2000, 9);
    let url = house.expecting(&bytes).await;
    assert!(house.patch(&url, 0, &bytes[..1500]).await.is_success());
    let last = house.patch(&url, 1500, &pattern(500, 10)).await;
    assert_eq!(last.status, 460, "{last:?}");
    assert_gone(&house, &url).await;
}

#[tokio::test]
async fn a_crash_between_the_last_byte_and_the_check_does_not_skip_it() {
    for known in [true, false] {
        let mut house = House::new();
        let bytes = pattern(700, 11);
        let url = house.expecting(&bytes).await;
        let sent = if known { bytes.to_vec() } else { pattern(700, 12).to_vec() };
        assert!(house.patch(&url, 0, &sent[..600]).await.is_success());
        let held = house.store.hold(Call::Update);
        let (tus, last) = (house.tus.clone(), Frames::whole(&sent[600..]));
        let ask = Ask::patch(&url, 600).body(last);
        let request = tokio::spawn(async move { ask.send(&tus).await });
        held.reached().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        held.release();
        house.restart();
        let head = house.send(Ask::head(&url)).await;
        if known {
            assert_eq!((head.status, head.offset()), (200, Some(700)), "{head:?}");
            house.assert_finished(&bytes).await;
            assert_eq!(house.store.read(), 100);
        } else {
            assert_eq!(head.status, 410, "{head:?}");
            assert_gone(&house, &url).await;
        }
    }
}

async fn assert_gone(house: &House<tus_core::MemoryStore>, url: &str) {
    let locator = {
        let heard = house.heard.lock().unwrap();
        assert!(heard.finished.is_empty(), "announced");
        let reasons = heard.ended.iter().map(|upload| match &upload.phase {
            Phase::Gone(gone) => Some(gone.reason),
            _ => None,
        });
        assert_eq!(reasons.collect::<Vec<_>>(), [Some(GoneReason::DigestMismatch)]);
        heard.ended[0].locator.clone()
    };
    assert!(house.store.stat(&locator).await.unwrap_err().is_not_found(), "its bytes are kept");
    for ask in [Ask::head(url), Ask::patch(url, 0).body(Frames::none()), Ask::delete(url)] {
        let answer = house.send(ask).await;
        assert_eq!(answer.status, 410, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_expected_can_be_said_late_but_not_twice_otherwise() {
    let house = House::new();
    let bytes = pattern(900, 13);
    let made = house.send(Ask::post().length(900)).await;
    let url = made.location();
    assert!(house.patch(&url, 0, &bytes[..300]).await.is_success());
    let say = |at: u64, of: &[u8], piece: &[u8]| {
        Ask::patch(&url, at).with("repr-digest", repr(of)).body(Frames::whole(piece))
    };
    assert!(house.send(say(300, &bytes, &bytes[300..600])).await.is_success());
    for _ in 0..2 {
        let wrong = Ask::patch(&url, 600).with("upload-checksum", "crc32 AAAAAA==");
        assert_eq!(house.send(wrong.body(Frames::whole(&bytes[600..]))).await.status, 460);
        // What had come before anybody asked, and with the asking; refused requests keep that much.
        assert_eq!(house.store.read(), 600);
    }
    assert_eq!(house.send(say(600, b"other", &bytes[600..])).await.status, 400);
    assert_eq!(house.send(Ask::head(&url)).await.offset(), Some(600));
    assert!(house.send(say(600, &bytes, &bytes[600..])).await.is_success());
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 600);
    // Once it is complete, what it is can be confirmed but not denied.
    assert!(house.send(say(900, &bytes, b"")).await.is_success());
    assert_eq!(house.send(say(900, b"other", b"")).await.status, 400);
}

#[tokio::test]
async fn what_a_refused_request_expects_is_not_expected() {
    let house = House::new();
    let bytes = pattern(900, 14);
    let url = house.send(Ask::post().length(900)).await.location();
    assert!(house.patch(&url, 0, &bytes[..100]).await.is_success());
    for (checksum, piece) in [(Some("crc32 AAAAAA=="), 800), (None, 1200)] {
        let mut wrong = Ask::patch(&url, 100).with("repr-digest", repr(b"other"));
        if let Some(checksum) = checksum {
            wrong = wrong.with("upload-checksum", checksum);
        }
        let all = pattern(piece, 15);
        let frames = all.chunks(100).map(|c| tus_tests::rig::Piece::Data(c.to_vec().into()));
        let refused = house.send(wrong.body(Frames::chunked(frames))).await;
        assert!([460, 413].contains(&refused.status), "{refused:?}");
        assert_eq!(house.record(&url).await.digests, []);
    }
    assert_eq!(house.store.read(), 0, "who asks in vain has the server read");
    assert!(house.patch(&url, 100, &bytes[100..]).await.is_success());
}

#[tokio::test]
async fn an_expectation_is_recorded_before_the_bytes_that_complete_the_upload() {
    let mut house = House::new();
    let url = house.send(Ask::post().length(500)).await.location();
    let held = house.store.hold(Call::Sync);
    let tus = house.tus.clone();
    let bytes = pattern(500, 16);
    let last = Ask::patch(&url, 0).with("repr-digest", repr(b"other")).body(Frames::whole(&bytes));
    let request = tokio::spawn(async move { last.send(&tus).await });
    held.reached().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    held.release();
    house.restart();
    assert_eq!(house.send(Ask::head(&url)).await.status, 410);
    assert_gone(&house, &url).await;
}

#[tokio::test]
async fn a_final_is_read_once_if_its_digest_is_wanted() {
    for (good, wanted) in [(true, 201), (false, 460)] {
        let house = House::new();
        let bytes = pattern(1000, 17);
        let mut urls = Vec::new();
        for part in bytes.chunks(600) {
            let post = Ask::post().length(part.len() as u64).with("upload-concat", "partial");
            let made = house.send(post.body(Frames::whole(part))).await;
            urls.push(made.location());
        }
        let of = if good { repr(&bytes) } else { repr(b"other") };
        let post = Ask::post().with("upload-concat", format!("final;{}", urls.join(" ")));
        let made = house.send(post.with("repr-digest", of)).await;
        assert_eq!(made.status, wanted, "{made:?}");
        assert_eq!(house.store.read(), 1000);
        if good {
            house.assert_finished(&bytes).await;
        } else {
            assert!(house.heard.lock().unwrap().finished.is_empty());
        }
    }
}

#[tokio::test]
async fn a_part_that_is_not_what_it_must_be_ends_its_final() {
    let house = House::new();
    let bytes = pattern(100, 18);
    let post = Ask::post().length(100).with("upload-concat", "partial");
    let part = house.send(post.with("repr-digest", repr(b"other"))).await.location();
    let post = Ask::post().with("upload-concat", format!("final;{part}"));
    let whole = house.send(post).await.location();
    assert_eq!(house.patch(&part, 0, &bytes).await.status, 460);
    tus_testkit::eventually("the end of the final", async || {
        (house.send(Ask::head(&whole)).await.status == 410).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_application_can_ask_for_a_digest_that_no_client_wants() {
    let mut house = House::that_asks();
    let bytes = pattern(1500, 19);
    let made = house.send(Ask::post().length(1500).body(Frames::whole(&bytes[..700]))).await;
    house.restart();
    let last = house.patch(&made.location(), 700, &bytes[700..]).await;
    assert_eq!(last.status, 204);
    assert!(!last.headers.contains_key("repr-digest"), "{last:?}");
    house.assert_finished(&bytes).await;
    assert_eq!(house.store.read(), 0);
    let value = sha256(&bytes);
    let record = house.record(&made.location()).await;
    let digest = Digest { algorithm: Algorithm::Sha256, value };
    assert_eq!(record.digest(Algorithm::Sha256), Some(&digest));
    assert_eq!(record.digests[0].state, None);
}

#[tokio::test]
async fn on_disk_a_digest_survives_that_everything_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = pattern(50_000, 20);
    let mut url = None;
    let mut at = 0;
    for piece in bytes.chunks(7001) {
        let house = House::over(FsStore::open(folder.path()).await.unwrap(), false);
        let url = match &url {
            Some(url) => url,
            None => url.insert(house.expecting(&bytes).await),
        };
        assert!(house.patch(url, at, piece).await.is_success());
        at += piece.len();
        assert_eq!(house.store.read(), 0);
        if at == bytes.len() {
            house.assert_finished(&bytes).await;
        }
        // The next one waits for the lock of the directory.
        assert!(house.tus.drain(std::time::Duration::from_secs(10)).await);
        drop(house);
    }
}

/// Sends a request to an application that answers with this status whatever it is given.
async fn ask_handler(
    house: &House<tus_core::MemoryStore>,
    request: http::Request<Frames>,
    says: u16,
) -> (http::Response<()>, bool) {
    let (path, headers) = (request.uri().path(), request.headers());
    let arrival = house.tus.arrival(request.method(), path, headers, "/files").unwrap();
    let mut asked = false;
    let handler = |request: http::Request<tus_core::Body>| {
        asked = true;
        async move {
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "hello");
            http::Response::builder().status(says).body(String::new()).unwrap()
        }
    };
    let answer = house.tus.resume(request, arrival, handler).await;
    (answer.map(drop), asked)
}

#[tokio::test]
async fn a_handler_is_given_only_what_is_what_it_must_be() {
    let house = House::new();
    let begin = |of: &[u8]| {
        let request = http::Request::post("/photos").header("upload-complete", "?1");
        request.header("repr-digest", repr(of)).body(Frames::whole(b"hello")).unwrap()
    };
    let (answer, asked) = ask_handler(&house, begin(b"jello"), 200).await;
    assert_eq!((answer.status().as_u16(), asked), (400, false), "{answer:?}");
    // It may fail, and be asked again: nothing is read then but by itself.
    let (answer, asked) = ask_handler(&house, begin(b"hello"), 503).await;
    assert_eq!((answer.status().as_u16(), asked), (503, true), "{answer:?}");
    let again = http::Request::patch(answer.headers()["location"].to_str().unwrap())
        .header("content-type", "application/partial-upload")
        .header("upload-offset", 5)
        .header("upload-complete", "?1");
    let (answer, asked) = ask_handler(&house, again.body(Frames::none()).unwrap(), 200).await;
    assert_eq!((answer.status().as_u16(), asked), (200, true), "{answer:?}");
    assert_eq!(house.store.read(), 10);
}

#[derive(Debug)]
struct Heard104;

impl tus_core::SendInterim for Heard104 {
    fn send(&self, _: http::StatusCode, _: &http::HeaderMap) -> bool {
        true
    }
}

/// A creation that is refused makes no upload, unless its client knows already that there is one.
#[tokio::test]
async fn an_upload_that_a_104_told_of_stays_and_is_empty() {
    let house = House::new();
    for told in [true, false] {
        let request = http::Request::post("/files").header("upload-complete", "?1");
        let request = request.header("upload-draft-interop-version", 8);
        let request = request.header("content-digest", repr(b"hello"));
        let mut request = request.body(Frames::whole(b"jello")).unwrap();
        if told {
            let line = tus_core::Interim::new(std::sync::Arc::new(Heard104));
            request.extensions_mut().insert(line);
        }
        let answer = house.tus.handle(request, tus_core::Arrival::at("/files")).await;
        let field = |name| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!((answer.status().as_u16(), field("upload-complete")), (400, Some("?0")));
        assert_eq!(field("upload-offset"), told.then_some("0"));
        let Some(url) = field("location") else {
            assert!(!told);
            continue;
        };
        assert!(told);
        let head = house.send(Ask::head(url)).await;
        assert_eq!((head.status, head.offset()), (200, Some(0)), "{head:?}");
    }
}
