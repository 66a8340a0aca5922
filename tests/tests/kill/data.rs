//! Kills while bytes flow, with ten thousand other uploads on the disk.

use std::{
    collections::BTreeMap,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tus_tests::process::{
    Answer, Process, Random, bytes, connect, download, exchange, head_with, patch, read_answer,
};

use crate::{
    others::{OTHERS, Others},
    site::{LEVELS, Site, Which},
    upload::{Role, Upload},
};

/// How many bytes one PATCH brings: all that are left, or so many.
const PIECES: [usize; 3] = [usize::MAX, 512 << 10, 64 << 10];

const LARGEST: u64 = 64 << 20;

/// The kills at one level, with one size of PATCH: one upload after the other.
struct Lane {
    level: usize,
    piece: usize,
    current: Option<(Source, Upload)>,
    /// About how long it takes from the last byte to the answer.
    tail: Duration,
}

/// Where the bytes of an upload come from, so that they need not be kept.
#[derive(Clone, Copy)]
struct Source {
    seed: u64,
    length: usize,
}

/// Both servers' directories, and what came of the kills.
struct Flow {
    sites: [Site; 2],
    /// In the first of the two.
    others: Others,
    random: Random,
    /// What arrived, by level and name.
    arrived: BTreeMap<(usize, String), Source>,
    /// From the start of a server beside the others to its first answer.
    ready: Vec<Duration>,
    in_flight: u64,
    lost: u64,
    kept: u64,
}

/// Kills the servers so many times.
pub(crate) fn flowing(kills: u64, random: Random) {
    let sites = LEVELS.map(|level| Site::new(Which::TusServer, level));
    let others = Others::new(&sites[0]);
    let arrived = BTreeMap::new();
    let (ready, in_flight, lost, kept) = (Vec::new(), 0, 0, 0);
    let mut flow = Flow { sites, others, random, arrived, ready, in_flight, lost, kept };
    let lanes = PIECES.iter().flat_map(|piece| [(0, *piece), (1, *piece)]);
    let tail = Duration::from_millis(2);
    let mut lanes: Vec<_> =
        lanes.map(|(level, piece)| Lane { level, piece, current: None, tail }).collect();
    for kill in 0..kills as usize {
        let turn = kill % lanes.len();
        flow.round(&mut lanes[turn]);
    }
    for lane in &mut lanes {
        flow.finish(lane);
    }
    flow.check(kills);
}

impl Flow {
    /// One server, from its start to its end by SIGKILL.
    fn round(&mut self, lane: &mut Lane) {
        let server = self.resume(lane);
        if lane.current.is_none() {
            let length = size(&mut self.random);
            let source = Source { seed: self.random.draw(), length };
            lane.current = Some((source, create(&server, source)));
        }
        let Some((_, upload)) = &mut lane.current else { return };
        // Far uploads are not walked through in small steps only.
        if (upload.length() - upload.told) / 100 > lane.piece as u64 {
            let skip = self.random.below(upload.length() - upload.told) as usize;
            send(&server, upload, skip);
        }
        for _ in 0..self.random.below(6) {
            if upload.length() - upload.told <= lane.piece as u64 {
                break;
            }
            send(&server, upload, lane.piece);
        }
        self.strike(server, lane);
    }

    /// Starts a server, and asks it for the upload that was being sent.
    fn resume(&mut self, lane: &mut Lane) -> Process {
        let site = &self.sites[lane.level];
        let begun = Instant::now();
        let server = site.start(&[]);
        let Some((source, mut upload)) = lane.current.take() else { return server };
        let told = upload.told;
        let answer = inspect(&server, &upload);
        if lane.level == 0 {
            self.ready.push(begun.elapsed());
        }
        upload.hear(answer.offset());
        self.kept += u64::from(upload.told > told);
        if upload.told == upload.length() {
            self.arrive(lane.level, &server, source, &upload);
            return server;
        }
        let stored = site.bytes_of(upload.id()).expect("the bytes of an upload");
        let told = upload.told as usize;
        assert!(stored.len() >= told, "{} bytes, {told} told", stored.len());
        assert!(stored[..told] == upload.body[..told], "other bytes than were sent");
        lane.current = Some((source, upload));
        server
    }

    /// Sends the next piece to a server that is killed in the midst of it.
    fn strike(&mut self, server: Process, lane: &mut Lane) {
        let Some((_, upload)) = &mut lane.current else { return };
        let start = upload.told as usize;
        let end = start.saturating_add(lane.piece).min(upload.body.len());
        let body = &upload.body[start..end];
        let mut stream = connect(server.addr).expect("a live server");
        let head = head_with(&patch(&upload.path, upload.told), body.len());
        stream.write_all(head.as_bytes()).expect("a live server");
        // Either some of the bytes are on their way, or the answer to all of them is.
        let tail = self.random.below(2) == 0 || body.is_empty();
        let most = if tail { lane.tail.mul_f64(1.1) } else { Duration::from_millis(3) };
        let moment = most.mul_f64(self.random.below(1_000) as f64 / 1_000.0);
        let sent =
            if tail { body.len() } else { 1 + self.random.below(body.len() as u64) as usize };
        stream.write_all(&body[..sent]).expect("a live server");
        thread::sleep(moment);
        server.kill();
        // What the server said before it died has perhaps arrived.
        let answer = read_answer(&mut stream).ok();
        upload.sent = upload.sent.max((start + sent) as u64);
        self.lost += u64::from(answer.is_none());
        self.in_flight += u64::from(answer.is_none() && sent > 0);
        match answer {
            Some(answer) => {
                assert_eq!(answer.status, 204, "{answer:?}");
                upload.hear(answer.offset());
                assert_eq!(upload.told, end as u64);
                lane.tail = lane.tail.mul_f64(0.9);
            }
            None if tail && moment > lane.tail.mul_f64(0.8) => lane.tail = lane.tail.mul_f64(1.2),
            None => {}
        }
    }

    /// Brings the last upload of a lane to its end in peace.
    fn finish(&mut self, lane: &mut Lane) {
        let server = self.resume(lane);
        let Some((source, mut upload)) = lane.current.take() else { return };
        send(&server, &mut upload, usize::MAX);
        assert_eq!(upload.told, upload.length());
        self.arrive(lane.level, &server, source, &upload);
    }

    /// Reads back what is whole.
    fn arrive(&mut self, level: usize, server: &Process, source: Source, upload: &Upload) {
        let (answer, body) = download(server.addr, &upload.path).expect("a live server");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(body == upload.body, "other bytes than were sent");
        let name = source.name();
        assert!(self.arrived.insert((level, name), source).is_none(), "the same upload twice");
    }

    /// Looks at everything again, and says how it went.
    fn check(mut self, kills: u64) {
        let mut bytes = 0;
        for (level, site) in self.sites.iter().enumerate() {
            let mut files: BTreeMap<_, _> = site.placed().into_iter().collect();
            for ((_, name), source) in self.arrived.iter().filter(|(at, _)| at.0 == level) {
                let file = files.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
                assert!(file == source.bytes(), "{name} has other bytes than were sent");
                bytes += source.length as u64;
            }
            let names: Vec<_> = files.keys().collect();
            assert!(names.is_empty(), "who sent {names:?}?");
            // A record each, and nothing but that of what is whole.
            let mut left = site.names();
            if level == 0 {
                self.others.check(&site.start(&[]), &mut left);
            }
            let records = self.arrived.keys().filter(|(at, _)| *at == level).count();
            assert!(left.len() == records && left.iter().all(|l| l.1 == "rec"), "{left:?}");
        }
        self.ready.sort();
        let (starts, millis) = (self.ready.len(), |at: &Duration| at.as_millis());
        let (median, most) = (millis(&self.ready[starts / 2]), millis(&self.ready[starts - 1]));
        let p99 = self.ready[starts * 99 / 100];
        println!(
            "kill -9 while bytes flow: {kills} kills, {} between the first byte and the answer \
             (answers lost: {}; rounds that moved on: {}), {} uploads whole ({} MiB); \
             nothing lost, corrupt or stuck; {starts} starts with {OTHERS} uploads on the disk, ready \
             after {median} ms (median), {} ms (p99), {most} ms (at most)",
            self.in_flight,
            self.lost,
            self.kept,
            self.arrived.len(),
            bytes >> 20,
            millis(&p99),
        );
        assert!(self.in_flight >= kills / 2, "too few kills came while bytes flowed");
        assert!(p99 < Duration::from_secs(5), "ready again after {p99:?}");
    }
}

impl Source {
    fn bytes(self) -> Vec<u8> {
        bytes(self.seed, self.length)
    }

    fn name(self) -> String {
        format!("{:016x}.bin", self.seed)
    }
}

/// From nothing to 64 MiB, as many small ones as large ones.
fn size(random: &mut Random) -> usize {
    let length = match random.below(24) {
        0 => 0,
        1 => LARGEST,
        _ => {
            let order = 1 << random.below(26);
            order + random.below(order)
        }
    };
    length as usize
}

fn create(server: &Process, source: Source) -> Upload {
    let (length, name) = (source.length, STANDARD.encode(source.name()));
    let head = format!(
        "POST /files HTTP/1.1\r\nUpload-Length: {length}\r\nUpload-Metadata: filename {name}"
    );
    let created = exchange(server.addr, &head, b"").expect("a live server");
    assert_eq!(created.status, 201, "{created:?}");
    Upload::new(created.header("location").expect("a URL"), source.bytes(), Role::Single)
}

/// Sends at most so many bytes in peace.
fn send(server: &Process, upload: &mut Upload, most: usize) {
    let start = upload.told as usize;
    let end = start.saturating_add(most).min(upload.body.len());
    let head = patch(&upload.path, upload.told);
    let answer = exchange(server.addr, &head, &upload.body[start..end]).expect("a live server");
    assert_eq!(answer.status, 204, "{answer:?}");
    upload.sent = end as u64;
    upload.hear(answer.offset());
    assert_eq!(upload.told, end as u64);
}

/// Asks for an upload, and again as long as its finish is not settled.
fn inspect(server: &Process, upload: &Upload) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let head = format!("HEAD {} HTTP/1.1", upload.path);
        let answer = exchange(server.addr, &head, b"").expect("a live server");
        if answer.status == 200 {
            return answer;
        }
        assert!(matches!(answer.status, 423 | 503), "{answer:?}");
        assert!(Instant::now() < deadline, "stuck: {answer:?}");
    }
}
