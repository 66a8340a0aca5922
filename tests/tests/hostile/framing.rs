//! Twists of the framing: lengths, chunks, trailers, what is cut off and what comes together.

use super::{
    grammar,
    request::{Delivery, Exchange, Line, Request},
    world::{Dice, World, sequence},
};

/// What lies about where the body ends.
pub(crate) fn framing(dice: &mut Dice, exchange: &mut Exchange) {
    let at = exchange.requests.len() - 1;
    let request = &mut exchange.requests[at];
    request.expected = None;
    let before = exchange.delivery;
    exchange.delivery = Delivery::Alone;
    match (request.has("content-length"), request.has("transfer-encoding")) {
        (true, false) => lengths(dice, request),
        (false, true) => match dice.below(14) {
            0..6 => codings(dice, request),
            6..8 => {
                trailers(dice, request);
                exchange.delivery = before;
            }
            _ => chunks(dice, request),
        },
        _ => {
            // A body where none was announced: to the server that is another request.
            request.mark("framing: unannounced body");
            let id = request.upload.clone().unwrap_or_default();
            request.body = sequence(&id, 0..dice.of(1..50) as u64);
        }
    }
}

/// Lengths that are none, or more than one.
fn lengths(dice: &mut Dice, request: &mut Request) {
    let length = request.body.len();
    let (mark, value) = match dice.below(14) {
        0 => ("framing: two lengths", (length + 1).to_string()),
        1 => ("framing: same length twice", length.to_string()),
        2 => ("framing: list", format!("{length}, {length}")),
        3 => ("framing: sign", format!("+{length}")),
        4 => ("framing: sign", format!("-{length}")),
        5 => ("framing: zeros", format!("000{length}")),
        6 => ("framing: no number", format!("{length}x")),
        7 => ("framing: no number", String::new()),
        8 => ("framing: overflow", "18446744073709551616".to_owned()),
        9 => ("framing: hex", format!("0x{length:x}")),
        10 | 11 => ("framing: both", "chunked".to_owned()),
        12 => ("framing: other coding", "gzip".to_owned()),
        _ => ("framing: other coding", "identity".to_owned()),
    };
    request.mark(mark);
    match mark {
        "framing: both" => {
            let place = dice.below(request.lines.len() + 1);
            request.lines.insert(place, Line::new("Transfer-Encoding", value));
            // Whoever goes by the length would store what the chunk is wrapped in.
            let body = std::mem::take(&mut request.body);
            request.body = format!("{:x}\r\n", body.len()).into_bytes();
            request.body.extend(body);
            request.body.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        "framing: other coding" => request.lines.push(Line::new("Transfer-Encoding", value)),
        "framing: two lengths" | "framing: same length twice" => {
            request.lines.push(Line::new("Content-Length", value));
        }
        _ => request.set("content-length", value),
    }
}

/// Transfer codings that are not plainly `chunked`.
fn codings(dice: &mut Dice, request: &mut Request) {
    let (mark, value) = dice.pick(&[
        ("framing: other coding", "gzip, chunked"),
        ("framing: other coding", "chunked, gzip"),
        ("framing: other coding", "chunked, chunked"),
        ("framing: other coding", "xchunked"),
        ("framing: other coding", "chunked\x0b"),
        ("framing: other coding", "\"chunked\""),
        ("framing: case", "Chunked"),
    ]);
    request.set("transfer-encoding", value);
    request.mark(mark);
}

/// Chunks that cannot be read, or hardly.
fn chunks(dice: &mut Dice, request: &mut Request) {
    let end = request.body.windows(2).position(|pair| pair == b"\r\n").unwrap_or(0);
    let line = String::from_utf8_lossy(&request.body[..end]).into_owned();
    let size = line.split(';').next().unwrap_or_default().to_owned();
    let (mark, first) = match dice.below(8) {
        0 => ("chunks: huge size", "fffffffffffffffff".to_owned()),
        1 => ("chunks: sign", format!("-{line}")),
        2 => ("chunks: no number", "zz".to_owned()),
        3 => ("chunks: zeros", format!("000{line}")),
        4 => ("chunks: long extension", format!("{size};{}", "e".repeat(dice.of(100..30_000)))),
        5 => ("chunks: control in the extension", format!("{size};a\x01b")),
        6 => {
            request.body.remove(end);
            ("chunks: bare LF", line)
        }
        _ => {
            // What follows the data of the first chunk is not its CRLF; the last one has none.
            let length = usize::from_str_radix(&size, 16).unwrap_or(0);
            let data = end + 2 + length;
            if length > 0 && request.body.get(data..data + 2).is_some() {
                request.body.splice(data..data + 2, *b"XY");
            }
            ("chunks: no end", line)
        }
    };
    request.body.splice(..end, first.into_bytes());
    request.mark(mark);
}

/// Trailers, announced or not, right or wrong.
fn trailers(dice: &mut Dice, request: &mut Request) {
    request.mark("trailers");
    let table = [
        "Upload-Checksum: crc32 AAAAAA==\r\n",
        "Upload-Checksum: \r\n",
        "Upload-Checksum: sha9 AAAA\r\nUpload-Checksum: sha1 AAAA\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n",
        "Upload-Offset: 0\r\nHost: evil.test\r\nX-HTTP-Method-Override: DELETE\r\n",
        "X-Nothing: \r\n",
    ];
    let trailers = dice.pick(&table);
    let end = request.body.len() - 2;
    request.body.splice(end..end, trailers.bytes());
}

/// The client leaves in the middle.
pub(crate) fn cut(dice: &mut Dice, exchange: &mut Exchange) {
    let at = exchange.requests.len() - 1;
    let request = &mut exchange.requests[at];
    request.expected = None;
    let (head, body) = (request.to_bytes().len() - request.body.len(), request.body.len());
    if body > 0 && dice.chance(70) {
        request.body.truncate(dice.below(body));
        request.mark("cut: body");
    } else if body > 0 && request.has("content-length") && dice.chance(50) {
        let much = dice.pick(&["9999999999", "18446744073709551615", "196609"]);
        request.set("content-length", much);
        request.mark("cut: length");
    } else {
        // A head without an end.
        let keep = dice.below(head);
        request.raw = Some(request.to_bytes().into_iter().take(keep).collect());
        request.mark("cut: head");
    }
    exchange.delivery = Delivery::Cut;
}

/// More requests in the same breath.
pub(crate) fn pipeline(dice: &mut Dice, world: &World, exchange: &mut Exchange) {
    for _ in 0..dice.of(1..4) {
        let mut next = grammar::request(dice, world);
        // What comes before it may change what it should hear.
        next.expected = None;
        exchange.requests.push(next);
    }
    for request in &mut exchange.requests {
        request.expected = None;
        request.mark("pipelined");
    }
    if exchange.delivery == Delivery::Whole {
        exchange.delivery = Delivery::Alone;
    }
}

/// Leaves out of a pipeline what actix-http muddles: it frames an answer by the head that it read
/// last (HEAD, version, `Connection`), not by the one that is answered. How much it has read by
/// then is chance, so that nothing can be said of such an answer.
pub(crate) fn keep_apart(exchange: &mut Exchange) {
    let requests = &mut exchange.requests;
    if requests.len() < 2 {
        return;
    }
    let muddling = |request: &Request| {
        // After a body that it cannot read it answers nothing, not even what came before.
        let framing = |mark: &&str| mark.starts_with("framing") || mark.starts_with("chunks");
        request.has("connection")
            || request.version != b"HTTP/1.1"
            || request.marks.iter().any(framing)
    };
    // Of what comes before the end of a connection, hyper drops what it has not begun.
    if exchange.delivery == Delivery::Cut || requests.iter().any(muddling) {
        requests.drain(..requests.len() - 1);
    } else if !requests.iter().all(Request::is_head) {
        requests.retain(|request| !request.is_head());
    }
}
