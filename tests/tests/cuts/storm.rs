//! Requests that are cut at a random byte, and what may be left of each.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tokio::task::JoinSet;
use tus_testkit::{Client, Head, Random, Upload, pattern, sha1};

/// How many clients there are at a time.
const AT_ONCE: u64 = 32;

/// A length names its upload: it is the number of the case, one more, and some of these.
const UNIT: u64 = 10_000;
const CHUNK: usize = 8 * 1024;

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It closes.
    Fin,
    /// Its connection breaks; what was sent and not yet read is lost.
    Rst,
    /// It closes its half, and waits for an answer or for the end.
    Half,
}

/// Where a request is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Head,
    Body,
    /// After the last byte, before the answer.
    After,
}

/// Whose the loop is that reads from connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Frameworks,
}

/// One request that is cut.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The whole body of its upload.
    pub(crate) body: Bytes,
    pub(crate) place: Place,
    pub(crate) leave: Leave,
    /// Whether it brings the bytes with the creation.
    pub(crate) creates: bool,
    pub(crate) chunked: bool,
    /// Whether it promises a checksum.
    pub(crate) promises: bool,
    /// How many bytes of the body are sent.
    pub(crate) sent: usize,
    /// The upload, if it was made before.
    pub(crate) path: Option<String>,
    /// How much was told to be stored.
    pub(crate) told: u64,
}

impl Case {
    /// The name of the file that it would become.
    pub(crate) fn name(number: u64) -> String {
        format!("upload-{number}.bin")
    }

    /// The number of the case whose upload has this length.
    pub(crate) fn number(length: u64) -> u64 {
        (length - 1) % UNIT
    }

    /// The least and the most that may be stored of it; `None` if there need be no upload.
    ///
    /// What is sent before a FIN arrives before it. So it is kept (P2), if the `server` is ours;
    /// others may drop what they have read and not yet handed on.
    pub(crate) fn kept(&self, server: Kind) -> (Option<u64>, u64) {
        let sent = self.sent as u64;
        let whole = self.place == Place::After;
        // Bytes that were proven, or need no proof.
        let most = if self.promises && !whole { 0 } else { sent };
        let all = server == Kind::Ours && self.leave != Leave::Rst;
        let least = if all { most } else { self.told };
        let nobody_knows_it = self.creates && least == 0;
        ((!nobody_knows_it).then_some(least), most)
    }
}

/// Cuts the requests of these numbers, many at a time.
pub(crate) async fn storm(addr: SocketAddr, seed: u64, numbers: std::ops::Range<u64>) -> Vec<Case> {
    assert!(numbers.end <= UNIT, "a length can name {UNIT} uploads");
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    for number in numbers {
        if running.len() as u64 == AT_ONCE {
            done.push(running.join_next().await.expect("one that runs").expect("a case"));
        }
        running.spawn(async move { (number, cut(addr, seed, number).await) });
    }
    while let Some(ended) = running.join_next().await {
        done.push(ended.expect("a case"));
    }
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, case)| case).collect()
}

async fn cut(addr: SocketAddr, seed: u64, number: u64) -> Case {
    let mut random = Random::new(seed ^ number);
    // Many are small: then head, body and end may arrive together.
    let length = [0, random.below(40)][index(&mut random, 2)] * UNIT + number + 1;
    let body = pattern(usize::try_from(length).expect("a length"), random.draw());
    let creates = random.below(4) == 0;
    let chunked = random.below(2) == 0;
    let promises = !creates && random.below(5) == 0;
    let leave = [Leave::Fin, Leave::Rst, Leave::Half][index(&mut random, 3)];

    let mut head = Head::new("POST", "/files")
        .with("Upload-Length", length)
        .with("Upload-Metadata", format!("filename {}", STANDARD.encode(Case::name(number))));
    let path = if creates {
        head = head.with("Content-Type", "application/offset+octet-stream");
        None
    } else {
        let upload = Upload::create_with(addr, &head.clone().with("Content-Length", 0)).await;
        head = upload.patch_head(0);
        Some(upload.path)
    };
    if promises {
        head = head.with("Upload-Checksum", sha1(&body));
    }
    let head = if chunked { head.chunked() } else { head.sized(body.len()) };
    let request = Request::new(&head, &body, chunked);
    let (begin, end) = (request.head, request.bytes.len());
    let place = [Place::Head, Place::Body, Place::Body, Place::After][index(&mut random, 4)];
    let at = match place {
        Place::Head => index(&mut random, begin),
        Place::Body => begin + index(&mut random, end - begin),
        Place::After => end,
    };
    let sent = request.body_before(at);
    let mut case = Case { body, place, leave, creates, chunked, promises, sent, path, told: 0 };

    let mut client = Client::connect(addr).await;
    client.send(&request.bytes[..at]).await;
    match leave {
        Leave::Fin => drop(client),
        Leave::Rst => client.abort(),
        Leave::Half => {
            client.finish().await;
            let answer = client.answer_or_close().await;
            if let Some(answer) = answer.filter(|answer| answer.status < 300) {
                assert_eq!(place, Place::After, "half a request has succeeded: {answer:?}");
                case.told = answer.offset();
            }
        }
    }
    case
}

fn index(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("an index")
}

/// A request as it goes over the wire.
struct Request {
    bytes: Vec<u8>,
    /// How long its head is.
    head: usize,
    /// Where bytes of the body begin and how many there are.
    data: Vec<(usize, usize)>,
}

impl Request {
    fn new(head: &Head, body: &[u8], chunked: bool) -> Self {
        let mut bytes = head.to_bytes();
        let (head, mut data) = (bytes.len(), Vec::new());
        for piece in body.chunks(if chunked { CHUNK } else { body.len() }) {
            if chunked {
                bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            }
            data.push((bytes.len(), piece.len()));
            bytes.extend_from_slice(piece);
            if chunked {
                bytes.extend_from_slice(b"\r\n");
            }
        }
        if chunked {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Self { bytes, head, data }
    }

    /// How many bytes of the body come before a place in the request.
    fn body_before(&self, at: usize) -> usize {
        self.data.iter().map(|(begin, length)| at.saturating_sub(*begin).min(*length)).sum()
    }
}
