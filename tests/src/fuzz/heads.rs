//! Whole request heads: what the wire reads of them is read again when it is said in other words,
//! and the engine answers each with an answer that may be.

use std::{net::IpAddr, sync::Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Map, Value};
use tokio::runtime::Builder;
use tus_core::{
    Algorithm, Arrival, Kind, MemoryStore, Policy, Tus, UploadId,
    fuzzing::{Around, Said},
    store::MetaStore,
};

const MOUNT: &str = "/files";
const OCTETS: HeaderValue = HeaderValue::from_static("application/offset+octet-stream");
/// Small, so that inputs get there.
const MOST_METADATA: usize = 300;
const MOST_PARTS: usize = 4;
const MAX_SIZE: u64 = 1000;

/// A head with what follows it.
struct Parsed {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

pub(super) fn run(data: &[u8]) {
    let Some(parsed) = parse(data) else { return };
    let mut policy = policy();
    let mut understood = false;
    for all in [false, true] {
        for peer in [None, Some(IpAddr::from([127, 0, 0, 1]))] {
            for rufh in [false, true] {
                let around = Around { mount: MOUNT, policy: &policy, peer, all, rufh };
                understood = check_reading(&around, &parsed);
            }
        }
    }
    // It goes on where RUFH is spoken, but now and then.
    policy.rufh = !data.len().is_multiple_of(4);
    // The engine takes far longer, and has little to do with what cannot be understood.
    if understood || data.len().is_multiple_of(8) {
        check_answer(parsed, policy);
    }
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.max_size = Some(MAX_SIZE);
    policy.max_metadata = MOST_METADATA;
    policy.max_parts = MOST_PARTS;
    policy.download = true;
    policy.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    policy
}

/// Takes a head apart as leniently as it can be done: lines that no framework lets through are
/// left out, and so is a request line without a method or a path.
fn parse(data: &[u8]) -> Option<Parsed> {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    };
    let first = line()?;
    let mut words = first.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target: http::Uri = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let mut headers = HeaderMap::new();
    while let Some(line) = line().filter(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let path = target.path().to_owned();
    (!path.is_empty()).then(|| Parsed { method, path, headers, body: rest.to_vec() })
}

/// What was understood is understood again when it is said in the fewest words.
fn check_reading(around: &Around<'_>, parsed: &Parsed) -> bool {
    let mut understood = false;
    let head = (&parsed.method, parsed.path.as_str());
    for length in [Some(parsed.body.len() as u64), None] {
        match around.read(head, &parsed.headers, length) {
            Err(answer) => {
                assert!(answer.status().is_client_error(), "{answer:?}");
                check_words(answer.headers(), answer.body());
            }
            Ok(said) => {
                understood = true;
                let (path, headers) = say(&said, &parsed.headers);
                let length = said.brings.unwrap_or(Some(0));
                let again = around.read((&said.method, &path), &headers, length);
                assert_eq!(again.ok().as_ref(), Some(&said), "{headers:?}");
            }
        }
    }
    understood
}

/// A refusal is a short text or a short problem document, of our own words alone.
fn check_words(headers: &HeaderMap, body: &[u8]) {
    assert!(body.len() < 400 && body.is_ascii(), "{body:?}");
    if headers[header::CONTENT_TYPE] == "application/problem+json" {
        let members: Map<String, Value> = serde_json::from_slice(body).expect("a JSON object");
        let named = ["type", "title", "status", "detail", "code"];
        assert!(named.iter().all(|name| members.contains_key(*name)), "{members:?}");
    } else {
        assert!(body.len() < 200, "{body:?}");
    }
}

/// The head that says this. `Upload-Metadata` and the rest come in one line each, in plain words.
fn say(said: &Said, original: &HeaderMap) -> (String, HeaderMap) {
    let path = said.id.as_ref().map_or(MOUNT.to_owned(), |id| format!("{MOUNT}/{id}"));
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("what was read can be said");
        headers.insert(HeaderName::from_static(name), value);
    };
    match said.rufh {
        None => put("tus-resumable", "1.0.0".to_owned()),
        Some(version) => say_rufh(said, version, &mut put),
    }
    if let Some(at) = said.at {
        put("upload-offset", at.to_string());
    }
    match (said.length, &said.parts) {
        (Some(length), _) => put("upload-length", length.to_string()),
        (None, None) if said.rufh.is_none() && said.method == Method::POST => {
            put("upload-defer-length", "1".to_owned())
        }
        (None, _) => {}
    }
    match &said.parts {
        Some(parts) => {
            let urls: Vec<_> = parts.iter().map(|id| format!("{MOUNT}/{id}")).collect();
            put("upload-concat", format!("final;{}", urls.join(" ")));
        }
        None if said.partial => put("upload-concat", "partial".to_owned()),
        None => {}
    }
    if let Some(metadata) = said.metadata.as_ref().filter(|metadata| !metadata.is_empty()) {
        put("upload-metadata", metadata.raw().to_owned());
    }
    if let Some(digest) = &said.digest {
        let value = STANDARD.encode(&digest.value);
        match said.rufh {
            None => put("upload-checksum", format!("{} {value}", digest.algorithm)),
            Some(_) => put("content-digest", format!("{}=:{value}:", registered(digest.algorithm))),
        }
    }
    if said.trailer {
        let name = if said.rufh.is_some() { "Content-Digest" } else { "Upload-Checksum" };
        put("trailer", name.to_owned());
    }
    if let Some(range) = said.range {
        put("range", super::fields::say_range(range));
    }
    if said.brings.is_some() && said.rufh.is_none() {
        headers.insert(header::CONTENT_TYPE, OCTETS);
    }
    // Who says it matters for the URLs of parts.
    for name in ["forwarded", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"] {
        for value in original.get_all(name) {
            headers.append(HeaderName::from_static(name), value.clone());
        }
    }
    (path, headers)
}

/// The name of an algorithm in RFC 9530.
fn registered(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha1 => "sha",
        Algorithm::Sha256 => "sha-256",
        Algorithm::Sha512 => "sha-512",
        Algorithm::Md5 => "md5",
        other => panic!("{other} has no name there"),
    }
}

/// What only RUFH says.
fn say_rufh(said: &Said, version: Option<u64>, put: &mut impl FnMut(&'static str, String)) {
    if let Some(version) = version {
        put("upload-draft-interop-version", version.to_string());
    }
    match (version, said.complete) {
        (Some(3), Some(complete)) => {
            put("upload-incomplete", (if complete { "?0" } else { "?1" }).to_owned());
        }
        (_, Some(complete)) => {
            put("upload-complete", (if complete { "?1" } else { "?0" }).to_owned());
        }
        (_, None) => {}
    }
    if said.at.is_some() && version.is_none_or(|version| version > 5) {
        put("content-type", "application/partial-upload".to_owned());
    }
}

/// Runs to the end, with a runtime of its own: what is still awaited then ends with it.
fn to_the_end<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// The engine's answer is one that may be, and what it has made keeps to the limits.
fn check_answer(parsed: Parsed, policy: Policy) {
    to_the_end(answer(parsed, policy));
}

/// The ids of uploads that are there: an open and a whole one, the same as parts, a final.
const THERE: [&str; 5] = ["a", "b", "p", "q", "f"];

/// A service with a few uploads; the next one is called `new`.
async fn service(policy: Policy) -> (Tus, MemoryStore) {
    let store = MemoryStore::default();
    let builder = Tus::builder().meta(store.clone()).chunks(store.clone()).policy(policy);
    let ids = Mutex::new(THERE.into_iter().chain(["new"]));
    let builder = builder.before_create(move |_, mut new| {
        let next = ids.lock().expect("the ids").next();
        new.id = next.and_then(|id| id.parse().ok());
        async move { Ok(new) }
    });
    let tus = builder.build().expect("uploads");
    let metadata = ("upload-metadata", "filename d29ybGQucGRm,is_confidential");
    let table = [
        [("upload-length", "5"), metadata],
        [("upload-length", "0"), metadata],
        [("upload-length", "5"), ("upload-concat", "partial")],
        [("upload-length", "0"), ("upload-concat", "partial")],
        [("upload-concat", "final;/files/p /files/q /files/p"), metadata],
    ];
    for headers in table {
        let mut request = Request::post(MOUNT).header("tus-resumable", "1.0.0");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::new())).expect("a request");
        let answer = tus.handle(request, Arrival::at(MOUNT)).await;
        assert_eq!(answer.status(), 201);
    }
    (tus, store)
}

/// The records of these uploads, as JSON.
pub(super) fn some_records() -> Vec<Vec<u8>> {
    let load = async {
        let (_, store) = service(policy()).await;
        let mut found = Vec::new();
        for id in THERE {
            let loaded = MetaStore::load(&store, &id.parse().expect("an id")).await;
            found.push(serde_json::to_vec(&loaded.expect("a record").0).expect("JSON"));
        }
        found
    };
    to_the_end(load)
}

async fn answer(parsed: Parsed, policy: Policy) {
    let rufh = policy.rufh;
    let (tus, store) = service(policy).await;
    let mut request = Request::new(Full::new(Bytes::from(parsed.body)));
    (*request.method_mut(), *request.headers_mut()) = (parsed.method, parsed.headers);
    *request.uri_mut() = parsed.path.parse().expect("the path of a URI");
    let arrival = Arrival::at(MOUNT).with_peer(Some([127, 0, 0, 1].into())).with_trailers();
    let answer = tus.handle(request, arrival).await;
    let status = answer.status();
    assert!(status.as_u16() < 500 && !status.is_informational(), "{answer:?}");
    if let Some(location) = answer.headers().get(header::LOCATION) {
        let location = location.to_str().expect("a URL");
        location.parse::<http::Uri>().expect("a URL");
        // RUFH names the upload again when it is complete.
        let named = location.rsplit_once("/files/").map(|(_, id)| id);
        let known = named.is_some_and(|id| id == "new" || (rufh && THERE.contains(&id)));
        assert!(known, "{location}");
    }
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(body.len() < 1000, "{body:?}");
    let made: UploadId = "new".parse().expect("an id");
    if let Ok((upload, _)) = MetaStore::load(&store, &made).await {
        assert!(upload.metadata.raw().len() <= MOST_METADATA, "{upload:?}");
        assert!(upload.length.is_none_or(|length| length <= MAX_SIZE), "{upload:?}");
        if let Kind::Final { parts } = &upload.kind {
            assert!((1..=MOST_PARTS).contains(&parts.len()), "{upload:?}");
        }
    }
}
