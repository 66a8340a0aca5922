//! Servers under attack, and what is seen of them.

use std::{
    io::Write as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tus_tests::{
    gauge,
    process::{Process, connect, head_with, patch, read_answer},
};

use crate::{
    PATIENCE,
    crowd::{Baton, Fared, Kind, gather},
    server,
    speed::{MIB, Normal, create, upload},
    until,
};

/// What the settings say when nobody says anything.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of its speed a normal upload keeps.
pub(crate) const KEEPS: f64 = 0.8;

/// How often each speed is measured at least, and for how long it is measured again on a machine
/// that is busy with other things.
const ROUNDS: usize = 15;
const AGAIN_FOR: Duration = Duration::from_secs(18);

/// What a server may take beyond what it took at first, which is its code: as in `memory`, 24 MiB
/// with its code and 64 KiB for each.
const MOST: u64 = (24 - 7) * MIB;
const MOST_FOR_EACH: u64 = 64 * 1024;

/// A server, one kind of slow clients, and what was seen.
struct Attacked {
    kind: Kind,
    server: Process,
    _directory: tempfile::TempDir,
    /// Of each client's upload, or of the one that all of them read.
    paths: Vec<String>,
    heads: Vec<String>,
    /// How many descriptors were open before they came.
    descriptors: usize,
    /// Resident bytes when it had started, and with all clients there.
    base: u64,
    crowded: u64,
    /// Normal uploads beside them.
    normal: Normal,
}

impl Attacked {
    /// Starts a server with its defaults and makes what the clients will ask for.
    fn new(kind: Kind, clients: usize) -> Self {
        let (directory, server) = server();
        let (addr, base) = (server.addr, gauge::resident(server.id()));
        Normal::default().upload(&server);
        let paths: Vec<String> = match kind {
            Kind::Head => Vec::new(),
            Kind::Body => (0..clients).map(|_| create(addr, MIB)).collect(),
            Kind::Reader => vec![upload(addr, 16).0],
        };
        let heads = match kind {
            Kind::Head => {
                vec!["POST /files HTTP/1.1\r\nHost: test\r\nUpload-Metadata: ".into(); clients]
            }
            Kind::Body => {
                let head = |path: &String| head_with(&patch(path, 0), MIB as usize);
                paths.iter().map(head).collect()
            }
            Kind::Reader => vec![head_with(&format!("GET {} HTTP/1.1", paths[0]), 0); clients],
        };
        let descriptors = lowest_descriptors(&server);
        let normal = Normal::default();
        Self {
            kind,
            server,
            _directory: directory,
            paths,
            heads,
            descriptors,
            base,
            crowded: 0,
            normal,
        }
    }

    /// Whether none of the clients is left.
    fn is_alone(&self) -> bool {
        gauge::descriptors(self.server.id()) <= self.descriptors
    }

    /// Looks whether the clients were treated as they deserve.
    fn judge(&self, fared: &Fared, quiet: &Normal) {
        let clients = &fared.clients;
        let mut lasted: Vec<Duration> = match self.kind {
            Kind::Head => fared.gone.clone(),
            _ => clients.iter().map(|client| client.lasted.expect("it was cut")).collect(),
        };
        assert!(lasted.len() >= clients.len(), "{:?}: only {} are cut", self.kind, lasted.len());
        lasted.sort();
        let (first, last) = (lasted[0], lasted[lasted.len() - 1]);
        let each = self.crowded.saturating_sub(self.base) / clients.len() as u64;
        let peak = gauge::peak(self.server.id());
        println!(
            "slow, {} times {:?}: they last {:.1} to {:.1} s; a normal upload makes {:.0} of {:.0} \
             MiB/s ({:.0} %) and takes {:.0} of {:.0} ms of a processor; {} KiB at first, {} KiB \
             for each of them, {} KiB at most",
            clients.len(),
            self.kind,
            first.as_secs_f64(),
            last.as_secs_f64(),
            self.normal.speed(),
            quiet.speed(),
            100.0 * self.normal.speed() / quiet.speed(),
            1000.0 * self.normal.effort(),
            1000.0 * quiet.effort(),
            self.base / 1024,
            each / 1024,
            peak / 1024,
        );
        let (due, end) = match self.kind {
            Kind::Head => (HEAD_TIMEOUT, HEAD_TIMEOUT + PATIENCE),
            Kind::Body | Kind::Reader => (NETWORK_TIMEOUT, NETWORK_TIMEOUT + PATIENCE),
        };
        // A client's clock starts after its connection was accepted.
        assert!(first > due - Duration::from_secs(5), "one lasted only {first:?}");
        assert!(last < end, "one lasted {last:?}");
        let most = MOST + MOST_FOR_EACH * clients.len() as u64;
        assert!(peak - self.base <= most, "it took {} KiB", peak / 1024);
        if self.kind == Kind::Body {
            self.judge_bytes(fared);
        }
    }

    /// What arrived of each body is there, and its client was told why it ended.
    fn judge_bytes(&self, fared: &Fared) {
        let mut connection = connect(self.server.addr).expect("a connection");
        for (client, path) in fared.clients.iter().zip(&self.paths) {
            let answer = String::from_utf8_lossy(&client.answer);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
            let head =
                format!("HEAD {path} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\n\r\n");
            connection.write_all(head.as_bytes()).expect("a live server");
            let kept = read_answer(&mut connection).expect("an answer").offset();
            let sent = client.sent;
            // A byte or two may have come after the end.
            let late = if answer.contains("body_slow") { 3 } else { 0 };
            assert!((sent.saturating_sub(late)..=sent).contains(&kept), "{kept} of {sent} kept");
            assert!(kept > 0);
        }
    }
}

/// How many descriptors are open when nothing is done.
fn lowest_descriptors(server: &Process) -> usize {
    let (mut lowest, mut seen) = (usize::MAX, Instant::now());
    while seen.elapsed() < Duration::from_millis(300) {
        let now = gauge::descriptors(server.id());
        if now < lowest {
            (lowest, seen) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(10));
    }
    lowest
}

/// Resident bytes once they have stayed the same for a moment: all clients are looked after.
fn settled_memory(server: &Process) -> u64 {
    let (mut most, mut seen, began) = (0, Instant::now(), Instant::now());
    while seen.elapsed() < Duration::from_millis(300) && began.elapsed() < HEAD_TIMEOUT / 2 {
        let now = gauge::resident(server.id());
        if now > most + MIB / 4 {
            (most, seen) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Measures by turns, so that what else the machine does slows all of them alike: a normal upload
/// to a server that nobody attacks, while the crowds are still, and one to each of the others.
/// Gives back the former.
fn measure(quiet: &Process, attacked: &mut [Attacked], baton: &Baton) -> Normal {
    let began = Instant::now();
    let mut normal = Normal::default();
    for round in 0.. {
        let hushed = baton.hush();
        normal.upload(quiet);
        drop(hushed);
        // Nobody is always the first after the silence.
        for place in 0..attacked.len() {
            let attacked = &mut attacked[(place + round) % 3];
            attacked.normal.upload(&attacked.server);
        }
        let enough = round + 1 >= ROUNDS && slowest(&normal, attacked) >= KEEPS;
        if enough || began.elapsed() > AGAIN_FOR {
            break;
        }
    }
    normal
}

/// How much of its speed the slowest normal upload keeps, and how little more of the server's time
/// it takes.
fn slowest(quiet: &Normal, attacked: &[Attacked]) -> f64 {
    let kept = attacked.iter().map(|attacked| {
        let normal = &attacked.normal;
        (normal.speed() / quiet.speed()).min(quiet.effort() / normal.effort())
    });
    kept.fold(f64::INFINITY, f64::min)
}

/// Attacks three servers at the same time, each in its own way; how much of its speed a normal
/// upload keeps.
pub(crate) fn attack(clients: usize) -> f64 {
    let (_directory, quiet) = server();
    Normal::default().upload(&quiet);
    let kinds = [Kind::Head, Kind::Body, Kind::Reader];
    let mut attacked: Vec<Attacked> = kinds.map(|kind| Attacked::new(kind, clients)).into();
    let baton = Baton::default();
    let mut normal = Normal::default();
    let fared: Vec<Fared> = thread::scope(|scope| {
        let until_then = baton.until_dropped();
        let (gathered, all_gathered) = mpsc::channel();
        let crowds: Vec<_> = attacked
            .iter_mut()
            .map(|attacked| {
                let (kind, addr) = (attacked.kind, attacked.server.addr);
                let heads = std::mem::take(&mut attacked.heads);
                let (gathered, baton) = (gathered.clone(), &baton);
                let gathered = move || gathered.send(()).expect("somebody who waits");
                scope.spawn(move || gather(kind, addr, heads, gathered, baton))
            })
            .collect();
        for _ in &crowds {
            all_gathered.recv_timeout(PATIENCE * 2).expect("all connect");
        }
        for attacked in &mut attacked {
            // Those that the system has connected are let in in their turn.
            let enough = || gauge::descriptors(attacked.server.id()) > clients;
            until("all are let in", HEAD_TIMEOUT / 2, enough);
            attacked.crowded = settled_memory(&attacked.server);
        }
        normal = measure(&quiet, &mut attacked, &baton);
        // Heads come again and again; of the others none is left in the end.
        for attacked in &attacked[1..] {
            until("all are cut", NETWORK_TIMEOUT + PATIENCE, || attacked.is_alone());
        }
        // Each client has a turn to notice.
        thread::sleep(Duration::from_secs(2));
        drop(until_then);
        crowds.into_iter().map(|crowd| crowd.join().expect("the crowd")).collect()
    });
    let kept = slowest(&normal, &attacked);
    for (attacked, fared) in attacked.iter().zip(fared) {
        attacked.judge(&fared, &normal);
        drop(fared);
        until("descriptors are back", PATIENCE, || attacked.is_alone());
    }
    kept
}
