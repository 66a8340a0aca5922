//! What a server does with fewer descriptors than it would like.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tus_tests::{
    gauge,
    process::{Answer, Process, connect, program, read_answer},
};

use crate::{PATIENCE, alone, arguments, directory, server, speed::upload, until};

/// Asks on a connection that stays open.
fn ask(addr: SocketAddr, path: &str) -> (TcpStream, Answer) {
    let mut stream = connect(addr).expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a head");
    let answer = read_answer(&mut stream).expect("an answer");
    (stream, answer)
}

#[test]
fn a_server_with_few_descriptors_lets_fewer_connections_in_and_says_so() {
    let _alone = alone();
    let directory = directory();
    let log = directory.path().join("log");
    let mut shell: Vec<String> = vec![
        "-c".into(),
        format!("ulimit -n 400 && exec \"$0\" \"$@\" 2>'{}'", log.display()),
        program("tus-server").display().to_string(),
    ];
    shell.extend(arguments(directory.path()));
    let server = Process::start(Path::new("/bin/sh"), &shell);
    let mut kept = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        let (stream, answer) = ask(server.addr, "/readyz");
        match answer.status {
            200 => kept.push(stream),
            503 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                assert_eq!(answer.header("connection"), Some("close"));
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    println!("slow, 400 open files: {} connections are let in, {refused} refused", kept.len());
    assert!(kept.len() > 20 && refused > 0);
    // A crowd is no reason to take the process for dead.
    assert_eq!(ask(server.addr, "/healthz").1.status, 200);
    // An upload goes on beside them, with all the files that it takes.
    drop(kept.split_off(kept.len() - 2));
    until("there is room", PATIENCE, || ask(server.addr, "/readyz").1.status == 200);
    upload(server.addr, 1);
    let log = fs::read_to_string(log).expect("its log");
    let lines = log.lines().filter(|line| line.contains("limit of open files")).count();
    assert_eq!(lines, 1, "{log}");
    assert!(log.contains("asked=10000") && log.contains("refusing connections"), "{log}");
}

#[test]
fn a_server_that_cannot_accept_waits_and_accepts_when_it_can() {
    let _alone = alone();
    let (_directory, server) = server();
    let process = Pid::from_raw(i32::try_from(server.id()).expect("a process")).expect("one");
    let open: Vec<u64> = fs::read_dir(format!("/proc/{}/fd", server.id()))
        .expect("its descriptors")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..).find(|number| !open.contains(number)).expect("a number");
    // What it was, the soft limit having been raised to the hard one.
    let before = prlimit(
        Some(process),
        Resource::Nofile,
        Rlimit { current: Some(free), maximum: getrlimit(Resource::Nofile).maximum },
    )
    .expect("a lower limit");
    let mut stream = connect(server.addr).expect("the kernel connects it");
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n").expect("a head");
    let began = gauge::processor_time(server.id());
    thread::sleep(Duration::from_secs(2));
    let took = gauge::processor_time(server.id()) - began;
    println!("slow, two seconds in which nothing can be accepted take {took:?} of a processor");
    assert!(took < Duration::from_millis(200), "{took:?}");
    stream.set_nonblocking(true).expect("a socket that does not block");
    let answer = stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(answer, Err(ErrorKind::WouldBlock), "it was accepted after all");
    stream.set_nonblocking(false).expect("a socket that blocks");
    prlimit(Some(process), Resource::Nofile, before).expect("the limit that it had");
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
}
