//! Statuses and header fields, as they must leave the server.

use http::{HeaderValue, header};
use tus_core::{Cors, Reply};

use super::{Subject, policy, start, uploads};
use crate::{harness::App, head::Head, payload::sha1};

pub(super) async fn repeated_response_headers_survive(subject: Subject) {
    let mut policy = policy();
    policy.cors = Cors::origins(["https://page.test".parse().expect("an origin")]);
    let tus = uploads().policy(policy).on_finish(async |_| {
        let reply = Reply::new()
            .with_header(header::VARY, HeaderValue::from_static("Accept"))
            .with_header(header::VARY, HeaderValue::from_static("Cookie"));
        Ok(["a=1", "b=2", "c=3"].into_iter().fold(reply, |reply, cookie| {
            reply.with_header(header::SET_COOKIE, HeaderValue::from_static(cookie))
        }))
    });
    let server = subject.start(App::new(tus));
    let upload = server.create(3).await;
    let done = upload.patch(0, b"abc").await.expect(204);
    let asked = upload.head().await.expect(200);
    for answer in [done, asked] {
        assert_eq!(answer.all("set-cookie"), ["a=1", "b=2", "c=3"]);
        assert_eq!(answer.all("vary"), ["Accept", "Cookie", "Origin"]);
    }
}

pub(super) async fn a_204_has_neither_a_body_nor_a_content_length(subject: Subject) {
    let server = start(subject);
    let upload = server.create(6).await;
    let mut client = server.connect().await;
    let patch = |offset| upload.patch_head(offset).sized(3);
    let requests = [
        (Head::new("OPTIONS", "/files"), ""),
        (patch(0), "abc"),
        (patch(3), "def"),
        (patch(6).without("Content-Length"), ""),
        (Head::new("DELETE", &upload.path), ""),
        (Head::plain("OPTIONS", "/files"), ""),
    ];
    // On one connection: a body where none may be would be read as the next answer.
    for (head, body) in requests {
        let answer = client.request(&head, body.as_bytes()).await.expect(204);
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
        assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
    }
}

pub(super) async fn a_head_is_answered_without_a_body(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let mut client = server.connect().await;
    let head = |target: &str| Head::new("HEAD", target);
    for (head, status) in [
        (head(&upload.path), 200),
        (head("/files/unknown"), 404),
        (head(&upload.path).without("Tus-Resumable").with("Tus-Resumable", "0.2.2"), 412),
        (head("/files"), 405),
        (head(&upload.path), 200),
    ] {
        let answer = client.request(&head, b"").await.expect(status);
        assert_eq!(answer.header("tus-resumable"), Some("1.0.0"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        // RFC 9110, section 8.6: it would have to be that of a GET.
        assert_eq!(answer.header("content-length"), None, "{answer:?}");
    }
}

pub(super) async fn a_missing_version_is_412_for_every_method(subject: Subject) {
    // Where RUFH is spoken, too, some of these are its own.
    let mut policy = policy();
    policy.rufh = false;
    let server = subject.start(App::new(uploads().policy(policy)));
    let upload = server.create(3).await;
    let patch = upload.patch_head(0).sized(3);
    for (head, body) in [
        (Head::create("/files", 3), ""),
        (Head::new("HEAD", &upload.path), ""),
        (patch, "abc"),
        (Head::new("DELETE", &upload.path), ""),
        (Head::new("HEAD", "/files/unknown"), ""),
    ] {
        let bare = head.without("Tus-Resumable");
        for head in [bare.clone(), bare.with("Tus-Resumable", "0.2.2")] {
            let answer = server.request(&head, body.as_bytes()).await.expect(412);
            assert_eq!(answer.header("tus-version"), Some("1.0.0"), "{answer:?}");
        }
    }
    assert_eq!(upload.offset().await, 0);
}

pub(super) async fn a_wrong_checksum_is_460(subject: Subject) {
    let server = start(subject);
    let upload = server.create(6).await;
    upload.patch(0, b"abc").await.expect(204);
    let head = |checksum: &str| {
        let head = upload.patch_head(3).sized(3);
        head.with("Upload-Checksum", checksum)
    };
    let wrong = upload.request(&head(&sha1(b"xyz")), b"def").await;
    assert!(wrong.expect(460).text().starts_with("checksum_mismatch: "));
    assert_eq!(upload.offset().await, 3);
    let right = upload.request(&head(&sha1(b"def")), b"def").await;
    assert_eq!(right.expect(204).offset(), 6);
    upload.verify(b"abcdef").await;
}

pub(super) async fn a_refusal_is_a_short_text(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let patch = || upload.patch_head(1).sized(1);
    let table = [
        (patch(), "a", 409, "offset_mismatch: "),
        (patch().without("Content-Type"), "a", 415, "unsupported_media_type: "),
        (patch().without("Upload-Offset"), "a", 400, "missing_header: "),
        (Head::new("GET", "/files"), "", 405, "method_not_allowed: "),
        (Head::create("/files", u64::MAX >> 1), "", 413, "too_large: "),
    ];
    for (head, body, status, text) in table {
        let answer = server.request(&head, body.as_bytes()).await.expect(status);
        assert!(answer.text().starts_with(text), "{answer:?}");
        assert!(answer.text().ends_with('\n'), "{answer:?}");
        assert_eq!(answer.all("content-type"), ["text/plain; charset=utf-8"]);
        assert_eq!(answer.all("content-length"), [answer.body.len().to_string()]);
    }
    let refused = server.request(&Head::new("GET", "/files"), b"").await;
    assert_eq!(refused.header("allow"), Some("OPTIONS, POST"));
}

pub(super) async fn discovery_needs_no_version_and_tells_what_this_adapter_can(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    for target in ["/files", "/files/", &upload.path] {
        let told = server.request(&Head::plain("OPTIONS", target), b"").await;
        let told = told.expect(204);
        assert_eq!(told.header("tus-version"), Some("1.0.0"));
        let extensions: Vec<_> =
            told.header("tus-extension").unwrap_or_default().split(',').collect();
        assert!(extensions.contains(&"creation-with-upload"), "{told:?}");
        let trailers = extensions.contains(&"checksum-trailer");
        assert_eq!(trailers, subject.abilities().trailers, "{told:?}");
    }
}

pub(super) async fn a_browser_of_another_origin_is_let_in(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let preflight = Head::plain("OPTIONS", &upload.path)
        .with("Origin", "https://page.test")
        .with("Access-Control-Request-Method", "PATCH")
        .with("Access-Control-Request-Headers", "tus-resumable,upload-offset");
    let answer = server.request(&preflight, b"").await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
    let methods = answer.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{answer:?}");
    let asked = Head::new("HEAD", &upload.path).with("Origin", "https://page.test");
    let answer = server.request(&asked, b"").await.expect(200);
    assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("upload-offset"), "{answer:?}");
}

pub(super) async fn http_1_0_is_served_without_interim_responses(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let asked = Head::new("HEAD", &upload.path).http_1_0();
    let answer = server.request(&asked, b"").await.expect(200);
    assert_eq!(answer.offset(), 0);
    // RFC 9110, section 10.1.1: from HTTP/1.0 the expectation must be ignored.
    let patch = upload.patch_head(0).sized(3).http_1_0();
    let mut client = server.connect().await;
    let answer = client.request(&patch.with("Expect", "100-continue"), b"abc").await;
    assert_eq!(answer.interim, [0_u16; 0], "{answer:?}");
    answer.expect(204);
    client.closed().await;
    upload.verify(b"abc").await;
}

pub(super) async fn bytes_beyond_ascii_in_a_foreign_header_do_no_harm(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let head = Head::new("HEAD", &upload.path).with_bytes("X-Name", b"caf\xe9 \xff".to_vec());
    server.request(&head, b"").await.expect(200);
    let head = Head::create("/files", 3).with_bytes("Upload-Metadata", b"name \xff\xfe".to_vec());
    server.request(&head, b"").await.expect(400);
}
