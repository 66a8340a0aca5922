//! What a hostile client changes in a request that was right.
//!
//! Each twist leaves a mark, by which the differences between the frameworks are told.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    framing, grammar,
    request::{Delivery, Exchange, Line, Request},
    world::{Dice, MAX_METADATA, MAX_PARTS, MAX_SIZE, MOUNT, World},
};

/// Makes a request, or several, and perhaps twists them.
pub(crate) fn exchange(dice: &mut Dice, world: &World) -> Exchange {
    let mut exchange = Exchange::of(grammar::request(dice, world));
    let twists = [0, 1, 2, 3][dice.weighted(&[52, 34, 10, 4])];
    for _ in 0..twists {
        // What is broken off or ambiguous cannot be made worse.
        if exchange.delivery != Delivery::Cut {
            twist(dice, world, &mut exchange);
        }
    }
    framing::keep_apart(&mut exchange);
    exchange
}

fn twist(dice: &mut Dice, world: &World, exchange: &mut Exchange) {
    // The one that was made last carries the twist.
    let at = exchange.requests.len() - 1;
    let mut request = exchange.requests[at].clone();
    request.expected = None;
    match dice.weighted(&[8, 16, 3, 20, 8, 6, 14, 8, 8, 8, 10, 6, 6]) {
        0 => method(dice, &mut request),
        1 => target(dice, world, &mut request),
        2 => version(dice, &mut request),
        3 => value(dice, &mut request),
        4 => twice(dice, &mut request),
        5 => missing(dice, &mut request),
        6 => more(dice, world, &mut request),
        7 => line(dice, &mut request),
        8 => metadata(dice, &mut request),
        9 => concat(dice, world, &mut request),
        10 => return framing::framing(dice, exchange),
        // What frameworks read in different ways must not be cut: nobody hears what they made of it.
        11 if request.marks.is_empty() => return framing::cut(dice, exchange),
        _ => return framing::pipeline(dice, world, exchange),
    }
    if ["method", "target", "version", "line", "host", "connection"]
        .iter()
        .any(|mark| request.marks.iter().any(|found| found.starts_with(mark)))
        && exchange.delivery == Delivery::Whole
    {
        exchange.delivery = Delivery::Alone;
    }
    exchange.requests[at] = request;
}

fn method(dice: &mut Dice, request: &mut Request) {
    let table: [(&str, &[u8]); 16] = [
        ("method: known", b"PUT"),
        ("method: known", b"TRACE"),
        ("method: known", b"CONNECT"),
        ("method: known", b"POST"),
        ("method: known", b"DELETE"),
        ("method: known", b"HEAD"),
        ("method: unknown", b"PROPFIND"),
        ("method: unknown", b"BREW"),
        ("method: unknown", b"patch"),
        ("method: unknown", b"!#$%&'*+-.^_`|~0"),
        ("method: no token", b""),
        ("method: no token", b"P\xc3\xa4TCH"),
        ("method: no token", b"PA(TCH"),
        ("method: no token", b"PATCH\t"),
        ("method: no token", b"\0"),
        ("method: long", &[b'A'; 70]),
    ];
    let (mark, method) = dice.pick(&table);
    request.method = method.to_vec();
    request.mark(mark);
}

fn target(dice: &mut Dice, world: &World, request: &mut Request) {
    let known = world.live().last().map_or("unknown".to_owned(), |upload| upload.id.clone());
    let id = request.upload.get_or_insert(known).clone();
    // What names the upload in another way is told apart from what names nothing.
    let table: [(&str, String); 36] = [
        ("target: path", format!("{MOUNT}/{id}/")),
        ("target: path", format!("{MOUNT}/{id}/..")),
        ("target: path", format!("{MOUNT}//{id}")),
        ("target: path", format!("{MOUNT}/./{id}")),
        ("target: path", format!("{MOUNT}/x/../{id}")),
        ("target: path", format!("{MOUNT}/../files/{id}")),
        ("target: path", format!("//files/{id}")),
        ("target: path", format!("{MOUNT}/{id}.rec")),
        ("target: path", format!("{MOUNT}/{id}.bin")),
        ("target: path", format!("{MOUNT}/.lock")),
        ("target: path", format!("{MOUNT}/..")),
        ("target: path", format!("{MOUNT}/../../../etc/passwd")),
        ("target: path", format!("{MOUNT}/{}", "a".repeat(129))),
        ("target: path", format!("{MOUNT}/{}", "a".repeat(9000))),
        ("target: path", "/".to_owned()),
        ("target: path", "/filesx".to_owned()),
        ("target: path", "/hello".to_owned()),
        ("target: path", format!("/FILES/{id}")),
        ("target: query", format!("{MOUNT}/{id}?x=/../&y=%00")),
        ("target: query", format!("{MOUNT}/{id}?")),
        ("target: query", format!("{MOUNT}?{id}")),
        ("target: escape", format!("{MOUNT}/{id}%00")),
        ("target: escape", format!("{MOUNT}/{id}%2f..")),
        ("target: escape", format!("{MOUNT}%2F{id}")),
        ("target: escape", format!("{MOUNT}/%2e%2e/%2e%2e/etc/passwd")),
        ("target: escape", format!("{MOUNT}/%{:02x}{}", id.as_bytes()[0], &id[1..])),
        ("target: escape", format!("{MOUNT}/%c3%28")),
        ("target: escape", format!("{MOUNT}/%ff%fe")),
        ("target: escape", format!("{MOUNT}/%")),
        ("target: escape", format!("/f%69les/{id}")),
        ("target: form", format!("http://uploads.test{MOUNT}/{id}")),
        ("target: form", format!("http://user:word@[::1]:1{MOUNT}/{id}")),
        ("target: form", "*".to_owned()),
        ("target: form", "uploads.test:443".to_owned()),
        ("target: form", format!("files/{id}")),
        ("target: fragment", format!("{MOUNT}/{id}#x")),
    ];
    if dice.chance(15) {
        let odd: [&[u8]; 6] = [b"\0", b"\xff\xfe", b"\xc3\xa4", b"\x7f", b"<\"{}|\\^`", b"\t"];
        request.target = [format!("{MOUNT}/{id}").as_bytes(), dice.pick(&odd)].concat();
        request.mark("target: byte");
        return;
    }
    let (mark, target) = dice.pick(&table);
    request.target = target.into();
    request.mark(mark);
}

fn version(dice: &mut Dice, request: &mut Request) {
    let table: [(&str, &[u8]); 8] = [
        ("version: 1.0", b"HTTP/1.0"),
        ("version: other", b"HTTP/1.2"),
        ("version: other", b"HTTP/2.0"),
        ("version: other", b"HTTP/0.9"),
        ("version: other", b"HTTP/11"),
        ("version: other", b"http/1.1"),
        ("version: other", b"HTTP/1.1 x"),
        ("version: other", b""),
    ];
    let (mark, version) = dice.pick(&table);
    request.version = version.to_vec();
    request.mark(mark);
}

/// Values that no header is ready for.
fn odd_value(dice: &mut Dice) -> Vec<u8> {
    let table: [&[u8]; 34] = [
        b"",
        b" ",
        b"-1",
        b"+1",
        b"1e3",
        b"0x10",
        b"1.0",
        b"007",
        b"1,1",
        b"1, 2",
        b"\"1\"",
        b"1;a",
        b"9223372036854775807",
        b"9223372036854775808",
        b"18446744073709551615",
        b"18446744073709551616",
        b"99999999999999999999999999999999999999999",
        b"NaN",
        b"\xef\xbc\x95",
        b"\xff",
        b"\xc3\xa9",
        b"null",
        b"true",
        b"1\t",
        b"*",
        b"%31",
        b"1.0.1",
        b"0.2.2",
        b"1.0.0, 1.0.0",
        b"final;",
        b"partial;",
        b"sha1 x",
        b"a b c",
        b"'; DROP TABLE uploads",
    ];
    match dice.weighted(&[90, 5, 5]) {
        0 => dice.pick(&table).to_vec(),
        1 => vec![b'7'; dice.of(100..9000)],
        _ => {
            let count = dice.of(1..40);
            let printable =
                |b: u8| if matches!(b, b'\t' | b' '..=b'~' | 0x80..) { b } else { b'x' };
            dice.bytes(count).into_iter().map(printable).collect()
        }
    }
}

/// The headers that mean something to uploads, as far as they are there.
fn spoken(dice: &mut Dice, request: &Request) -> Option<usize> {
    let framing = ["content-length", "transfer-encoding", "host", "x-id"];
    let spoken: Vec<_> = (0..request.lines.len())
        .filter(|at| !framing.iter().any(|name| request.lines[*at].is(name)))
        .collect();
    (!spoken.is_empty()).then(|| dice.pick(&spoken))
}

fn value(dice: &mut Dice, request: &mut Request) {
    let Some(at) = spoken(dice, request) else { return };
    request.lines[at].value = match request.lines[at].is("upload-length") && dice.chance(20) {
        true => (MAX_SIZE + 1).to_string().into(),
        false => odd_value(dice),
    };
    request.mark("value");
}

fn twice(dice: &mut Dice, request: &mut Request) {
    let Some(at) = spoken(dice, request) else { return };
    let mut again = request.lines[at].clone();
    if dice.chance(50) {
        again.value = odd_value(dice);
    }
    let place = dice.below(request.lines.len() + 1);
    request.lines.insert(place, again);
    request.mark("twice");
}

fn missing(dice: &mut Dice, request: &mut Request) {
    let Some(at) = spoken(dice, request) else { return };
    request.lines.remove(at);
    request.mark("missing");
}

/// Headers that were not asked for.
fn more(dice: &mut Dice, world: &World, request: &mut Request) {
    let id = world.live().last().map_or_else(|| dice.id(), |upload| upload.id.clone());
    let table: [(&str, &str, String); 50] = [
        ("more", "Upload-Offset", "0".into()),
        ("more", "Upload-Length", "5".into()),
        ("more", "Upload-Length", MAX_SIZE.to_string()),
        ("more", "Upload-Defer-Length", "1".into()),
        ("more", "Upload-Concat", "partial".into()),
        ("more", "Upload-Concat", format!("final;{MOUNT}/{id}")),
        ("more", "Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".into()),
        ("more", "Upload-Checksum", "crc32 AAAAAA==".into()),
        ("more", "Upload-Checksum", "crc32 AAAA".into()),
        ("more", "Upload-Checksum", "sha9 AAAA".into()),
        ("more", "Content-Type", "application/offset+octet-stream".into()),
        ("more", "Content-Type", "text/html".into()),
        ("more", "Content-Encoding", "gzip".into()),
        ("more", "X-HTTP-Method-Override", "DELETE".into()),
        ("more", "X-HTTP-Method-Override", "PATCH".into()),
        ("more", "X-HTTP-Method-Override", "head".into()),
        ("more", "X-HTTP-Method-Override", "BREW".into()),
        ("more", "Tus-Resumable", "0.2.2".into()),
        ("more", "Forwarded", "for=1.2.3.4;proto=https;host=up.test".into()),
        ("more", "Forwarded", "for=\"[::1]:99\";host=\"evil.test/x\";proto=https".into()),
        ("more", "Forwarded", "host=a\"b;proto=javascript,,;;=;for=".into()),
        ("more", "X-Forwarded-Proto", "https".into()),
        ("more", "X-Forwarded-Host", "up.test".into()),
        ("more", "X-Forwarded-Host", "up.test, \"<script>\"".into()),
        ("more", "X-Forwarded-Prefix", "/api".into()),
        ("more", "X-Forwarded-Prefix", "//evil.test/\\..".into()),
        ("more", "X-Forwarded-For", "unix, 999.1.1.1, 127.0.0.1, ::".into()),
        ("more", "Origin", "https://a.up.test".into()),
        ("more", "Origin", "https://evil.test\\.up.test".into()),
        ("more", "Range", "bytes=0-0".into()),
        ("more", "Range", "bytes=-1".into()),
        ("more", "Range", "bytes=0-,5-".into()),
        ("more", "Range", "bytes=18446744073709551615-18446744073709551616".into()),
        ("more", "If-Range", "\"x\"".into()),
        ("more", "If-None-Match", "*".into()),
        ("more", "If-Match", "\"x\"".into()),
        ("more", "If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT".into()),
        ("more", "Cookie", "id=../../x".into()),
        ("more", "Authorization", "Basic OjpiOg==".into()),
        ("more", "X-Request-Id", "a b<c>\u{e9}".into()),
        ("more", "TE", "trailers, gzip".into()),
        ("expect", "Expect", "100-continue".into()),
        ("expect", "Expect", "200-ok".into()),
        ("connection", "Connection", "close".into()),
        ("connection", "Connection", "keep-alive, Upload-Offset".into()),
        ("connection", "Connection", "Upgrade, HTTP2-Settings".into()),
        ("connection", "Upgrade", "h2c".into()),
        ("host", "Host", "second.test".into()),
        ("trailer", "Trailer", "Upload-Checksum".into()),
        ("trailer", "Trailer", "X-Nothing, upload-checksum".into()),
    ];
    let (mark, name, value) = dice.pick(&table);
    let place = dice.below(request.lines.len() + 1);
    request.lines.insert(place, Line::new(name, value));
    request.mark(mark);
}

/// Lines that are none, or more than one.
fn line(dice: &mut Dice, request: &mut Request) {
    let mut odd = Line::new("X-Odd", "1");
    let mark = match dice.below(17) {
        0 => {
            odd.value = b"1\r\n folded".to_vec();
            "line: folded"
        }
        1 => {
            odd.end = b"\n".to_vec();
            "line: bare LF"
        }
        2 => {
            odd.value = b"1\rX-Injected: 1".to_vec();
            "line: bare CR"
        }
        3 => {
            odd.between = b" : ".to_vec();
            "line: space before the colon"
        }
        4 => {
            odd.between = Vec::new();
            "line: no colon"
        }
        5 => {
            odd.name = Vec::new();
            "line: no name"
        }
        6 => {
            odd.name = b"X-\0".to_vec();
            "line: no token"
        }
        7 => {
            odd.name = "X-\u{e9}".into();
            "line: no token"
        }
        8 => {
            odd.value = b"a\0b".to_vec();
            "line: control"
        }
        9 => {
            odd.value = b"a\x01\x7fb".to_vec();
            "line: control"
        }
        10 => {
            odd.name = vec![b'n'; dice.of(1000..80_000)];
            "line: huge name"
        }
        11 => {
            odd.value = vec![b'v'; dice.of(20_000..600_000)];
            "line: huge value"
        }
        12 => {
            // Frameworks take about a hundred.
            let room = 100_usize.saturating_sub(request.lines.len());
            let count =
                if dice.chance(50) { room.saturating_sub(dice.below(9)) } else { dice.of(70..300) };
            request.lines.extend((0..count).map(|n| Line::new(format!("X-{n}"), "1")));
            "line: many"
        }
        13 => {
            odd.name = b" X-Odd".to_vec();
            request.lines.insert(0, odd);
            return request.mark("line: space before the first");
        }
        14 => {
            request.empty_line = b"\n".to_vec();
            "line: bare LF"
        }
        15 => {
            odd.between = b":".to_vec();
            "line: fine"
        }
        _ => {
            odd.between = b": \t ".to_vec();
            odd.value = b"1 \t".to_vec();
            "line: fine"
        }
    };
    let place = dice.below(request.lines.len() + 1);
    request.lines.insert(place, odd);
    request.mark(mark);
}

fn metadata(dice: &mut Dice, request: &mut Request) {
    let value = match dice.below(12) {
        0 => "filename".into(),
        1 => ",".into(),
        2 => "a YQ==,a Yg==".into(),
        3 => "a YQ".into(),
        4 => "a YQ== YQ==".into(),
        5 => " , ".into(),
        6 => "\u{e9} YQ==".into(),
        7 => "filename \u{ff}\u{fe}".into(),
        8 => format!("a {}", STANDARD.encode(dice.bytes(MAX_METADATA))),
        9 => (0..500).map(|n| format!("k{n}")).collect::<Vec<_>>().join(","),
        10 => "a\tYQ==".into(),
        _ => grammar::metadata(dice),
    };
    request.lines.push(Line::new("Upload-Metadata", value));
    request.mark("metadata");
}

fn concat(dice: &mut Dice, world: &World, request: &mut Request) {
    let ids: Vec<_> = world.live().chain(world.gone()).map(|upload| upload.id.clone()).collect();
    if ids.is_empty() {
        return;
    }
    let id = dice.pick(&ids);
    let other = dice.pick(&ids);
    let value = match dice.below(16) {
        0 => "final;".to_owned(),
        1 => "final".to_owned(),
        2 => format!("final;{MOUNT}/{id} {MOUNT}/{other}"),
        3 => format!("final;{MOUNT}/{id},{MOUNT}/{other}"),
        4 => format!("final; \t {MOUNT}/{id}  {MOUNT}/{id} "),
        5 => format!("final;http://169.254.169.254{MOUNT}/{id}"),
        6 => format!("final;file://{MOUNT}/{id}"),
        7 => format!("final;{MOUNT}/../../{id}"),
        8 => format!("final;{MOUNT}/{id}.bin"),
        9 => format!("final;{MOUNT}/%2e%2e/{id}"),
        10 => format!("final;http://uploads.test/other/{id}"),
        11 => format!("final;{MOUNT}/{id}?x#y"),
        12 => format!("FINAL;{MOUNT}/{id}"),
        13 => vec![format!("{MOUNT}/{id}"); MAX_PARTS + 1].join(" ").replacen('/', "final;/", 1),
        14 => format!("partial;final;{MOUNT}/{id}"),
        _ => format!("final;\u{e9}/{id}"),
    };
    request.lines.retain(|line| !line.is("upload-concat"));
    if dice.chance(80) {
        request.lines.retain(|line| !line.is("upload-length") && !line.is("upload-defer-length"));
    }
    request.lines.push(Line::new("Upload-Concat", value));
    request.mark("concat");
}
