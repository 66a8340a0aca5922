//! One normal client, whose speed is compared.

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tus_tests::{
    gauge,
    process::{Process, connect, exchange, head_with, patch, read_answer},
};

pub(crate) const MIB: u64 = 1 << 20;

/// The size of a normal upload.
const NORMAL: u64 = 64;

/// Creates an upload; where it is.
pub(crate) fn create(addr: SocketAddr, length: u64) -> String {
    let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {length}");
    let created = exchange(addr, &head, b"").expect("a live server");
    assert_eq!(created.status, 201, "{created:?}");
    created.header("location").expect("a URL").to_owned()
}

/// Uploads so many MiB in one request; where they are, and how long it took.
pub(crate) fn upload(addr: SocketAddr, mib: u64) -> (String, Duration) {
    let path = create(addr, mib * MIB);
    let piece = vec![0x5a; MIB as usize];
    let began = Instant::now();
    let mut stream = connect(addr).expect("a connection");
    let head = head_with(&patch(&path, 0), (mib * MIB) as usize);
    stream.write_all(head.as_bytes()).expect("a head");
    for _ in 0..mib {
        stream.write_all(&piece).expect("a piece of the body");
    }
    let answer = read_answer(&mut stream).expect("an answer");
    let took = began.elapsed();
    assert_eq!((answer.status, answer.offset()), (204, mib * MIB), "{answer:?}");
    (path, took)
}

/// What normal uploads to one server took.
#[derive(Debug, Default)]
pub(crate) struct Normal {
    /// Seconds until the answer was there.
    seconds: Vec<f64>,
    /// Seconds of a processor that the server took meanwhile.
    efforts: Vec<f64>,
}

impl Normal {
    /// Makes one more, and deletes it.
    pub(crate) fn upload(&mut self, server: &Process) {
        let before = gauge::processor_time(server.id());
        let (path, took) = upload(server.addr, NORMAL);
        let effort = gauge::processor_time(server.id()) - before;
        self.seconds.push(took.as_secs_f64());
        self.efforts.push(effort.as_secs_f64());
        let deleted = exchange(server.addr, &format!("DELETE {path} HTTP/1.1"), b"");
        assert_eq!(deleted.expect("a live server").status, 204);
    }

    /// MiB a second when the machine does little else: that of the fastest third.
    pub(crate) fn speed(&self) -> f64 {
        NORMAL as f64 / mean_of_least(&self.seconds, 3)
    }

    /// Seconds of a processor for each of them. The system counts by hundredths, and counts what
    /// cold caches cost on a busy machine too: those of the better half.
    pub(crate) fn effort(&self) -> f64 {
        mean_of_least(&self.efforts, 2)
    }
}

/// The mean of the lowest half, third, and so on.
fn mean_of_least(numbers: &[f64], of: usize) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers.truncate(numbers.len().div_ceil(of));
    numbers.iter().sum::<f64>() / numbers.len() as f64
}
