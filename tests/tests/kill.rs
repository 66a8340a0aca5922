//! kill -9 while bytes flow: what was told is stored, and every upload arrives whole (P1, P2).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use tus_tests::{
    process::{Process, Random, bytes, exchange, head_with, patch, program},
    scale::{scale, seed},
};

/// How many kills.
fn kills() -> u64 {
    scale("TUS_KILLS", 100, 1000)
}

fn start(program: &Path, directory: &Path) -> Process {
    let arguments = [
        "--port=0".into(),
        format!("--upload-dir={}", directory.join("uploads").display()),
        format!("--destination-dir={}", directory.join("files").display()),
    ];
    Process::start(program, &arguments)
}

/// A client that resumes: it remembers what it was told and checks what it is told next.
struct Upload {
    path: String,
    body: Vec<u8>,
    /// The largest offset that any answer has told.
    told: u64,
    /// The most bytes that can have arrived.
    sent: u64,
}

impl Upload {
    fn create(addr: SocketAddr, name: &str, body: Vec<u8>) -> Self {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let name = STANDARD.encode(name);
        let head = format!(
            "POST /files HTTP/1.1\r\nUpload-Length: {}\r\nUpload-Metadata: filename {name}",
            body.len()
        );
        let created = exchange(addr, &head, b"").expect("a live server");
        assert_eq!(created.status, 201);
        let path = created.header("location").expect("a URL").to_owned();
        Self { path, body, told: 0, sent: 0 }
    }

    /// Asks how far it is, and holds the server to what it has told before.
    fn inspect(&mut self, addr: SocketAddr) {
        let head = format!("HEAD {} HTTP/1.1", self.path);
        let answer = exchange(addr, &head, b"").expect("a live server");
        assert_eq!(answer.status, 200, "{answer:?}");
        self.hear(answer.offset());
    }

    fn hear(&mut self, offset: u64) {
        assert!(offset >= self.told, "told {} before, now {offset}", self.told);
        assert!(offset <= self.sent, "told {offset}, but only {} were sent", self.sent);
        self.told = offset;
    }

    fn is_whole(&self) -> bool {
        self.told == self.body.len() as u64
    }

    /// Sends the next piece while the server is killed after a moment; `None` if the answer was
    /// lost.
    fn patch_and_kill(&mut self, server: Process, piece: usize, delay: Duration) -> Option<()> {
        let addr = server.addr;
        let start = self.told as usize;
        let end = (start + piece).min(self.body.len());
        let body = &self.body[start..end];
        let sent = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut stream = TcpStream::connect(addr).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
                let head = head_with(&patch(&self.path, self.told), body.len());
                stream.write_all(head.as_bytes()).ok()?;
                // In pieces, so that the kill falls between some of them.
                for piece in body.chunks(48 * 1024) {
                    stream.write_all(piece).ok()?;
                }
                tus_tests::process::read_answer(&mut stream).ok()
            });
            thread::sleep(delay);
            server.kill();
            client.join().expect("the client")
        });
        self.sent = self.sent.max(end as u64);
        let answer = sent?;
        assert_eq!(answer.status, 204, "{answer:?}");
        self.hear(answer.offset());
        Some(())
    }
}

#[test]
fn no_told_byte_is_lost_by_a_kill_while_bytes_flow() {
    let mut random = Random(seed());
    let program = program("tus-server");
    let directory = tempfile::tempdir().expect("a directory");
    let (mut whole, mut lost_answers, mut kept) = (BTreeMap::new(), 0, 0);
    let mut current: Option<(String, Upload, usize)> = None;
    for kill in 0..kills() {
        let server = start(&program, directory.path());
        let (name, mut upload, piece) = current.take().unwrap_or_else(|| {
            let name = format!("upload-{kill}.bin");
            let body = bytes(random.draw(), 1 + random.below(24 << 20) as usize);
            let piece = [usize::MAX / 2, 512 * 1024, 64 * 1024][random.below(3) as usize];
            (name.clone(), Upload::create(server.addr, &name, body), piece)
        });
        upload.inspect(server.addr);
        let before = upload.told;
        // Some pieces in peace, so that small ones get ahead; then one under fire.
        for _ in 0..random.below(20) {
            let end = (upload.told as usize).saturating_add(piece).min(upload.body.len());
            if piece > upload.body.len() || end == upload.body.len() {
                break;
            }
            let body = &upload.body[upload.told as usize..end];
            let answer = exchange(server.addr, &patch(&upload.path, upload.told), body);
            upload.sent = end as u64;
            upload.hear(answer.expect("a live server").offset());
        }
        // About as long as such a piece takes, so that many kills fall between its first byte and
        // its answer.
        let longest = [(64 * 1024, 3_000), (512 * 1024, 8_000)];
        let longest = longest.iter().find(|(length, _)| piece <= *length).map_or(60_000, |l| l.1);
        let delay = Duration::from_micros(random.below(longest));
        if upload.patch_and_kill(server, piece, delay).is_none() {
            lost_answers += 1;
        }
        // What the next server tells is checked by `inspect` at the top of the loop.
        if upload.told > before {
            kept += 1;
        }
        if upload.is_whole() {
            whole.insert(name, upload.body);
        } else {
            current = Some((name, upload, piece));
        }
    }
    // Whatever is open is brought to its end in peace.
    let server = start(&program, directory.path());
    if let Some((name, mut upload, _)) = current {
        upload.inspect(server.addr);
        if !upload.is_whole() {
            let rest = &upload.body[upload.told as usize..];
            let answer = exchange(server.addr, &patch(&upload.path, upload.told), rest);
            upload.sent = upload.body.len() as u64;
            upload.hear(answer.expect("a live server").offset());
        }
        assert!(upload.is_whole());
        whole.insert(name, upload.body);
    }
    drop(server);
    println!(
        "{} kills, {} uploads whole, {lost_answers} answers lost, {kept} rounds moved on",
        kills(),
        whole.len()
    );
    assert!(lost_answers > 0, "no kill came while bytes flowed: this tested nothing");
    for (name, body) in &whole {
        let stored = fs::read(directory.path().join("files").join(name)).expect(name);
        assert!(stored == *body, "{name} differs from what was sent");
    }
}
