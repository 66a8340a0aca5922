//! `tus-server` tells its clients where their upload is and how far it has come, while they send:
//! seen by curl and node, over HTTP/1.1 and HTTP/2, in clear text and over TLS.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[allow(dead_code, reason = "what other tests need of it")]
#[path = "tls/home.rs"]
mod home;

use std::{fs, process::Command, time::Duration};

use home::Home;

/// After this long something is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent, in a little over three seconds: the server tells every second.
const LENGTH: usize = 1_000_000;
const RATE: usize = 300_000;

/// Whether a client is there; says so if not.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("NOT RUN: {program} is not installed; install {program}");
    }
    there
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("a client");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{program} {arguments:?}: {text:?}");
    text.concat()
}

/// Checks the heads that a client tells, each line after `< `: the URL, growing offsets, and an
/// answer.
fn check(what: &str, text: &str) {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("< "));
    let lines: Vec<_> = lines.map(|line| line.trim().to_ascii_lowercase()).collect();
    let answer = lines.iter().rposition(|line| line.starts_with("http/")).expect("an answer");
    let (before, answer) = lines.split_at(answer);
    assert!(answer[0].contains(" 20"), "{what}: {lines:#?}");
    let value = |line: &'_ String, name: &str| line.strip_prefix(name).map(str::to_owned);
    let statuses = before.iter().filter(|line| line.starts_with("http/"));
    let (resumption, other): (Vec<_>, Vec<_>) = statuses.partition(|line| line.contains(" 104"));
    assert!(other.iter().all(|line| line.contains(" 100")), "{what}: {lines:#?}");
    assert!(resumption.len() >= 3, "{what}: {lines:#?}");
    let urls: Vec<_> = before.iter().filter_map(|line| value(line, "location: ")).collect();
    assert_eq!(urls.len(), 1, "{what}: {lines:#?}");
    assert!(answer.contains(&format!("location: {}", urls[0])), "{what}: {lines:#?}");
    let place = |prefix: &str| before.iter().position(|line| line.starts_with(prefix));
    assert!(place("location: ") < place("upload-offset: "), "{what}: {lines:#?}");
    let offsets = before.iter().filter_map(|line| value(line, "upload-offset: "));
    let offsets: Vec<usize> = offsets.map(|offset| offset.parse().unwrap()).collect();
    assert!(offsets.len() >= 2 && offsets.is_sorted_by(|a, b| a < b), "{what}: {lines:#?}");
    assert!(offsets.iter().all(|offset| (1..=LENGTH).contains(offset)), "{what}: {lines:#?}");
    println!("{what}: {} interim responses, offsets {offsets:?}", resumption.len());
}

/// A file to send.
fn payload() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), vec![7; LENGTH]).expect("bytes");
    file
}

#[test]
fn curl_hears_where_its_upload_is_and_how_far_it_has_come() {
    if !is_there("curl") {
        return;
    }
    let file = payload();
    let data = format!("@{}", file.path().display());
    let rate = RATE.to_string();
    for (scheme, version) in [
        ("http", "--http1.1"),
        ("http", "--http2-prior-knowledge"),
        ("https", "--http1.1"),
        ("https", "--http2"),
    ] {
        let home = Home::new();
        let server = if scheme == "https" { home.start() } else { home.start_clear() };
        let url = format!("{scheme}://{}/files/", server.addr);
        let text = run(
            "curl",
            &[
                "-skv",
                "-m",
                "60",
                version,
                "--limit-rate",
                &rate,
                "-H",
                "Upload-Complete: ?1",
                "-H",
                "Upload-Draft-Interop-Version: 8",
                "--data-binary",
                &data,
                &url,
            ],
        );
        let spoken = if version == "--http1.1" { "< HTTP/1.1 104" } else { "< HTTP/2 104" };
        assert!(text.contains(spoken), "{text}");
        check(&format!("curl {scheme} {version}"), &text);
        assert_eq!(home.finished(), [vec![7; LENGTH]]);
    }
}

#[test]
fn node_hears_where_its_upload_is_and_how_far_it_has_come() {
    const SCRIPT: &str = r#"
        const [version, url, length, rate] = process.argv.slice(1);
        process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
        const tell = (status, headers) => {
            console.log('< HTTP/x ' + status);
            for (const [name, value] of Object.entries(headers))
                if (!name.startsWith(':')) console.log('< ' + name + ': ' + value);
        };
        const headers = { 'upload-complete': '?1', 'upload-draft-interop-version': '8' };
        const { origin, pathname } = new URL(url);
        let request;
        if (version === '2') {
            const session = require('http2').connect(origin);
            request = session.request({ ':method': 'POST', ':path': pathname, ...headers });
            request.on('headers', headers => tell(headers[':status'], headers));
            request.on('response', headers => tell(headers[':status'], headers));
            request.on('end', () => session.close());
            request.resume();
        } else {
            const http = require(origin.startsWith('https') ? 'https' : 'http');
            const options = { method: 'POST', headers, agent: false };
            request = http.request(url, options, answer => {
                tell(answer.statusCode, answer.headers);
                answer.resume();
            });
            request.on('information', info => tell(info.statusCode, info.headers));
        }
        let left = Number(length);
        const send = () => {
            const piece = Math.min(left, Number(rate) / 10);
            request.write(Buffer.alloc(piece, 7));
            left -= piece;
            left ? setTimeout(send, 100) : request.end();
        };
        send();
    "#;
    if !is_there("node") {
        return;
    }
    let (length, rate) = (LENGTH.to_string(), RATE.to_string());
    for (scheme, version) in [("http", "1"), ("http", "2"), ("https", "1"), ("https", "2")] {
        let home = Home::new();
        let server = if scheme == "https" { home.start() } else { home.start_clear() };
        let url = format!("{scheme}://{}/files/", server.addr);
        let arguments =
            ["60", "node", "--no-warnings", "-e", SCRIPT, version, &url, &length, &rate];
        check(&format!("node {scheme} {version}"), &run("timeout", &arguments));
        assert_eq!(home.finished(), [vec![7; LENGTH]]);
    }
}
