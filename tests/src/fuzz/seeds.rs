//! Inputs to begin with: what the transcripts say, and what a store writes.

use std::{fs, path::Path};

use super::{heads, records};

/// The requests of all transcripts, as they go over the wire.
pub(super) fn heads() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    for dialect in ["tus1", "rufh"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(dialect);
        let entries = fs::read_dir(folder).expect("the transcripts");
        paths.extend(entries.map(|entry| entry.expect("a transcript").path()));
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).expect("a transcript");
        // Whatever stands in braces was captured before.
        let text = text.replace("{a}", "a").replace("{b}", "b").replace("{p}", "p");
        let text = text.replace("{f}", "f");
        let mut request: Option<Vec<&str>> = None;
        for line in text.lines() {
            let begins = line.ends_with(" HTTP/1.1") && !line.starts_with('#');
            let ends = line.starts_with("HTTP/") || line.starts_with("###");
            if (begins || ends)
                && let Some(lines) = request.take()
            {
                found.push(lines.join("\r\n").into_bytes());
            }
            if begins {
                request = Some(vec![line]);
            } else if let Some(lines) = &mut request {
                lines.push(line);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The values that stand in them, each behind the number of its field.
pub(super) fn fields() -> Vec<Vec<u8>> {
    let mut found = vec![
        b"\x03Forwarded: for=\"[2001:db8::1]:80\";proto=https;host=up.test, for=10.0.0.2".to_vec(),
        b"\x03X-Forwarded-For: 1.2.3.4, 10.0.0.2\nX-Forwarded-Proto: https\nHost: h.test".to_vec(),
        b"\x03X-Forwarded-Prefix: /api/\nX-Forwarded-Host: h.test".to_vec(),
        b"\x05Upload-Checksum: crc32 DUoRhQ==".to_vec(),
        b"\x06https://a.up.test".to_vec(),
    ];
    for head in heads() {
        for line in String::from_utf8_lossy(&head).lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let field = match name.to_ascii_lowercase().as_str() {
                "upload-metadata" => 0,
                "upload-checksum" => 1,
                "range" => 4,
                "upload-complete" | "upload-offset" | "upload-length" => 7,
                "content-disposition" => 8,
                "upload-concat" => {
                    let urls = value.trim_start_matches("final;").split(' ');
                    found.extend(urls.map(|url| [b"\x02", url.as_bytes()].concat()));
                    continue;
                }
                _ => continue,
            };
            found.push([&[field], value.as_bytes()].concat());
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Records of a few uploads, and the small files beside them.
pub(super) fn records() -> Vec<Vec<u8>> {
    let mut found = vec![
        [&b"\x04tusslot1"[..], &[7, 0, 0, 0, 0, 0, 0, 0, 9]].concat(),
        b"\x05link 2026/a b.txt".to_vec(),
        b"\x05copied a.tar.gz\n".to_vec(),
        b"\x06upload:A-b_9".to_vec(),
        b"\x06placed:5.1700000000.123:2026/a b.txt".to_vec(),
    ];
    for json in heads::some_records() {
        found.push([&[0][..], &records::enclosed(&json)].concat());
        found.push([&[1][..], &json].concat());
        found.push([&[3][..], &json].concat());
    }
    found
}

/// Sequences of some length, each as good as any other.
pub(super) fn operations() -> Vec<Vec<u8>> {
    (0..32).map(|seed: u8| (0..16).flat_map(|number| [seed, number, 0, 0]).collect()).collect()
}
