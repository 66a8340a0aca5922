//! What is left after a storm: on the disk, and of what the server took of the machine.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tus_testkit::Upload;
use tus_tests::{gauge, process::Process};

use super::storm::{Case, Kind, Leave};

/// Longer than any connection lingers and any idle thread is kept.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server takes that must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
}

impl Taken {
    pub(crate) fn by(server: &Process) -> Self {
        let id = server.id();
        Self { descriptors: gauge::descriptors(id), threads: gauge::threads(id) }
    }
}

/// Waits until a server does nothing more; what it takes then.
pub(crate) async fn at_rest(server: &Process) -> Taken {
    let mut last = Taken::by(server);
    let mut same = 0;
    while same < 10 {
        sleep(Duration::from_millis(50)).await;
        let now = Taken::by(server);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Waits until something is back at what it was; how long that took.
pub(crate) async fn settles<T: PartialOrd + fmt::Debug>(base: T, now: impl Fn() -> T) -> Duration {
    let begun = Instant::now();
    loop {
        let found = now();
        if found <= base {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?} are left, {base:?} were there before");
        sleep(Duration::from_millis(50)).await;
    }
}

/// What became of the uploads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kept: u64,
    pub(crate) complete: u64,
    pub(crate) resumed: u64,
    pub(crate) nothing: u64,
    /// Bytes that were sent before a FIN and are not kept.
    pub(crate) lost: u64,
}

/// Holds everything on the disk to what was cut: nothing but uploads, each as far as is told, and
/// as far as it must be. Some are brought to their end.
pub(crate) async fn check(
    addr: SocketAddr,
    directory: &Path,
    cases: &[Case],
    server: Kind,
) -> Tally {
    let mut found: Vec<_> = cases.iter().map(|_| None).collect();
    for entry in fs::read_dir(directory.join("uploads")).expect("uploads") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let Some((id, suffix)) = name.split_once('.') else { panic!("{name} is left") };
        match suffix {
            "lock" => {}
            "rec" => {
                let upload = Upload { addr, path: format!("/files/{id}") };
                let told = upload.head().await.expect(200);
                let length = told.header("upload-length").expect("a length");
                let number = Case::number(length.parse().expect("a number"));
                let index = usize::try_from(number).expect("an index");
                assert!(found[index].is_none(), "two uploads of case {number}");
                found[index] = Some((upload, told.offset()));
            }
            "bin" | "slot" => {
                let record = directory.join("uploads").join(format!("{id}.rec"));
                assert!(record.exists(), "{name} is left, and no record of it");
            }
            _ => panic!("{name} is left"),
        }
    }
    let mut tally = Tally::default();
    for (number, (case, found)) in cases.iter().zip(found).enumerate() {
        judge(directory, number as u64, case, found, &mut tally, server).await;
    }
    for entry in fs::read_dir(directory.join("files")).expect("files") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let ours = name.strip_prefix("upload-").is_some_and(|rest| rest.ends_with(".bin"));
        assert!(ours, "{name} is left in the destination");
    }
    tally
}

async fn judge(
    directory: &Path,
    number: u64,
    case: &Case,
    found: Option<(Upload, u64)>,
    tally: &mut Tally,
    server: Kind,
) {
    let what = format!(
        "case {number}: {:?} {:?}, {} of {} bytes sent, creates: {}, chunked: {}, promises: {}",
        case.place,
        case.leave,
        case.sent,
        case.body.len(),
        case.creates,
        case.chunked,
        case.promises
    );
    let (least, most) = case.kept(server);
    let Some((upload, offset)) = found else {
        assert_eq!(least, None, "{what}: there is no upload");
        tally.nothing += 1;
        return;
    };
    if let Some(path) = &case.path {
        assert_eq!(upload.path, *path, "{what}");
    }
    let least = least.unwrap_or(0);
    assert!((least..=most).contains(&offset), "{what}: {offset} told, not {least} to {most}");
    if case.leave != Leave::Rst {
        tally.lost += most - offset;
    }
    let file = directory.join("files").join(Case::name(number));
    let whole = offset == case.body.len() as u64;
    let bytes = directory.join("uploads").join(format!("{}.bin", upload.id()));
    let stored = fs::read(if whole { &file } else { &bytes });
    let stored = stored.unwrap_or_else(|error| panic!("{what}: no bytes: {error}"));
    let told = usize::try_from(offset).expect("an offset in memory");
    assert!(stored.get(..told) == case.body.get(..told), "{what}: other bytes are stored");
    tally.kept += 1;
    if whole {
        tally.complete += 1;
        assert!(stored.len() == told, "{what}: {} bytes in its file", stored.len());
    } else if number.is_multiple_of(10) {
        let rest = case.body.get(told..).expect("a rest");
        assert_eq!(upload.patch(offset, rest).await.expect(204).offset(), case.body.len() as u64);
        let stored = fs::read(&file).expect("a finished file");
        assert!(stored == case.body, "{what}: it differs after it was resumed");
        tally.resumed += 1;
    }
}
