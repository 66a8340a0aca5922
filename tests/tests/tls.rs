//! The server over TLS, as a process of its own: uploads that arrive and uploads that are cut, a
//! certificate that is replaced under way, and what a connection costs.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "tls/home.rs"]
mod home;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use home::{Home, Tls};
use tus_tests::{
    gauge,
    process::{Answer, Process, bytes, connect, head_with, patch, program, read_answer},
};

const KIB: u64 = 1024;

/// After this long something is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of a record of TLS.
const RECORD: usize = 16 * 1024;

/// One exchange on a connection of its own.
fn exchange(home: &Home, server: &Process, head: &str, body: &[u8]) -> Answer {
    let mut stream = home.connect(server.addr).expect("a connection");
    stream.write_all(head_with(head, body.len()).as_bytes()).expect("the head");
    stream.write_all(body).expect("the body");
    read_answer(&mut stream).expect("an answer")
}

/// Creates an upload; its path.
fn create(home: &Home, server: &Process, length: usize) -> String {
    let head = format!("POST /files/ HTTP/1.1\r\nUpload-Length: {length}");
    let created = exchange(home, server, &head, b"");
    assert_eq!(created.status, 201, "{created:?}");
    created.header("location").expect("a URL").to_owned()
}

#[test]
fn an_upload_arrives_whole() {
    let home = Home::new();
    let server = home.start();
    let body = bytes(3, 5 << 20);
    let path = create(&home, &server, body.len());
    // Whoever came over TLS goes on over TLS.
    assert!(path.starts_with("/files/"), "{path}");
    let answer = exchange(&home, &server, &patch(&path, 0), &body);
    assert_eq!((answer.status, answer.offset()), (204, body.len() as u64));
    assert!(server.terminate().success());
    assert!(home.finished() == [body], "the file differs from what was sent");
}

/// How a connection can end in the midst of a body.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The end is said in TLS.
    Said,
    /// It is not.
    Unsaid,
    /// In the midst of a record.
    Torn,
    /// The connection is reset, with bytes still on their way.
    Reset,
}

impl Cut {
    /// Ends the connection, of whose body there would be more.
    fn end(self, stream: &mut Tls, more: &[u8]) {
        match self {
            Self::Said => {
                stream.conn.send_close_notify();
                stream.flush().expect("the end");
            }
            Self::Unsaid => {}
            Self::Torn => {
                stream.conn.writer().write_all(&more[..RECORD]).expect("a record");
                let mut encrypted = Vec::new();
                while stream.conn.wants_write() {
                    stream.conn.write_tls(&mut encrypted).expect("memory");
                }
                stream.sock.write_all(&encrypted[..encrypted.len() - 1]).expect("most of it");
            }
            Self::Reset => {
                // What is unread at the end makes it a reset.
                let mut byte = [0];
                assert_eq!(stream.sock.peek(&mut byte).expect("what was not read"), 1);
                return;
            }
        }
        stream.sock.shutdown(Shutdown::Write).expect("the end");
    }
}

#[test]
fn a_cut_upload_keeps_what_arrived_and_goes_on() {
    let home = Home::new();
    let server = home.start();
    let mut sent = Vec::new();
    for (seed, cut) in [(5, Cut::Said), (6, Cut::Unsaid), (7, Cut::Torn), (8, Cut::Reset)] {
        let body = bytes(seed, 6 << 20);
        let half = body.len() / 2;
        let path = create(&home, &server, body.len());
        let mut stream = home.connect(server.addr).expect("a connection");
        let head = head_with(&patch(&path, 0), body.len());
        stream.write_all(head.as_bytes()).expect("the head");
        stream.write_all(&body[..half]).expect("half of the body");
        let stored = match cut {
            // A store may gather up to a MiB before it writes.
            Cut::Reset => {
                let stored = home.stored_once(&path, (half - (1 << 20)) as u64);
                cut.end(&mut stream, &body[half..]);
                drop(stream);
                stored
            }
            _ => {
                cut.end(&mut stream, &body[half..]);
                // All of it, and nobody asked for it.
                assert_eq!(home.stored_once(&path, half as u64), half as u64, "{cut:?}");
                half as u64
            }
        };
        let offset = exchange(&home, &server, &format!("HEAD {path} HTTP/1.1"), b"").offset();
        assert!((stored..=half as u64).contains(&offset), "{cut:?}: {offset} of {stored}");
        let rest = &body[usize::try_from(offset).expect("an offset")..];
        let answer = exchange(&home, &server, &patch(&path, offset), rest);
        assert_eq!((answer.status, answer.offset()), (204, body.len() as u64), "{cut:?}");
        sent.push(body);
    }
    assert!(server.terminate().success());
    sent.sort();
    assert!(home.finished() == sent, "the files differ from what was sent");
}

#[test]
fn a_hangup_replaces_the_certificate_and_drops_nothing() {
    let home = Home::new();
    let server = home.start();
    let body = bytes(9, 1 << 20);
    let half = body.len() / 2;
    let path = create(&home, &server, body.len());
    let mut under_way = home.connect(server.addr).expect("a connection");
    let head = head_with(&patch(&path, 0), body.len());
    under_way.write_all(head.as_bytes()).expect("the head");
    under_way.write_all(&body[..half]).expect("half of the body");

    let first = home.shown(&server);
    home.renew();
    assert_eq!(home.shown(&server), first, "nobody said so");
    server.signal("HUP");
    let second = home.shown_once(&server, |shown| *shown != first);
    assert_eq!(second, home.certificate(), "it shows the one that is there");

    // One that cannot be used is named, and changes nothing.
    fs::write(home.key_file(), "no key").expect("a file");
    server.signal("HUP");
    let line = home.log_line("certificate stays");
    let named = home.key_file().display().to_string();
    assert!(line.contains("ERROR") && line.contains(&named), "{line}");
    assert!(line.contains("holds no private key"), "{line}");
    assert_eq!(home.shown(&server), second);

    // And the next good one is taken again.
    home.renew();
    server.signal("HUP");
    home.shown_once(&server, |shown| *shown != second);

    under_way.write_all(&body[half..]).expect("the rest");
    let answer = read_answer(&mut under_way).expect("an answer");
    assert_eq!((answer.status, answer.offset()), (204, body.len() as u64));
    assert!(server.terminate().success());
    assert!(home.finished() == [body], "the file differs from what was sent");
}

/// Runs tus-server with arguments that it cannot start with; what it says, on one line.
fn refused(home: &Home, arguments: &[String]) -> String {
    let mut command = Command::new(program("tus-server"));
    let output = command.args(home.directories()).args(arguments).output().expect("tus-server");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "it listened before it looked: {output:?}");
    said
}

#[test]
fn a_certificate_that_cannot_work_is_refused_at_the_start_in_one_line() {
    let home = Home::new();
    let other = Home::new();
    let certificate = format!("--tls-cert={}", home.certificate_file().display());
    let key = format!("--tls-key={}", home.key_file().display());
    let of_another = format!("--tls-key={}", other.key_file().display());
    let missing = "--tls-cert=/no/such/file.pem".to_owned();
    let socket = "--unix-sock=/no/such/socket".to_owned();
    let swapped = format!("--tls-cert={}", home.key_file().display());
    let rows = [
        (vec![certificate.clone()], "--tls-cert", "name its --tls-key"),
        (vec![key.clone()], "--tls-key", "name its --tls-cert"),
        (vec![missing, key.clone()], "--tls-cert", "cannot be read"),
        (vec![swapped, key.clone()], "--tls-cert", "holds no certificate"),
        (vec![certificate.clone(), of_another], "--tls-key", "is not the key of"),
        (vec![certificate, key, socket], "--unix-sock", "TLS is for TCP"),
    ];
    for (arguments, setting, reason) in rows {
        let said = refused(&home, &arguments);
        assert!(said.starts_with("tus-server: --tls-"), "{said}");
        assert!(said.contains(setting) && said.contains(reason), "{said}");
    }
}

/// What an idle connection may take; the aim is less than half of that.
const IDLE: u64 = 64 * KIB;

#[test]
fn an_idle_connection_takes_little_memory() {
    let in_clear = cost(&|home| home.start_clear(), &|_, addr| connect(addr));
    let over_tls = cost(&|home| home.start(), &|home, addr| home.connect(addr));
    println!("tls, an idle connection: {over_tls} bytes, and {in_clear} in clear text");
    assert!(over_tls <= IDLE, "an idle connection takes {} KiB", over_tls / KIB);
}

/// What an idle connection costs a server after a request.
fn cost<S: io::Read + io::Write>(
    start: &dyn Fn(&Home) -> Process,
    connect: &dyn Fn(&Home, SocketAddr) -> io::Result<S>,
) -> u64 {
    const CONNECTIONS: u64 = 500;
    let home = Home::new();
    let server = start(&home);
    let ask = || {
        let mut stream = connect(&home, server.addr).expect("a connection");
        let request = "GET /healthz HTTP/1.1\r\nHost: tus\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
        stream.read_exact(&mut [0; 3]).expect("its body");
        stream
    };
    // What is made once for all is made.
    drop(ask());
    let base = gauge::resident(server.id());
    let idle: Vec<_> = (0..CONNECTIONS).map(|_| ask()).collect();
    let grown = gauge::resident(server.id()).saturating_sub(base);
    drop(idle);
    grown / CONNECTIONS
}

/// One that speaks clear text to it, or nothing, costs the others nothing.
#[test]
fn clear_text_is_turned_away_and_others_are_served() {
    let home = Home::new();
    let server = home.start();
    let silent: Vec<_> =
        (0..50).map(|_| TcpStream::connect(server.addr).expect("a connection")).collect();
    for _ in 0..3 {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(server.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: tus\r\n\r\n").expect("a request");
        let mut read = Vec::new();
        // Closed, or reset: there is no answer to it.
        let _end = stream.read_to_end(&mut read);
        assert!(!read.starts_with(b"HTTP"), "{read:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(exchange(&home, &server, "GET /healthz HTTP/1.1", b"").status, 200);
        thread::yield_now();
    }
    drop(silent);
    assert!(server.terminate().success());
}
