//! What a client says in confidence is neither logged nor kept, and what we know of ourselves is
//! not told, whatever the log level.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use tus_tests::process::program;

/// Stands in every header that may hold a credential, and in the query.
const SECRET: &str = "s3cr3t-0f-ann";

const CREDENTIALS: &str = "Authorization: Bearer s3cr3t-0f-ann\r\n\
     Cookie: session=s3cr3t-0f-ann\r\n\
     Proxy-Authorization: Basic s3cr3t-0f-ann\r\n\
     X-Api-Key: s3cr3t-0f-ann\r\n";

/// Sends a request on a connection of its own, and reads everything that comes back.
fn ask(addr: SocketAddr, line: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("a live server");
    let head = format!(
        "{line} HTTP/1.1\r\nHost: test\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\
         Content-Length: {}\r\n{CREDENTIALS}{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a live server");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer that is text");
    answer
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn credentials_reach_neither_logs_nor_records_and_paths_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut server = Command::new(program("tus-server"))
        .args(["--port=0", "--log-level=trace", "--disable-download=false"])
        .arg(format!("--upload-dir={}", directory.path().join("uploads").display()))
        .arg(format!("--destination-dir={}", directory.path().join("files").display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = server.stderr.take().unwrap();
    let log = thread::spawn(move || {
        let mut log = Vec::new();
        stderr.read_to_end(&mut log).map(|_| log)
    });
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let addr = lines.by_ref().find_map(|line| {
        line.unwrap().split_once("http://")?.1.split('/').next()?.parse::<SocketAddr>().ok()
    });
    let addr = addr.expect("where it listens");
    thread::spawn(move || lines.for_each(drop));

    let query = format!("?token={SECRET}");
    let created = ask(
        addr,
        &format!("POST /files/{query}"),
        "Upload-Length: 10\r\nUpload-Metadata: a Yg==\r\n",
        "",
    );
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let location = created.lines().find_map(|line| {
        line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location"))
    });
    let url = location.expect("a URL").1.trim().to_owned();
    let media = "Content-Type: application/offset+octet-stream\r\n";
    let mut answers = vec![created];
    for (line, headers, body) in [
        (format!("HEAD {url}{query}"), String::new(), ""),
        (format!("PATCH {url}"), format!("Upload-Offset: 0\r\n{media}"), "12345"),
        (format!("PATCH {url}"), format!("Upload-Offset: 0\r\n{media}"), "again"),
        (format!("PATCH {url}"), format!("Upload-Offset: 5\r\n{media}"), "67890"),
        (format!("GET {url}{query}"), String::new(), ""),
        (format!("DELETE {url}"), String::new(), ""),
        (format!("HEAD {url}"), String::new(), ""),
        ("PATCH /files/..%2f..%2fetc".to_owned(), format!("Upload-Offset: 0\r\n{media}"), "x"),
        ("BREW /files/".to_owned(), String::new(), ""),
    ] {
        answers.push(ask(addr, &line, &headers, body));
    }
    // A record that cannot be read is the server's failure, and none of the client's business.
    let created = ask(addr, "POST /files/", "Upload-Length: 10\r\n", "");
    let records = || {
        let all = files(directory.path()).into_iter();
        all.filter(|path| path.extension().is_some_and(|end| end == "rec")).collect::<Vec<_>>()
    };
    let [damaged] = &records()[..] else { panic!("{:?}", records()) };
    fs::write(damaged, "nonsense").unwrap();
    let id = damaged.file_stem().unwrap().to_str().unwrap();
    let failed =
        ask(addr, &format!("PATCH /files/{id}"), &format!("Upload-Offset: 0\r\n{media}"), "x");
    assert!(failed.starts_with("HTTP/1.1 500"), "{failed}");
    assert!(failed.contains("\r\n\r\ninternal: "), "{failed}");
    answers.extend([created, failed.clone()]);

    // While it still runs: nothing that it wrote holds what it was told in confidence.
    for path in files(directory.path()) {
        let bytes = fs::read(&path).unwrap();
        assert!(!contains(&bytes, SECRET), "{} holds a credential", path.display());
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let log = log.join().unwrap().unwrap();
    let text = String::from_utf8_lossy(&log);
    let leak = text.lines().find(|line| line.contains(SECRET));
    assert!(leak.is_none(), "a credential is logged: {leak:?}");

    // What failed can be found in the log by the id that its client was told.
    let named = failed.lines().find_map(|line| line.strip_prefix("request: ")).expect("an id");
    let said = text.lines().filter(|line| line.contains(named)).collect::<Vec<_>>();
    assert!(said.iter().any(|line| line.contains("ERROR") && line.contains(id)), "{said:?}");
    for answer in answers {
        let inside = [place.as_str(), ".rec", ".bin", "upload:", "checksum does not match"];
        let told = inside.iter().find(|text| answer.contains(**text));
        assert!(told.is_none(), "{told:?} is told: {answer}");
        assert!(!answer.contains(SECRET), "{answer}");
    }
}
