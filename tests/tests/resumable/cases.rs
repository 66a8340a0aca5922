//! What a client sees of an application that was made resumable.

use std::{fs, path::Path, sync::atomic::Ordering, time::Duration};

use tempfile::TempDir;
use tus_core::{Expiry, Policy};
use tus_testkit::{Head, Response, Server, eventually, pattern};

use crate::applications::{Application, LARGE, Started};

const UPLOADS: &str = "/resumable-uploads";

/// A running application with an empty directory.
fn start(application: &dyn Application) -> (Started, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (application.start(directory.path(), Policy::default()), directory)
}

fn begin(method: &str, target: &str, complete: &str) -> Head {
    Head::plain(method, target).with("Upload-Complete", complete)
}

fn append(target: &str, offset: u64, complete: &str) -> Head {
    let head = begin("PATCH", target, complete).with("Upload-Offset", offset);
    head.with("Content-Type", "application/partial-upload")
}

/// Sends a head with all of its body.
async fn ask(server: &Server, head: Head, body: &[u8]) -> Response {
    server.request(&head.sized(body.len()), body).await
}

/// Sends a head that announces all of a body, and some of it, and closes.
async fn cut(server: &Server, head: Head, body: &[u8], sent: usize) {
    let mut client = server.connect().await;
    client.send_head(&head.sized(body.len())).await;
    client.send_body(&body[..sent]).await;
    client.finish().await;
    client.answer_or_close().await;
}

/// Begins an upload without a byte; returns its URL.
async fn careful(server: &Server, head: Head) -> String {
    let created = ask(server, head, b"").await.expect(201);
    assert_eq!(created.header("upload-complete"), Some("?0"));
    created.header("location").expect("a Location").to_owned()
}

async fn inspect(server: &Server, target: &str) -> Response {
    ask(server, Head::plain("HEAD", target), b"").await.expect(204)
}

/// Waits until so many bytes are stored.
async fn stored(server: &Server, target: &str, bytes: u64) {
    let reached = async || (inspect(server, target).await.offset() == bytes).then_some(());
    eventually("the bytes to be stored", reached).await;
}

/// The ids of the uploads that there are records of.
fn ids(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("uploads")).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".rec").map(str::to_owned)).collect()
}

pub(crate) async fn a_request_without_upload_complete_reaches_the_application_as_it_was_sent(
    application: &dyn Application,
) {
    let (Started { server, .. }, directory) = start(application);
    let plain = Head::plain("POST", "/words").with("Content-Type", "text/x-odd");
    let answer = ask(&server, plain, b"one two three").await.expect(201);
    assert_eq!(answer.text(), r#"{"bytes":13,"type":"text/x-odd","words":3}"#);
    for (name, value) in
        [("Upload-Complete", "1"), ("Upload-Complete", "yes"), ("Upload-Offset", "3")]
    {
        let malformed = Head::plain("POST", "/words").with(name, value);
        let answer = ask(&server, malformed, b"one").await.expect(201);
        assert_eq!(answer.header("upload-complete"), None, "{name}: {value}");
    }
    let home = ask(&server, Head::plain("GET", "/"), b"").await.expect(200);
    assert!(home.text().starts_with("POST /album"));
    ask(&server, begin("GET", "/", "?1"), b"").await.expect(200);
    ask(&server, Head::plain("GET", UPLOADS), b"").await.expect(404);
    assert_eq!(ids(directory.path()), [""; 0]);
    server.stop().await;
}

pub(crate) async fn a_request_in_one_piece_is_answered_by_the_handler(
    application: &dyn Application,
) {
    let (Started { server, .. }, _directory) = start(application);
    let whole = begin("POST", "/words", "?1").with("Content-Type", "text/plain");
    let answer = ask(&server, whole, b"one two three").await.expect(201);
    assert_eq!(answer.text(), r#"{"bytes":13,"type":"text/plain","words":3}"#);
    assert_eq!(answer.header("upload-complete"), Some("?1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let empty = ask(&server, begin("POST", "/words", "?1"), b"").await.expect(201);
    assert_eq!(empty.text(), r#"{"bytes":0,"type":null,"words":0}"#);
    let mut client = server.connect().await;
    client.send_head(&begin("POST", "/words", "?1").chunked()).await;
    client.send_body(b"four ").await;
    client.send_body(b"five").await;
    client.end_body(&[]).await;
    let chunked = client.read_response().await.expect(201);
    assert_eq!(chunked.text(), r#"{"bytes":9,"type":null,"words":2}"#);
    server.stop().await;
}

pub(crate) async fn a_form_that_is_cut_is_completed_by_a_second_request(
    application: &dyn Application,
) {
    let (Started { server, .. }, _directory) = start(application);
    let photo = pattern(200_000, 1);
    let mut form = b"--line\r\nContent-Disposition: form-data; name=\"photo\"; \
        filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"
        .to_vec();
    form.extend_from_slice(&photo);
    form.extend_from_slice(b"\r\n--line--\r\n");
    let kind = "multipart/form-data; boundary=line";
    let head = begin("POST", "/album", "?0").with("Content-Type", kind);
    let target = careful(&server, head.with("Upload-Length", form.len())).await;
    cut(&server, append(&target, 0, "?1"), &form, 70_000).await;
    stored(&server, &target, 70_000).await;
    assert_eq!(inspect(&server, &target).await.header("upload-complete"), Some("?0"));
    let answer = ask(&server, append(&target, 70_000, "?1"), &form[70_000..]).await.expect(200);
    assert_eq!(answer.text(), r#"{"photos":[{"bytes":200000,"name":"a.jpg"}]}"#);
    assert_eq!(answer.header("upload-complete"), Some("?1"));
    server.stop().await;
}

pub(crate) async fn a_text_in_three_pieces_is_answered_as_in_one(application: &dyn Application) {
    let (Started { server, .. }, _directory) = start(application);
    let head = begin("POST", "/words?lang=en", "?0").with("Content-Type", "text/plain");
    let first = ask(&server, head, b"one tw").await.expect(201);
    let target = first.header("location").expect("a Location").to_owned();
    assert!(target.starts_with(UPLOADS), "{target}");
    assert_eq!(first.offset(), 6);
    let second = ask(&server, append(&target, 6, "?0"), b"o th").await.expect(204);
    assert_eq!(second.header("upload-complete"), Some("?0"));
    let last = ask(&server, append(&target, 10, "?1"), b"ree").await.expect(201);
    assert_eq!(last.text(), r#"{"bytes":13,"type":"text/plain","words":3}"#);
    assert_eq!(inspect(&server, &target).await.header("upload-complete"), Some("?1"));
    server.stop().await;
}

pub(crate) async fn a_large_file_is_streamed_to_the_disk_by_the_handler(
    application: &dyn Application,
) {
    let (Started { server, .. }, directory) = start(application);
    let bytes = pattern(20 << 20, 2);
    let half = bytes.len() / 2;
    let head = begin("PUT", "/files/big.bin", "?0").with("Upload-Length", bytes.len());
    let target = careful(&server, head).await;
    cut(&server, append(&target, 0, "?1"), &bytes, half).await;
    // actix-web drops what it has read and not handed on when a connection ends.
    let kept = inspect(&server, &target).await.offset();
    assert!(kept > 0 && kept <= half as u64, "{kept}");
    let rest = &bytes[usize::try_from(kept).unwrap()..];
    let answer = ask(&server, append(&target, kept, "?1"), rest).await.expect(201);
    assert_eq!(answer.text(), format!("big.bin: {} bytes\n", bytes.len()));
    assert!(fs::read(directory.path().join("big.bin")).expect("the file") == bytes);
    server.stop().await;
}

pub(crate) async fn a_creation_that_is_cut_can_be_continued_where_its_url_is_known(
    application: &dyn Application,
) {
    let (Started { server, .. }, directory) = start(application);
    let text = "word ".repeat(20_000);
    let head = begin("POST", "/words", "?1").with("Content-Type", "text/plain");
    cut(&server, head, text.as_bytes(), 30_000).await;
    // Its client would know it from a 104.
    let id = eventually("the upload", async || ids(directory.path()).pop()).await;
    let target = format!("{UPLOADS}/{id}");
    stored(&server, &target, 30_000).await;
    let rest = &text.as_bytes()[30_000..];
    // What it said of its length holds.
    let short = ask(&server, append(&target, 30_000, "?1"), &rest[1..]).await.expect(400);
    assert!(short.text().contains("#inconsistent-upload-length"), "{}", short.text());
    let answer = ask(&server, append(&target, 30_000, "?1"), rest).await.expect(201);
    assert_eq!(answer.text(), r#"{"bytes":100000,"type":"text/plain","words":20000}"#);
    server.stop().await;
}

pub(crate) async fn credentials_are_those_of_the_request_that_completes(
    application: &dyn Application,
) {
    let (Started { server, .. }, directory) = start(application);
    let head = begin("POST", "/whoami", "?0")
        .with("Authorization", "first-secret")
        .with("Content-Language", "en")
        .with("X-Other", "first");
    let target = careful(&server, head).await;
    for id in ids(directory.path()) {
        let record = fs::read(directory.path().join("uploads").join(id + ".rec")).unwrap();
        assert!(!record.windows(12).any(|window| window == b"first-secret"), "it is stored");
    }
    let last = append(&target, 0, "?1").with("X-Other", "last").with("Content-Language", "fr");
    let answer = ask(&server, last, b"x").await.expect(200);
    assert_eq!(answer.text(), "- en last -\n");
    server.stop().await;
}

pub(crate) async fn an_answer_that_was_lost_is_given_again_without_asking_the_handler(
    application: &dyn Application,
) {
    let (Started { server, asked }, _directory) = start(application);
    let target = careful(&server, begin("POST", "/slow", "?0")).await;
    let first = ask(&server, append(&target, 0, "?1"), b"abc").await.expect(200);
    for _ in 0..2 {
        let again = ask(&server, append(&target, 3, "?1"), b"").await.expect(200);
        assert_eq!(again.text(), "3 bytes, slowly\n");
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("upload-complete"), Some("?1"));
    }
    assert_eq!(asked.times.load(Ordering::SeqCst), 1);
    let more = ask(&server, append(&target, 3, "?1"), b"d").await.expect(400);
    assert_eq!(more.header("upload-complete"), Some("?0"));
    server.stop().await;
}

pub(crate) async fn what_the_handler_refuses_stays_refused(application: &dyn Application) {
    let (Started { server, .. }, directory) = start(application);
    let target = careful(&server, begin("POST", "/words", "?0")).await;
    let refused = ask(&server, append(&target, 0, "?1"), b"\xff").await.expect(422);
    assert_eq!(refused.text(), "That is no text.\n");
    assert_eq!(refused.header("upload-complete"), Some("?1"));
    let again = ask(&server, append(&target, 1, "?1"), b"").await.expect(422);
    assert_eq!(again.text(), "That is no text.\n");
    assert_eq!(again.header("upload-complete"), Some("?1"));
    ask(&server, Head::plain("HEAD", &target), b"").await.expect(422);
    assert_eq!(leftovers(directory.path()), [""; 0]);
    server.stop().await;
}

/// What lies beside the records and the lock.
fn leftovers(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory.join("uploads")).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".rec") && name != ".lock").collect()
}

pub(crate) async fn after_a_server_error_an_empty_request_asks_the_handler_again(
    application: &dyn Application,
) {
    let (Started { server, asked }, _directory) = start(application);
    let failed = ask(&server, begin("POST", "/fragile", "?1"), b"hello").await.expect(502);
    assert_eq!(failed.text(), "a bad day\n");
    assert_eq!(failed.header("upload-complete"), Some("?0"));
    assert_eq!(failed.offset(), 5);
    let target = failed.header("location").expect("a Location").to_owned();
    let open = inspect(&server, &target).await;
    assert_eq!((open.offset(), open.header("upload-complete")), (5, Some("?0")));
    let answer = ask(&server, append(&target, 5, "?1"), b"").await.expect(200);
    assert_eq!(answer.text(), "5 bytes at last\n");
    assert_eq!(answer.header("upload-complete"), Some("?1"));
    let events = asked.events.lock().unwrap().clone();
    assert_eq!(events.len(), 2);
    assert!(!events[0].is_empty() && events[0] == events[1], "{events:?}");
    server.stop().await;
}

pub(crate) async fn a_large_answer_reaches_its_client_and_its_head_is_repeated(
    application: &dyn Application,
) {
    let (Started { server, .. }, _directory) = start(application);
    let target = careful(&server, begin("POST", "/large", "?0")).await;
    let answer = ask(&server, append(&target, 0, "?1"), b"x").await.expect(200);
    assert_eq!(answer.body.len(), LARGE);
    let again = ask(&server, append(&target, 1, "?1"), b"").await.expect(200);
    assert_eq!(again.body.len(), 0);
    assert_eq!(again.header("upload-complete"), Some("?1"));
    server.stop().await;
}

pub(crate) async fn a_client_that_leaves_before_the_answer_finds_it_later(
    application: &dyn Application,
) {
    let (Started { server, asked }, _directory) = start(application);
    let target = careful(&server, begin("POST", "/slow", "?0")).await;
    let mut client = server.connect().await;
    client.send_request(&append(&target, 0, "?1").sized(3), b"abc").await;
    let runs = async || (asked.times.load(Ordering::SeqCst) == 1).then_some(());
    eventually("the handler to run", runs).await;
    client.abort();
    let answer = ask(&server, append(&target, 3, "?1"), b"").await.expect(200);
    assert_eq!(answer.text(), "3 bytes, slowly\n");
    assert_eq!(asked.times.load(Ordering::SeqCst), 1, "it was asked again");
    server.stop().await;
}

pub(crate) async fn the_upload_can_be_continued_and_completed_in_tus(
    application: &dyn Application,
) {
    let (Started { server, .. }, _directory) = start(application);
    let head = begin("POST", "/words", "?0").with("Upload-Length", 13);
    let target = careful(&server, head).await;
    ask(&server, append(&target, 0, "?0"), b"one ").await.expect(204);
    let patch = |offset: u64| {
        let head = Head::new("PATCH", &target).with("Upload-Offset", offset);
        head.with("Content-Type", "application/offset+octet-stream")
    };
    ask(&server, patch(4), b"two ").await.expect(204);
    let open = ask(&server, Head::new("HEAD", &target), b"").await.expect(200);
    assert_eq!(open.offset(), 8);
    let answer = ask(&server, patch(8), b"three").await.expect(201);
    assert_eq!(answer.text(), r#"{"bytes":13,"type":null,"words":3}"#);
    assert_eq!(answer.offset(), 13);
    let done = ask(&server, Head::new("HEAD", &target), b"").await.expect(200);
    assert_eq!((done.offset(), done.header("upload-length")), (13, Some("13")));
    server.stop().await;
}

pub(crate) async fn options_tell_the_limits(application: &dyn Application) {
    let (Started { server, .. }, _directory) = start(application);
    let options = ask(&server, Head::plain("OPTIONS", "/words"), b"").await.expect(204);
    assert_eq!(options.header("upload-limit"), Some("max-size=10737418240"));
    let nowhere = ask(&server, Head::plain("OPTIONS", "/nowhere"), b"").await.expect(404);
    assert_eq!(nowhere.header("upload-limit"), None);
    server.stop().await;
}

pub(crate) async fn what_is_answered_leaves_no_bytes_and_is_forgotten(
    application: &dyn Application,
) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut policy = Policy::default();
    policy.remember = Duration::ZERO;
    policy.expiry = Some(Expiry::fixed(Duration::from_secs(3600)));
    let Started { server, .. } = application.start(directory.path(), policy);
    let target = careful(&server, begin("POST", "/words", "?0")).await;
    ask(&server, append(&target, 0, "?1"), b"x").await.expect(201);
    assert_eq!(leftovers(directory.path()), [""; 0]);
    server.tus.sweep().await;
    ask(&server, append(&target, 1, "?1"), b"").await.expect(410);
    server.stop().await;
}

pub(crate) async fn a_handler_that_panics_can_be_asked_again(application: &dyn Application) {
    let (Started { server, asked }, _directory) = start(application);
    let target = careful(&server, begin("POST", "/panicking", "?0")).await;
    let mut client = server.connect().await;
    client.send_request(&append(&target, 0, "?1").sized(3), b"abc").await;
    // A framework may close the connection of a handler that panicked.
    if let Some(failed) = client.answer_or_close().await {
        failed.expect(500);
    }
    let open = inspect(&server, &target).await;
    assert_eq!((open.offset(), open.header("upload-complete")), (3, Some("?0")));
    let answer = ask(&server, append(&target, 3, "?1"), b"").await.expect(200);
    assert_eq!(answer.text(), "3 bytes at last\n");
    assert_eq!(asked.times.load(Ordering::SeqCst), 2);
    server.stop().await;
}

pub(crate) async fn a_restart_in_the_middle_loses_nothing(application: &dyn Application) {
    let directory = tempfile::tempdir().expect("a directory");
    let first = application.start(directory.path(), Policy::default()).server;
    let text = "word ".repeat(1000);
    let head = begin("POST", "/words", "?0").with("Content-Type", "text/plain");
    let target = careful(&first, head).await;
    ask(&first, append(&target, 0, "?0"), &text.as_bytes()[..2000]).await.expect(204);
    first.stop().await;
    let second = application.start(directory.path(), Policy::default()).server;
    let open = inspect(&second, &target).await;
    assert_eq!(open.offset(), 2000);
    let last = ask(&second, append(&target, 2000, "?1"), &text.as_bytes()[2000..]).await;
    assert_eq!(last.expect(201).text(), r#"{"bytes":5000,"type":"text/plain","words":1000}"#);
    second.stop().await;
    // The answer outlives the server, too.
    let third = application.start(directory.path(), Policy::default()).server;
    let again = ask(&third, append(&target, 5000, "?1"), b"").await.expect(201);
    assert_eq!(again.text(), r#"{"bytes":5000,"type":"text/plain","words":1000}"#);
    third.stop().await;
}

pub(crate) async fn a_chunked_body_that_is_cut_completes_nothing(application: &dyn Application) {
    let (Started { server, asked }, _directory) = start(application);
    for by_reset in [false, true] {
        let target = careful(&server, begin("POST", "/fragile", "?0")).await;
        let mut client = server.connect().await;
        client.send_head(&append(&target, 0, "?1").chunked()).await;
        client.send_body(b"one two").await;
        if by_reset {
            client.abort();
        } else {
            client.finish().await;
            client.answer_or_close().await;
        }
        let open = inspect(&server, &target).await;
        assert_eq!(open.header("upload-complete"), Some("?0"));
        // A reset may take away what was on its way.
        assert!(open.offset() == 7 || by_reset, "{}", open.offset());
    }
    assert_eq!(asked.times.load(Ordering::SeqCst), 0);
    server.stop().await;
}

pub(crate) async fn a_refusal_of_who_asks_is_not_the_last_word(application: &dyn Application) {
    let (Started { server, .. }, _directory) = start(application);
    let target = careful(&server, begin("POST", "/guarded", "?0")).await;
    let stranger = ask(&server, append(&target, 0, "?1"), b"hello").await.expect(401);
    assert_eq!(stranger.header("upload-complete"), Some("?0"));
    assert_eq!(stranger.header("www-authenticate"), Some("Basic"));
    let mine = append(&target, 5, "?1").with("Authorization", "mine");
    let answer = ask(&server, mine, b"").await.expect(200);
    assert_eq!(answer.text(), "5 bytes\n");
    server.stop().await;
}

pub(crate) async fn what_is_repeated_has_no_cookies_and_no_inspection_shows_it(
    application: &dyn Application,
) {
    let (Started { server, .. }, _directory) = start(application);
    let head = begin("POST", "/guarded", "?0").with("Authorization", "mine");
    let target = careful(&server, head).await;
    let mine = append(&target, 0, "?1").with("Authorization", "mine");
    let first = ask(&server, mine, b"hello").await.expect(200);
    assert_eq!(first.header("set-cookie"), Some("session=1"));
    let again = ask(&server, append(&target, 5, "?1"), b"").await.expect(200);
    assert_eq!((again.text(), again.header("set-cookie")), ("5 bytes\n", None));
    for head in [Head::new("HEAD", &target), Head::plain("HEAD", &target)] {
        let inspected = ask(&server, head, b"").await;
        assert_eq!(inspected.header("set-cookie"), None);
        assert_eq!(inspected.offset(), 5);
    }
    server.stop().await;
}

pub(crate) async fn conditions_are_those_of_the_first_request(application: &dyn Application) {
    let (Started { server, .. }, _directory) = start(application);
    let head = begin("POST", "/whoami", "?0").with("If-Match", "\"v1\"");
    let target = careful(&server, head).await;
    let last = append(&target, 0, "?1").with("If-Match", "\"v2\"");
    let answer = ask(&server, last, b"").await.expect(200);
    assert_eq!(answer.text(), "- - - \"v1\"\n");
    server.stop().await;
}

pub(crate) async fn what_comes_in_parts_is_never_left_to_a_resource_that_knows_of_one(
    application: &dyn Application,
) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut policy = Policy::default();
    policy.min_size = 100;
    let Started { server, .. } = application.start(directory.path(), policy);
    let small = ask(&server, begin("POST", "/words", "?1"), b"one two").await.expect(201);
    assert_eq!(small.header("upload-complete"), None, "not worth it");
    let head = begin("POST", "/words", "?0").with("Upload-Length", 50);
    let refused = ask(&server, head, b"one").await.expect(400);
    assert_eq!(refused.header("upload-limit"), Some("min-size=100"));
    assert_eq!(refused.header("upload-complete"), Some("?0"));
    let unknown = ask(&server, begin("POST", "/words", "?0"), b"one").await.expect(201);
    assert_eq!(unknown.header("upload-complete"), Some("?0"));
    server.stop().await;
}

pub(crate) async fn what_is_not_ours_is_passed_on(application: &dyn Application) {
    let (Started { server, .. }, directory) = start(application);
    for head in [
        begin("POST", "/words", "?1").with("Tus-Resumable", "1.0.0"),
        begin("POST", "/words", "?1").with("Content-Type", "application/partial-upload"),
    ] {
        let answer = ask(&server, head, b"one").await.expect(201);
        assert_eq!(answer.header("upload-complete"), None);
    }
    assert_eq!(ids(directory.path()), [""; 0]);
    server.stop().await;
}
