//! Where uploads are found, and where they are not.

use super::{Subject, start, uploads};
use crate::{
    harness::App,
    head::Head,
    payload::pattern,
    response::Response,
    upload::{Framing, Upload},
};

pub(super) async fn both_forms_of_the_mount_create_an_upload(subject: Subject) {
    let server = start(subject);
    for target in ["/files", "/files/"] {
        let created = server.request(&Head::create(target, 3), b"").await;
        let created = created.expect(201);
        let location = created.header("location").unwrap_or_default();
        let id = location.strip_prefix("/files/").unwrap_or_default();
        assert!(!id.is_empty() && !id.contains('/'), "{target}: {created:?}");
        let upload = Upload::told_by(server.addr, &created);
        assert_eq!(upload.offset().await, 0, "{target}");
    }
}

pub(super) async fn nested_under_a_prefix_the_location_is_the_whole_path_and_works(
    subject: Subject,
) {
    let mut app = App::new(uploads());
    app.prefix = "/api/v1";
    let server = subject.start(app);
    let bytes = pattern(10_000, 1);
    for target in ["/api/v1/files", "/api/v1/files/"] {
        let head = Head::create(target, bytes.len() as u64);
        let upload = Upload::create_with(server.addr, &head).await;
        let id = upload.path.strip_prefix("/api/v1/files/");
        assert!(id.is_some_and(|id| !id.contains('/')), "{}", upload.path);
        upload.patch(0, &bytes[..4_000]).await.expect(204);
        assert_eq!(upload.resume(&bytes).await, 4_000);
        upload.delete().await.expect(204);
        upload.head().await.expect(404);
    }
    let outside = server.request(&Head::create("/files", 3), b"").await;
    assert_eq!(outside.status, 404, "{outside:?}");
}

/// Asks for a path that names nothing, in every way, and says what was wrong with the answers.
async fn not_found_in_the_words_of_tus(subject: Subject, tails: &[String]) {
    let server = start(subject);
    let mut wrong = Vec::new();
    for tail in tails {
        let target = format!("/files{tail}");
        let patch = Upload { addr: server.addr, path: target.clone() };
        let heads = [
            Head::new("HEAD", &target),
            Head::new("DELETE", &target),
            Head::new("GET", &target),
            Framing::Sized.announce(patch.patch_head(0), 0),
        ];
        for head in heads {
            let answer = server.request(&head, b"").await;
            let right = answer.status == 404
                && answer.header("tus-resumable") == Some("1.0.0")
                && (answer.body.starts_with(b"not_found: ") || answer.body.is_empty());
            if !right {
                let line =
                    String::from_utf8_lossy(&head.to_bytes()).lines().next().map(str::to_owned);
                wrong.push(format!("{line:.60?}: {} {:?}", answer.status, answer.headers));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(super) async fn ids_that_cannot_exist_are_not_found_in_the_words_of_tus(subject: Subject) {
    let mut tails: Vec<String> = [
        "/unknown",
        "/.",
        "/..",
        "/...",
        "/abc.rec",
        "/.abc",
        "/%41bc",
        "/%2e%2e",
        "/a%2Fb",
        "/%2F",
        "/a%5Cb",
        "/a%00b",
        "/%ff",
        "/%zz",
        "/%",
        "/a;b",
        "/a+b",
        "/a:b",
        "/a~b",
        "/a@b",
        "/{id}",
        "/%7Bid%7D",
        "/*",
    ]
    .map(str::to_owned)
    .to_vec();
    tails.push(format!("/{}", "a".repeat(129)));
    tails.push(format!("/{}", "a".repeat(5_000)));
    not_found_in_the_words_of_tus(subject, &tails).await;
}

pub(super) async fn paths_deeper_than_an_upload_are_not_found_in_the_words_of_tus(
    subject: Subject,
) {
    let tails = ["/abc/", "/a/b", "//", "//abc", "/a/b/c/", "/../files/abc"];
    not_found_in_the_words_of_tus(subject, &tails.map(str::to_owned)).await;
}

pub(super) async fn an_id_in_percent_encoding_names_no_upload(subject: Subject) {
    let server = start(subject);
    let upload = server.create(3).await;
    let id = upload.id();
    let encoded =
        Upload { addr: server.addr, path: format!("/files/%{:02x}{}", id.as_bytes()[0], &id[1..]) };
    encoded.head().await.expect(404);
    encoded.patch(0, b"abc").await.expect(404);
    encoded.delete().await.expect(404);
    assert_eq!(upload.offset().await, 0);
}

pub(super) async fn other_routes_of_the_application_are_untouched(subject: Subject) {
    let server = start(subject);
    let ours = |answer: &Response| answer.header("tus-resumable").is_some();
    let hello = server.request(&Head::plain("GET", "/hello"), b"").await;
    assert_eq!((hello.status, hello.text()), (200, "hello"), "{hello:?}");
    assert!(!ours(&hello), "{hello:?}");
    for head in [
        Head::create("/filesx", 3),
        Head::create("/", 3),
        Head::new("HEAD", "/nowhere"),
        Head::new("DELETE", "/file/abc"),
    ] {
        let answer = server.request(&head, b"").await;
        assert!(answer.status == 404 && !ours(&answer), "{head:?}: {answer:?}");
    }
}

pub(super) async fn a_query_is_no_part_of_the_location(subject: Subject) {
    let server = start(subject);
    let upload = Upload::create_with(server.addr, &Head::create("/files?a=/b", 3)).await;
    assert_eq!(upload.path, format!("/files/{}", upload.id()));
    let queried = Upload { addr: server.addr, path: format!("{}?token=a/b", upload.path) };
    queried.patch(0, b"abc").await.expect(204);
    upload.verify(b"abc").await;
}

pub(super) async fn the_absolute_form_of_a_target_works(subject: Subject) {
    let server = start(subject);
    let head = Head::create("http://uploads.test/files", 3);
    let upload = Upload::create_with(server.addr, &head).await;
    assert!(upload.path.starts_with("/files/"), "{}", upload.path);
    let absolute =
        Upload { addr: server.addr, path: format!("http://uploads.test{}", upload.path) };
    absolute.patch(0, b"abc").await.expect(204);
    upload.verify(b"abc").await;
}
