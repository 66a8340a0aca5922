//! How a server comes to its end while a request is under way.

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::{Answer, Process, Random, exchange};

/// What kills the server.
pub(crate) enum Killer {
    /// The test does, at a random moment of the time that the request takes.
    Clock(Aim),
    /// The server does so itself, at this operation on its disk.
    Disk(At),
}

/// Which operation it dies at, counted from the request on.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) nth: u64,
    /// `before` it, `after` it, or `within` it (a write that is torn).
    pub(crate) manner: &'static str,
    /// If the request needed fewer operations: how many, and how many that can be torn.
    pub(crate) outlived: Option<(u64, u64)>,
}

/// Learns how long a request takes, and spreads the kills over that time.
pub(crate) struct Aim {
    random: Random,
    /// About how long it takes; unknown until it has been measured.
    typical: Option<Duration>,
    pub(crate) kills: u64,
    pub(crate) in_flight: u64,
}

impl Aim {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, typical: None, kills: 0, in_flight: 0 }
    }

    /// When the next kill comes, counted from the request on.
    fn moment(&mut self) -> Duration {
        // The first one comes as soon as the answer is heard, and measures.
        let Some(typical) = self.typical else { return Duration::from_secs(60) };
        typical.mul_f64(self.random.below(1_000) as f64 / 1_000.0)
    }

    /// Learns from an answer that came after so long, or that was not there by then.
    pub(crate) fn learn(&mut self, after: Duration, answered: bool) {
        self.typical = Some(match self.typical {
            Some(typical) if !answered && after < typical.mul_f64(0.9) => typical,
            Some(typical) if !answered => typical.mul_f64(1.2),
            _ => after,
        });
    }
}

/// Sends requests to a server that is killed meanwhile; `None` if the answer was lost.
pub(crate) fn strike(
    killer: &mut Killer,
    server: Process,
    request: impl FnOnce(SocketAddr) -> io::Result<Answer> + Send,
) -> Option<Answer> {
    match killer {
        Killer::Clock(aim) => by_clock(aim, server, request),
        Killer::Disk(at) => by_disk(at, server, request),
    }
}

fn by_clock(
    aim: &mut Aim,
    server: Process,
    request: impl FnOnce(SocketAddr) -> io::Result<Answer> + Send,
) -> Option<Answer> {
    let (addr, moment) = (server.addr, aim.moment());
    let (tell, told) = mpsc::channel();
    let heard = thread::scope(|scope| {
        let begun = Instant::now();
        let client = scope.spawn(move || {
            let heard = request(addr);
            // Whoever kills has perhaps stopped waiting for it.
            let _ = tell.send(begun.elapsed());
            heard
        });
        match told.recv_timeout(moment) {
            Ok(took) => aim.learn(took, true),
            Err(_) => aim.learn(moment, false),
        }
        server.kill();
        client.join().expect("the client").ok()
    });
    aim.kills += 1;
    aim.in_flight += u64::from(heard.is_none());
    heard
}

fn by_disk(
    at: &mut At,
    server: Process,
    request: impl FnOnce(SocketAddr) -> io::Result<Answer>,
) -> Option<Answer> {
    let arm = format!("POST /arm/{}/{} HTTP/1.1", at.manner, at.nth);
    assert_eq!(exchange(server.addr, &arm, b"").expect("a live server").status, 200);
    let heard = request(server.addr).ok();
    // It can have answered and died after that.
    let disarmed = heard.as_ref().map(|_| exchange(server.addr, "POST /disarm HTTP/1.1", b""));
    match disarmed {
        Some(Ok(answer)) => {
            let count = |name| answer.header(name).expect(name).parse().expect("a number");
            at.outlived = Some((count("x-operations"), count("x-divisible")));
            server.kill();
        }
        _ => {
            let end = server.wait();
            assert_eq!(end.signal(), Some(9), "it did not end by its own hand");
        }
    }
    heard
}
