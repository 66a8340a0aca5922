//! What lies in an upload directory: records, sync points, notes and places. The first byte says
//! which; what is read is written as the same, and checksums can be right by chance.

use tus_core::{Upload, store::record};
use tus_fs::fuzzing as files;

/// How many kinds there are to choose from.
pub(super) const KINDS: u8 = 7;

pub(super) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % KINDS {
        0 => record(rest),
        1 => record(&enclosed(rest)),
        2 => file(rest),
        3 => file(&sealed(rest)),
        4 => slot(rest),
        5 => {
            note(&text);
            let said = text.trim_end_matches('\n');
            note(&format!("tus-place 1 {:08x} {said}\n", crc32fast::hash(said.as_bytes())));
        }
        _ => locator(&text),
    }
}

/// JSON with the head line that makes it a record.
pub(super) fn enclosed(json: &[u8]) -> Vec<u8> {
    let head = format!("tus-record 1 {:08x} {}\n", crc32fast::hash(json), json.len());
    [head.as_bytes(), json].concat()
}

/// JSON with both head lines that make it the file of a record.
fn sealed(json: &[u8]) -> Vec<u8> {
    let body = enclosed(json);
    let mut sum = crc32fast::Hasher::new();
    sum.update(&7_u64.to_le_bytes());
    sum.update(&body);
    [format!("tus-fs-record 1 {:08x} 7\n", sum.finalize()).as_bytes(), &body].concat()
}

fn record(bytes: &[u8]) {
    let Ok(upload) = record::decode(bytes) else { return };
    check(&upload);
    let written = record::encode(&upload).expect("what was read");
    assert!(written.len() <= record::MAX_LEN);
    assert_eq!(record::decode(&written).ok().as_ref(), Some(&upload));
}

/// What may be said of any upload that can be read.
fn check(upload: &Upload) {
    let id = upload.id.as_str();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    assert!((1..=128).contains(&id.len()) && id.bytes().all(allowed), "{id}");
    // None of these has a value that would make it panic.
    let _due = upload.due_at();
    let _debug = format!("{upload:?}");
    files::locator(upload.locator.as_str());
}

fn file(bytes: &[u8]) {
    let Some(written) = files::record(bytes) else { return };
    // Numbers may be written in other ways; what we write is not.
    assert_eq!(files::record(&written).as_ref(), Some(&written));
}

fn slot(bytes: &[u8]) {
    let mut slot = [0; 64];
    slot.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let read = |slot| {
        let Some(written) = files::slot(slot) else { return };
        assert_eq!(files::slot(written), Some(written));
    };
    read(slot);
    let sum = crc32fast::hash(&slot[..60]);
    slot[60..].copy_from_slice(&sum.to_le_bytes());
    read(slot);
}

fn note(text: &str) {
    let Some(written) = files::note(text) else { return };
    assert_eq!(files::note(&written).as_ref(), Some(&written));
    // Magic, version, checksum, step, path.
    let said = written.strip_suffix('\n').unwrap_or(&written);
    below(said.splitn(5, ' ').last().unwrap_or_default());
}

/// A path that leads nowhere but down.
fn below(path: &str) {
    let mut segments = path.split('/');
    assert!(segments.all(|one| !one.is_empty() && !one.starts_with('.')), "{path:?}");
}

fn locator(text: &str) {
    let Some(locator) = files::locator(text) else { return };
    assert_eq!(files::locator(locator.as_str()).as_ref(), Some(&locator));
    if let Some(placed) = locator.as_str().strip_prefix("placed:") {
        below(placed.split_once(':').map_or("", |(_, path)| path));
    }
}
