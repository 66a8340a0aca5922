//! A disk that is full, of bytes or of files: every offset told is true, what frees room works,
//! and whatever did not fit goes on once there is room (P2, P6).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "full_disk/crowd.rs"]
mod crowd;
#[path = "full_disk/disk.rs"]
mod disk;
#[path = "full_disk/reserve.rs"]
mod reserve;

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use crowd::{Client, PATIENCE, State, Way, all};
use disk::{Disk, where_disks_can_be_mounted};
use tus_tests::{
    process::{Process, Random, bytes, exchange, program},
    scale::seed,
};

const UPLOADS: u64 = 20;
/// The first upload has one unit, the second two, and so on.
const UNIT: u64 = 192 * 1024;
/// What all of them declare, which is three times the room that there is at first.
const DECLARED: u64 = UNIT * UPLOADS * (UPLOADS + 1) / 2;
/// What an upload takes beside its bytes: its record, its sync points, a name or two.
const OVERHEAD: u64 = UPLOADS * 32 * 1024;

/// A note of where it goes, its name there, and the next version of its record.
const FILES_OF_A_FINISH: u64 = 3;

const DURABILITIES: [&str; 2] = ["power", "process"];

fn start(disk: &Disk, arguments: &[&str]) -> Process {
    let mut all = vec![
        "--port=0".to_owned(),
        format!("--upload-dir={}", disk.path().join("uploads").display()),
        format!("--destination-dir={}", disk.path().join("files").display()),
    ];
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Process::start(&program("tus-server"), &all)
}

fn clients(random: &mut Random, length: impl Fn(u64) -> u64) -> Vec<Client> {
    let ways = [Way::Whole, Way::Chunked, Way::Pieces];
    let client = |number: u64| {
        let body = bytes(random.draw(), usize::try_from(length(number)).expect("a length"));
        let way = ways[usize::try_from(number).expect("a number") % ways.len()];
        Client::new(format!("upload-{number}.bin"), body, way)
    };
    (1..=UPLOADS).map(client).collect()
}

fn count(clients: &[Client], state: State) -> usize {
    clients.iter().filter(|client| client.state == state).count()
}

/// Asks for every upload, of which there must be as much as is told; how many bytes are kept.
fn inspect(clients: &mut [Client], addr: SocketAddr, disk: &Disk) -> u64 {
    let made = clients.iter_mut().filter(|client| client.path.is_some());
    let kept = made.map(|client| match client.inspect(addr, disk.path()) {
        answer if answer.status == 200 => answer.offset(),
        _ => client.length(),
    });
    kept.sum()
}

/// Ends the largest upload that was stopped; returns it.
fn end_one(clients: &mut Vec<Client>, addr: SocketAddr, disk: &Disk) -> Client {
    let stopped = clients.iter().rposition(|client| client.state == State::Stopped);
    let ended = clients.remove(stopped.expect("one that was stopped"));
    let path = ended.path.as_ref().expect("an upload");
    let answer = exchange(addr, &format!("DELETE {path} HTTP/1.1"), b"").expect("an answer");
    assert_eq!(answer.status, 204, "{answer:?}");
    let answer = exchange(addr, &format!("HEAD {path} HTTP/1.1"), b"").expect("an answer");
    assert!(matches!(answer.status, 404 | 410), "{answer:?}");
    let placed = disk.path().join("files").join(&ended.name);
    assert!(!placed.exists(), "{} was ended and is there as if it were finished", ended.name);
    ended
}

/// Now that there is room, brings every upload to its end, the largest last.
fn finish_all(clients: &mut [Client], addr: SocketAddr, disk: &Disk) {
    for client in clients {
        client.resume(addr, disk.path());
        client.verify(disk.path());
    }
}

#[test]
fn a_disk_that_fills_up_tells_true_offsets_and_takes_the_rest_once_there_is_room() {
    let test = "a_disk_that_fills_up_tells_true_offsets_and_takes_the_rest_once_there_is_room";
    where_disks_can_be_mounted(test, || {
        let mut random = Random(seed());
        DURABILITIES.into_iter().for_each(|durability| fills_up(&mut random, durability));
    });
}

fn fills_up(random: &mut Random, durability: &str) {
    // In the end every upload fits, but no second copy of a large one.
    let disk = Disk::new(DECLARED + OVERHEAD, 0);
    let ballast = disk.occupy("ballast", DECLARED + OVERHEAD - DECLARED / 3);
    let server = start(&disk, &["--durability", durability]);
    let (addr, directory) = (server.addr, disk.path());
    let mut clients = clients(random, |number| number * UNIT);
    let begun = Instant::now();
    all(&mut clients, |client| client.create(addr));
    for _ in 0..UPLOADS {
        all(&mut clients, |client| client.step(addr, usize::try_from(UNIT).expect("a unit")));
    }
    let (finished, stopped) = (count(&clients, State::Finished), count(&clients, State::Stopped));
    assert!(finished >= 1 && stopped >= 1, "{finished} finished, {stopped} were stopped");
    assert_eq!(finished + stopped, clients.len());

    let rest = disk.fill("rest");
    let before = inspect(&mut clients, addr, &disk);
    let most = DECLARED / 3;
    assert!(before >= most - OVERHEAD, "only {before} bytes of {most} are kept");
    let ended = end_one(&mut clients, addr, &disk);
    let freed = disk.free();
    assert!(freed > 0, "the end of an upload freed nothing");
    // The room goes to whoever comes next.
    let next = clients.iter_mut().rfind(|client| client.state == State::Stopped);
    next.expect("one that was stopped").resume(addr, directory);
    let after = inspect(&mut clients, addr, &disk) + ended.told();
    assert!(after > before, "nothing went into the {freed} bytes that were freed");

    fs::remove_file(ballast).expect("the ballast");
    fs::remove_file(rest).expect("the rest");
    finish_all(&mut clients, addr, &disk);
    let left = disk.free() - ended.length();
    println!(
        "full disk, {durability}: {finished} of {UPLOADS} finished, {stopped} were stopped, \
         one was ended, which freed {freed} bytes, the others finished; {left} bytes left of \
         {OVERHEAD}, {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_disk_out_of_files_tells_true_offsets_and_takes_the_rest_once_there_are_some() {
    let test = "a_disk_out_of_files_tells_true_offsets_and_takes_the_rest_once_there_are_some";
    where_disks_can_be_mounted(test, || {
        let mut random = Random(seed());
        DURABILITIES.into_iter().for_each(|durability| runs_out_of_files(&mut random, durability));
    });
}

fn runs_out_of_files(random: &mut Random, durability: &str) {
    // Bytes and record of each, and sync points.
    let each = if durability == "power" { 3 } else { 2 };
    let disk = Disk::new(DECLARED, 1000);
    let server = start(&disk, &["--durability", durability]);
    let (addr, directory) = (server.addr, disk.path());
    let ballast = disk.occupy_files("ballast", UPLOADS * each / 3);
    let mut clients = clients(random, |number| number * 4096);
    let begun = Instant::now();
    all(&mut clients, |client| client.create(addr));
    let refused = count(&clients, State::Outside);
    let admitted = clients.len() - refused;
    assert!(refused >= 1 && admitted >= 1, "{refused} were refused, {admitted} admitted");
    // Whoever was refused has left nothing.
    let names = fs::read_dir(directory.join("uploads")).expect("uploads").count() - 1;
    assert_eq!(names as u64, admitted as u64 * each, "{admitted} uploads are there");

    all(&mut clients, |client| client.step(addr, usize::MAX));
    let at_once = count(&clients, State::Finished);
    let rest = disk.occupy_files("rest", 0);
    inspect(&mut clients, addr, &disk);
    if count(&clients, State::Stopped) > 0 {
        while disk.free_files() < FILES_OF_A_FINISH {
            let before = disk.free_files();
            end_one(&mut clients, addr, &disk);
            assert!(disk.free_files() >= before + each, "the end of an upload frees its files");
        }
        // And one more is finished in their place.
        let next = clients.iter_mut().find(|client| client.state == State::Stopped);
        next.expect("one that was stopped").resume(addr, directory);
        assert_eq!(count(&clients, State::Finished), at_once + 1);
    }
    for file in rest.iter().chain(&ballast) {
        fs::remove_file(file).expect("the ballast");
    }
    finish_all(&mut clients, addr, &disk);
    println!(
        "out of files, {durability}: {refused} of {UPLOADS} refused, {at_once} of the others \
         finished at once, the rest once there were files, {:?}",
        begun.elapsed()
    );
}

/// Found by the test above: the place of such an upload is known to no record.
#[test]
fn what_was_placed_and_could_not_be_recorded_goes_with_its_upload() {
    let test = "what_was_placed_and_could_not_be_recorded_goes_with_its_upload";
    where_disks_can_be_mounted(test, || {
        let disk = Disk::new(DECLARED, 1000);
        let server = start(&disk, &[]);
        let mut client = Client::new("upload.bin".to_owned(), bytes(1, 4096), Way::Whole);
        client.create(server.addr);
        disk.occupy_files("ballast", FILES_OF_A_FINISH - 1);
        client.step(server.addr, usize::MAX);
        assert_eq!(client.state, State::Stopped);
        let placed = disk.path().join("files/upload.bin");
        assert!(placed.exists(), "it was not placed: this tests nothing");
        end_one(&mut vec![client], server.addr, &disk);
    });
}

#[test]
fn what_expires_on_a_full_disk_makes_room() {
    let test = "what_expires_on_a_full_disk_makes_room";
    where_disks_can_be_mounted(test, || {
        let mut random = Random(seed());
        for durability in DURABILITIES {
            expires(&mut random, durability);
        }
    });
}

fn expires(random: &mut Random, durability: &str) {
    const ROOM: u64 = 4 << 20;
    let disk = Disk::new(ROOM, 0);
    // Both are to begin though neither fits.
    let arguments = ["--durability", durability, "--expire-after=2s", "--disk-reserve=none"];
    let server = start(&disk, &arguments);
    let addr = server.addr;
    let create = |length: u64, body: &[u8]| {
        let head = format!(
            "POST /files HTTP/1.1\r\nUpload-Length: {length}\r\n\
             Content-Type: application/offset+octet-stream"
        );
        exchange(addr, &head, body).expect("an answer")
    };
    let length = usize::try_from(ROOM * 3 / 4).expect("a length");
    let body = bytes(random.draw(), length);
    let first = create(ROOM * 3, &body);
    assert_eq!((first.status, first.offset()), (201, body.len() as u64));
    let second = create(ROOM * 3, &body);
    assert!(second.status == 507 || second.offset() < body.len() as u64, "{second:?}");
    let rest = disk.fill("rest");
    let begun = Instant::now();
    while disk.free() < body.len() as u64 {
        assert!(begun.elapsed() < PATIENCE, "nothing expired, {} bytes are free", disk.free());
        thread::sleep(Duration::from_millis(50));
    }
    let waited = begun.elapsed();
    let path = first.header("location").expect("a URL");
    let gone = exchange(addr, &format!("HEAD {path} HTTP/1.1"), b"").expect("an answer");
    assert!(matches!(gone.status, 404 | 410), "{gone:?}");
    fs::remove_file(rest).expect("the rest");
    let third = create(body.len() as u64, &body);
    assert_eq!((third.status, third.offset()), (201, body.len() as u64));
    println!("expiry on a full disk, {durability}: room again after {waited:?}");
}
