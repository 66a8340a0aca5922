//! Requests that are right: they make uploads, fill them, look at them and end them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tus_tests::rig::crc32;

use super::{
    request::{Framing, Request},
    world::{Dice, Kind, MAX_SIZE, MOUNT, Upload, World, sequence},
};

/// So many uploads live at once; then the oldest are terminated.
const CROWD: usize = 40;

/// Says something sensible.
pub(crate) fn request(dice: &mut Dice, world: &World) -> Request {
    let live = world.live().count();
    if live > CROWD {
        let oldest = world.live().next().expect("one of many");
        return on(dice, "DELETE", oldest).expecting(204);
    }
    let open: Vec<_> = world.live().filter(|upload| upload.takes_bytes()).collect();
    let create = if open.len() < 6 { 60 } else { 24 };
    match dice.weighted(&[create, 44, 12, 9, 4, 8, 6, 4]) {
        0 => creation(dice, world),
        1 if !open.is_empty() => {
            let upload = pick(dice, &open);
            append(dice, upload)
        }
        2 => inspect(dice, world),
        3 => download(dice, world),
        4 => terminate(dice, world),
        5 => concatenation(dice, world),
        6 => discovery(dice, world),
        7 => lost(dice, world),
        _ => creation(dice, world),
    }
}

fn pick<'u>(dice: &mut Dice, from: &[&'u Upload]) -> &'u Upload {
    from[dice.below(from.len())]
}

/// A request for an upload, sometimes by way of a POST.
fn on(dice: &mut Dice, method: &str, upload: &Upload) -> Request {
    let target = format!("{MOUNT}/{}", upload.id);
    let request = match dice.chance(8) && method != "GET" {
        true => Request::tus("POST", &target).with("X-HTTP-Method-Override", method),
        false => Request::tus(method, &target),
    };
    request.about(&upload.id)
}

/// How a body of so many bytes is framed.
fn framing(dice: &mut Dice, length: usize) -> Framing {
    if dice.chance(70) {
        return Framing::Sized;
    }
    // Small chunks are for small bodies: of extensions hyper takes 16 KiB.
    let size = dice.pick(&[1, 7, 100, 4096, 70_000]).max(length / 400);
    let extension = dice.pick(&["", "", ";a=b", ";a=\"b;c\""]);
    Framing::Chunked { size, extension }
}

fn length(dice: &mut Dice) -> u64 {
    let length = match dice.weighted(&[3, 40, 40, 9, 2, 1]) {
        0 => 0,
        1 => dice.of(1..65),
        2 => dice.of(65..4097),
        3 => dice.of(4097..40_000),
        4 => dice.of(40_000..usize::try_from(MAX_SIZE).expect("a small bound")),
        _ => return MAX_SIZE,
    };
    length as u64
}

fn with_body(dice: &mut Dice, request: Request, content: &[u8]) -> Request {
    let mut request = request.with("Content-Type", "application/offset+octet-stream");
    if dice.chance(15) {
        request = request.with("Upload-Checksum", checksum(dice, content));
    }
    let framing = framing(dice, content.len());
    request.bringing(content, &framing)
}

pub(crate) fn checksum(dice: &mut Dice, content: &[u8]) -> String {
    if dice.chance(50) { crc32(content) } else { tus_testkit::sha1(content) }
}

fn creation(dice: &mut Dice, _: &World) -> Request {
    let (id, length) = (dice.id(), length(dice));
    let target = dice.pick(&["/files", "/files/"]);
    let mut request = Request::tus("POST", target).with("X-Id", &id).about(&id).expecting(201);
    if dice.chance(35) {
        request = request.with("Upload-Concat", "partial");
    }
    let deferred = dice.chance(15);
    request = match deferred {
        true => request.with("Upload-Defer-Length", 1),
        false => request.with("Upload-Length", length),
    };
    if dice.chance(50) {
        request = request.with("Upload-Metadata", metadata(dice));
    }
    match dice.weighted(&[50, 15, 25]) {
        0 => request,
        1 => with_body(dice, request, &sequence(&id, 0..length)),
        _ => {
            let brought = dice.below(usize::try_from(length).expect("a short upload") + 1);
            with_body(dice, request, &sequence(&id, 0..brought as u64))
        }
    }
}

fn append(dice: &mut Dice, upload: &Upload) -> Request {
    let rest = match upload.length {
        Some(_) => upload.rest(),
        None => length(dice).min(MAX_SIZE - upload.offset),
    };
    let whole = dice.chance(50);
    let brings =
        if whole { rest } else { dice.below(usize::try_from(rest).expect("short") + 1) as u64 };
    let mut request = on(dice, "PATCH", upload).with("Upload-Offset", upload.offset);
    if upload.length.is_none() && dice.chance(60) {
        request = request.with("Upload-Length", upload.offset + rest);
    }
    let content = sequence(&upload.id, upload.offset..upload.offset + brings);
    with_body(dice, request, &content).expecting(204)
}

fn inspect(dice: &mut Dice, world: &World) -> Request {
    let live: Vec<_> = world.live().collect();
    if live.is_empty() {
        return creation(dice, world);
    }
    let upload = pick(dice, &live);
    on(dice, "HEAD", upload).expecting(200)
}

fn download(dice: &mut Dice, world: &World) -> Request {
    let whole: Vec<_> = world.live().filter(|upload| upload.is_whole()).collect();
    if whole.is_empty() {
        return creation(dice, world);
    }
    let upload = pick(dice, &whole);
    let target = format!("{MOUNT}/{}", upload.id);
    // A plain download needs no word of tus.
    let request = match dice.chance(50) {
        true => Request::new("GET", &target),
        false => Request::tus("GET", &target),
    };
    let request = request.about(&upload.id);
    match upload.offset {
        2.. if dice.chance(30) => {
            let first = dice.below(usize::try_from(upload.offset).expect("short"));
            request.with("Range", format!("bytes={first}-")).expecting(206)
        }
        _ => request.expecting(200),
    }
}

fn terminate(dice: &mut Dice, world: &World) -> Request {
    let live: Vec<_> = world.live().collect();
    if live.len() < 10 {
        return creation(dice, world);
    }
    let upload = pick(dice, &live);
    on(dice, "DELETE", upload).expecting(204)
}

fn concatenation(dice: &mut Dice, world: &World) -> Request {
    let small = |upload: &&Upload| {
        upload.kind == Kind::Partial && upload.length.is_none_or(|length| length < MAX_SIZE / 8)
    };
    let parts: Vec<_> = world.live().filter(small).collect();
    if parts.is_empty() {
        return creation(dice, world);
    }
    let count = dice.of(1..5);
    let some: Vec<_> = (0..count).map(|_| pick(dice, &parts)).collect();
    let urls: Vec<_> = some.iter().map(|part| url(dice, &part.id)).collect();
    let id = dice.id();
    Request::tus("POST", MOUNT)
        .with("X-Id", &id)
        .with("Upload-Concat", format!("final;{}", urls.join(" ")))
        .about(&id)
        .expecting(201)
}

/// The URL of a part, in one of the forms that name it.
fn url(dice: &mut Dice, id: &str) -> String {
    match dice.weighted(&[50, 10, 10, 10, 10]) {
        0 => format!("{MOUNT}/{id}"),
        1 => format!("http://uploads.test{MOUNT}/{id}"),
        2 => format!("https://elsewhere.test:8443{MOUNT}/{id}"),
        3 => format!("./{id}"),
        _ => id.to_owned(),
    }
}

fn discovery(dice: &mut Dice, _: &World) -> Request {
    let request = Request::new("OPTIONS", dice.pick(&["/files", "/files/"])).expecting(204);
    match dice.chance(50) {
        true => request,
        false => request
            .with("Origin", dice.pick(&["https://a.up.test", "https://evil.test", "null"]))
            .with("Access-Control-Request-Method", "PATCH")
            .with("Access-Control-Request-Headers", "upload-offset, content-type"),
    }
}

/// A request for an upload that is no more, or never was.
fn lost(dice: &mut Dice, world: &World) -> Request {
    let gone: Vec<_> = world.gone().collect();
    let id = match gone.is_empty() || dice.chance(30) {
        true => dice.id(),
        false => pick(dice, &gone).id.clone(),
    };
    let method = dice.pick(&["HEAD", "PATCH", "DELETE", "GET"]);
    let request = Request::tus(method, &format!("{MOUNT}/{id}")).about(&id);
    match method {
        "PATCH" => with_body(dice, request.with("Upload-Offset", 0), b"hello"),
        _ => request,
    }
}

/// What a hostile client calls a file, or says of its type.
const NAMES: [&str; 30] = [
    "report.pdf",
    "report.pdf",
    "a.tar.gz",
    "..",
    ".",
    "",
    "/",
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "C:\\x",
    "link",
    "link/x",
    "known",
    "known/../x",
    ".hidden",
    "-rf",
    "CON",
    "nul.txt",
    "a\0b",
    "a\r\nX-Injected: 1\r\n\r\n<html>",
    "\u{202e}gpj.exe",
    "%2e%2e%2f",
    "~root",
    "$(id)",
    "a\"; filename=\"b",
    "\u{fffd}\u{0}\n",
    "ü\u{301}",
    " ",
    "sentinel.txt",
];

const TYPES: [&str; 8] = [
    "text/plain",
    "image/png",
    "text/html",
    "image/svg+xml",
    "video/mp4\r\nX-Injected: 1",
    "application/x; charset=\"\u{e9}\"",
    "",
    "/",
];

/// Metadata that may be had, whatever it says.
pub(crate) fn metadata(dice: &mut Dice) -> String {
    let mut pairs = Vec::new();
    if dice.chance(80) {
        let name = match dice.chance(5) {
            true => "n".repeat(dice.of(100..600)),
            false => dice.pick(&NAMES).to_owned(),
        };
        let key = dice.pick(&["filename", "filename", "name"]);
        pairs.push(format!("{key} {}", STANDARD.encode(name)));
    }
    if dice.chance(40) {
        let key = dice.pick(&["filetype", "type"]);
        pairs.push(format!("{key} {}", STANDARD.encode(dice.pick(&TYPES))));
    }
    if dice.chance(30) {
        let count = dice.below(40);
        pairs.push(format!("k{count} {}", STANDARD.encode(dice.bytes(count))));
    }
    if pairs.is_empty() || dice.chance(20) {
        pairs.push("is_confidential".to_owned());
    }
    pairs.join(",")
}
