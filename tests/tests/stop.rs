//! SIGTERM while bytes flow: what arrived is kept, the server ends, and the upload goes on later.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{
    io::Write as _,
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::{Process, bytes, exchange, head_with, patch, program, read_answer};

/// Starts a server on a directory, with its uploads at `/files`.
type Start = fn(&Path) -> Process;

fn tus_server(directory: &Path) -> Process {
    let arguments = [
        "--port=0".into(),
        format!("--upload-dir={}", directory.join("uploads").display()),
        format!("--destination-dir={}", directory.join("files").display()),
    ];
    Process::start(&program("tus-server"), &arguments)
}

fn axum(directory: &Path) -> Process {
    let directory = directory.display().to_string();
    Process::start(&program("example-axum"), &["127.0.0.1:0", &directory])
}

fn actix(directory: &Path) -> Process {
    let directory = directory.display().to_string();
    Process::start(&program("example-actix"), &["127.0.0.1:0", &directory])
}

/// Waits until a server has stored something of an upload, seen from outside: in its directory.
fn wait_for_bytes(directory: &Path, length: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let entries = std::fs::read_dir(directory.join("uploads")).expect("uploads");
        let stored = entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|m| m.len());
        if stored.max().unwrap_or(0) >= length {
            return;
        }
        assert!(Instant::now() < deadline, "the bytes were not stored");
        thread::sleep(Duration::from_millis(2));
    }
}

fn a_stop_in_mid_body_keeps_what_arrived(start: Start) {
    let directory = tempfile::tempdir().expect("a directory");
    let body = bytes(7, 6 << 20);
    let half = body.len() / 2;
    let server = start(directory.path());
    let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {}", body.len());
    let created = exchange(server.addr, &head, b"").expect("a live server");
    let path = created.header("location").expect("a URL").to_owned();

    let mut stream = TcpStream::connect(server.addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = head_with(&patch(&path, 0), body.len());
    stream.write_all(head.as_bytes()).expect("the head");
    stream.write_all(&body[..half]).expect("half of the body");
    // A store may gather up to a MiB before it writes; the rest is still on its way.
    wait_for_bytes(directory.path(), (half - (1 << 20)) as u64);
    let client = thread::spawn(move || read_answer(&mut stream));
    let status = server.terminate();
    assert!(status.success(), "{status}");
    // The client hears that it is to come back, if its connection lives long enough.
    if let Ok(answer) = client.join().expect("the client") {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
    }

    let server = start(directory.path());
    let answer = exchange(server.addr, &format!("HEAD {path} HTTP/1.1"), b"").expect("an answer");
    assert_eq!((answer.status, answer.offset()), (200, half as u64));
    let answer = exchange(server.addr, &patch(&path, half as u64), &body[half..]);
    assert_eq!(answer.expect("an answer").offset(), body.len() as u64);
    assert!(server.terminate().success());
    let files = std::fs::read_dir(directory.path().join("files")).expect("files");
    let stored: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(stored == [body], "the file differs from what was sent");
}

#[test]
fn tus_server_keeps_what_arrived_when_it_is_stopped() {
    a_stop_in_mid_body_keeps_what_arrived(tus_server);
}

#[test]
fn the_axum_example_keeps_what_arrived_when_it_is_stopped() {
    a_stop_in_mid_body_keeps_what_arrived(axum);
}

#[test]
fn the_actix_example_keeps_what_arrived_when_it_is_stopped() {
    a_stop_in_mid_body_keeps_what_arrived(actix);
}

/// The last byte is on its way and the answer is not: the commit is let go through, and told.
fn a_stop_in_mid_commit_is_answered_first(start: Start) {
    let directory = tempfile::tempdir().expect("a directory");
    let body = bytes(11, 32 << 20);
    let server = start(directory.path());
    let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {}", body.len());
    let created = exchange(server.addr, &head, b"").expect("a live server");
    let path = created.header("location").expect("a URL").to_owned();
    let mut stream = TcpStream::connect(server.addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let head = head_with(&patch(&path, 0), body.len());
    stream.write_all(head.as_bytes()).expect("the head");
    stream.write_all(&body).expect("the body");
    let client = thread::spawn(move || read_answer(&mut stream));
    assert!(server.terminate().success());
    let answer = client.join().expect("the client").expect("an answer");
    assert_eq!((answer.status, answer.offset()), (204, body.len() as u64));
    let files = std::fs::read_dir(directory.path().join("files")).expect("files");
    let stored: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(stored == [body], "the file differs from what was sent");
}

#[test]
fn tus_server_answers_what_it_commits_before_it_stops() {
    a_stop_in_mid_commit_is_answered_first(tus_server);
}

#[test]
fn the_axum_example_answers_what_it_commits_before_it_stops() {
    a_stop_in_mid_commit_is_answered_first(axum);
}

#[test]
fn the_actix_example_answers_what_it_commits_before_it_stops() {
    a_stop_in_mid_commit_is_answered_first(actix);
}

/// Runs tus-server with arguments that it cannot start with; what it says, on one line.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(program("tus-server")).args(arguments).output().expect("tus-server");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "it listened before it looked: {output:?}");
    said
}

#[test]
fn what_cannot_work_is_one_clear_line_and_exit_code_2() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let upload_dir = format!("--upload-dir={}", file.display());
    let table: [(&[&str], &str); 4] = [
        (&["--max-size=10XB"], "10XB"),
        (&["--cors-allow-credentials"], "cors-allow-origin"),
        (&[&upload_dir, "--port=0"], "upload-dir"),
        (&["--no-such-flag"], "no-such-flag"),
    ];
    for (arguments, named) in table {
        let said = refused(arguments);
        assert!(said.starts_with("tus-server: ") && said.contains(named), "{said}");
    }
}

#[test]
fn a_second_server_on_one_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = tus_server(directory.path());
    let uploads = format!("--upload-dir={}", directory.path().join("uploads").display());
    let files = format!("--destination-dir={}", directory.path().join("files").display());
    let said = refused(&["--port=0", &uploads, &files]);
    assert!(said.contains("wait-for-dir"), "{said}");
    // One that is told to wait takes over once the first has stopped.
    let second = thread::spawn({
        let directory = directory.path().to_owned();
        move || {
            let arguments = [
                "--port=0".into(),
                "--wait-for-dir=60s".into(),
                format!("--upload-dir={}", directory.join("uploads").display()),
                format!("--destination-dir={}", directory.join("files").display()),
            ];
            Process::start(&program("tus-server"), &arguments)
        }
    });
    assert!(first.terminate().success());
    let second = second.join().expect("the second");
    let answer = exchange(second.addr, "OPTIONS /files HTTP/1.1", b"").expect("an answer");
    assert_eq!(answer.status, 204);
}
