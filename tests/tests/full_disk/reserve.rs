//! Uploads that would not leave the reserve are refused before there is anything of them.

use std::{fs, net::SocketAddr};

use tus_tests::process::{Answer, Process, bytes, exchange, patch, program};

use super::{
    disk::{Disk, where_disks_can_be_mounted},
    start,
};

const MIB: u64 = 1 << 20;

fn post(addr: SocketAddr, fields: &str) -> Answer {
    exchange(addr, &format!("POST /files HTTP/1.1\r\n{fields}"), b"").expect("an answer")
}

fn of_length(addr: SocketAddr, length: u64) -> Answer {
    post(addr, &format!("Upload-Length: {length}"))
}

fn made(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("location").expect("a URL").to_owned()
}

fn send(addr: SocketAddr, path: &str, at: u64, mebibytes: u64) -> Answer {
    let body = bytes(mebibytes, usize::try_from(mebibytes * MIB).expect("bytes in memory"));
    exchange(addr, &patch(path, at), &body).expect("an answer")
}

fn files(disk: &Disk) -> usize {
    fs::read_dir(disk.path().join("uploads")).expect("uploads").count()
}

#[test]
fn an_upload_that_would_not_leave_the_reserve_is_answered_507() {
    let test = "reserve::an_upload_that_would_not_leave_the_reserve_is_answered_507";
    where_disks_can_be_mounted(test, || {
        let disk = Disk::new(16 * MIB, 0);
        let server = start(&disk, &["--disk-reserve=4MiB"]);
        let addr = server.addr;
        let before = files(&disk);
        let deferred = "Upload-Defer-Length: 1";
        let with_upload = "Content-Type: application/offset+octet-stream";

        // Never a byte of what cannot come to its end.
        assert_eq!(of_length(addr, 13 * MIB).status, 507);
        let head = format!("POST /files HTTP/1.1\r\nUpload-Length: {}\r\n{with_upload}", 13 * MIB);
        assert_eq!(exchange(addr, &head, &bytes(1, 1000)).expect("an answer").status, 507);
        assert_eq!(files(&disk), before);

        // Once in the upload directory, and no second time for the finished file.
        let first = made(&of_length(addr, 11 * MIB));
        let second = made(&post(addr, deferred));
        assert_eq!(send(addr, &first, 0, 11).status, 204);
        assert_eq!(fs::read_dir(disk.path().join("files")).expect("files").count(), 1);

        // What exists may use the reserve up, and nothing new comes then.
        assert_eq!(send(addr, &second, 0, 2).status, 204);
        let used_up = files(&disk);
        for fields in ["Upload-Length: 0", "Upload-Length: 1", deferred] {
            let answer = post(addr, fields);
            assert_eq!(answer.status, 507, "{fields}: {answer:?}");
        }
        assert_eq!(files(&disk), used_up);
        let last = patch(&second, 2 * MIB);
        let last = format!("{last}\r\nUpload-Length: {}", 3 * MIB);
        let answer = exchange(addr, &last, &bytes(2, 1 << 20)).expect("an answer");
        assert_eq!((answer.status, answer.offset()), (204, 3 * MIB));

        // What is ended makes room.
        let answer = exchange(addr, &format!("DELETE {first} HTTP/1.1"), b"").expect("an answer");
        assert_eq!(answer.status, 204);
        made(&of_length(addr, 8 * MIB));
    });
}

#[test]
fn a_concatenation_is_refused_as_the_upload_that_it_is() {
    let test = "reserve::a_concatenation_is_refused_as_the_upload_that_it_is";
    where_disks_can_be_mounted(test, || {
        let disk = Disk::new(16 * MIB, 0);
        let server = start(&disk, &["--disk-reserve=10%"]);
        let addr = server.addr;
        let parts = [5, 2].map(|mebibytes| {
            let fields = format!("Upload-Concat: partial\r\nUpload-Length: {}", mebibytes * MIB);
            let part = made(&post(addr, &fields));
            assert_eq!(send(addr, &part, 0, mebibytes).status, 204);
            part
        });
        let [large, small] = &parts;
        let before = files(&disk);
        // Beside the parts there are 9 MiB: enough for 8, but not to leave the reserve as well.
        let answer = post(addr, &format!("Upload-Concat: final;{small} {small} {small} {small}"));
        assert_eq!(answer.status, 507, "{answer:?}");
        assert_eq!(files(&disk), before);
        made(&post(addr, &format!("Upload-Concat: final;{large} {small}")));
    });
}

#[test]
fn an_upload_that_is_placed_by_a_copy_needs_room_there_too() {
    let test = "reserve::an_upload_that_is_placed_by_a_copy_needs_room_there_too";
    where_disks_can_be_mounted(test, || {
        let (large, small) = (Disk::new(32 * MIB, 0), Disk::new(8 * MIB, 0));
        let arguments = [
            "--port=0".to_owned(),
            format!("--upload-dir={}", large.path().join("uploads").display()),
            format!("--destination-dir={}", small.path().join("files").display()),
            "--disk-reserve=2MiB".to_owned(),
        ];
        let server = Process::start(&program("tus-server"), &arguments);
        let addr = server.addr;
        assert_eq!(of_length(addr, 7 * MIB).status, 507);
        let path = made(&of_length(addr, 5 * MIB));
        assert_eq!(send(addr, &path, 0, 5).status, 204);
        assert!(small.free() <= 3 * MIB, "it was not placed there");
        assert_eq!(of_length(addr, 2 * MIB).status, 507);
        // A part is never placed.
        made(&post(addr, &format!("Upload-Concat: partial\r\nUpload-Length: {}", 20 * MIB)));
    });
}
