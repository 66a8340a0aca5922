//! The README's commands do what it says.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{fs, path::Path, process::Command};

use tus_tests::process::{Process, program};

#[test]
fn the_curl_quick_start_uploads_a_file() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let section = readme.split("## With curl").nth(1).expect("the section");
    let script = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    let script = script.expect("its commands");
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = [
        "--port=0".into(),
        format!("--upload-dir={}", directory.path().join("uploads").display()),
        format!("--destination-dir={}", directory.path().join("files").display()),
    ];
    let server = Process::start(&program("tus-server"), &arguments);
    let script = script.replace("127.0.0.1:1080", &server.addr.to_string());
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output();
    let output = output.expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello world");
    let stored = fs::read(directory.path().join("files/hello.txt")).expect("the file");
    assert_eq!(stored, b"hello world");
}
