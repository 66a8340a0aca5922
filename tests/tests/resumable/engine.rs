//! What holds for every framework, asked of the engine itself.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tus_core::{Arrival, Body, MemoryStore, Policy, Tus};

const MOUNT: &str = "/up";

fn service(policy: Policy) -> Tus {
    Tus::builder().store(MemoryStore::default()).policy(policy).build().expect("a service")
}

fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request")
}

/// Asks an application whose handler is this one.
async fn ask<F>(
    tus: &Tus,
    request: Request<Full<Bytes>>,
    handler: impl FnOnce(Request<Body>) -> F,
) -> (StatusCode, HeaderMap, String)
where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let (method, path) = (request.method(), request.uri().path());
    let arrival = tus.arrival(method, path, request.headers(), MOUNT).expect("one of ours");
    let (head, body) = tus.resume(request, arrival, handler).await.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).expect("text"))
}

async fn echo(request: Request<Body>) -> Response<Full<Bytes>> {
    Response::new(Full::new(request.into_body().collect().await.expect("bytes").to_bytes()))
}

async fn begin(tus: &Tus) -> String {
    let begun = request(Method::POST, "/words", &[("upload-complete", "?0")], "");
    let (status, headers, _) = ask(tus, begun, echo).await;
    assert_eq!(status, StatusCode::CREATED);
    headers["location"].to_str().expect("text").to_owned()
}

fn append(url: &str, offset: &str, body: &str) -> Request<Full<Bytes>> {
    let headers = [
        ("upload-complete", "?1"),
        ("upload-offset", offset),
        ("content-type", "application/partial-upload"),
    ];
    request(Method::PATCH, url, &headers, body)
}

#[tokio::test]
async fn an_upload_is_known_only_where_it_was_begun() {
    let tus = service(Policy::default());
    let url = begin(&tus).await;
    let elsewhere = url.replace(MOUNT, "/files");
    for method in [Method::HEAD, Method::DELETE] {
        let asked = request(method, &elsewhere, &[], "");
        let answer = tus.handle(asked, Arrival::at("/files")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }
    let (status, _, body) = ask(&tus, append(&url, "0", "abc"), echo).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "abc"));
}

#[tokio::test]
async fn of_the_first_request_nothing_is_kept_that_says_who_asks() {
    let tus = service(Policy::default());
    let first = "http://ann:secret@photos.test/words?album=1";
    let begun = request(Method::POST, first, &[("upload-complete", "?0")], "");
    let (_, headers, _) = ask(&tus, begun, echo).await;
    let url = headers["location"].to_str().expect("text").to_owned();
    let whom = async |request: Request<Body>| {
        Response::new(Full::new(Bytes::from(request.uri().to_string())))
    };
    let (status, _, uri) = ask(&tus, append(&url, "0", ""), whom).await;
    assert_eq!((status, uri.as_str()), (StatusCode::OK, "/words?album=1"));
}

#[tokio::test]
async fn who_may_read_a_handlers_answer_is_not_for_us_to_say() {
    let tus = service(Policy::default());
    let url = begin(&tus).await;
    let with_origin = |mut request: Request<Full<Bytes>>| {
        let page = http::HeaderValue::from_static("https://page.test");
        request.headers_mut().insert(http::header::ORIGIN, page);
        request
    };
    let granted = |headers: &HeaderMap| headers.contains_key("access-control-allow-origin");
    let (_, refused, _) = ask(&tus, with_origin(append(&url, "7", "")), echo).await;
    assert!(granted(&refused), "what is ours, the policy grants");
    let (status, answered, _) = ask(&tus, with_origin(append(&url, "0", "x")), echo).await;
    assert!(status.is_success() && !granted(&answered));
}

#[tokio::test]
async fn whoever_hides_an_upload_hides_it_in_both_dialects() {
    let hides = |_, intent: tus_core::Intent| async move {
        match intent.upload {
            Some(_) => Err(tus_core::Rejection::not_found().into()),
            None => Ok(()),
        }
    };
    let store = MemoryStore::default();
    let tus = Tus::builder().store(store).authorize(hides).build().expect("a service");
    let made = request(Method::POST, "/files", &[("upload-complete", "?0")], "");
    let made = tus.handle(made, Arrival::at("/files")).await;
    let known = made.headers()["location"].to_str().expect("text").to_owned();
    for headers in [&[][..], &[("tus-resumable", "1.0.0")]] {
        let mut answers = Vec::new();
        for url in [known.as_str(), "/files/unknown"] {
            let asked = request(Method::DELETE, url, headers, "");
            let (head, body) = tus.handle(asked, Arrival::at("/files")).await.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let id = head.headers["x-request-id"].to_str().expect("text").to_owned();
            let mut fields = head.headers;
            fields.remove("x-request-id");
            let text = String::from_utf8(body.to_vec()).expect("text").replace(&id, "");
            answers.push((head.status, fields, text));
        }
        assert_eq!(answers[0].0, StatusCode::NOT_FOUND);
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_given_up_and_the_upload_kept() {
    let mut policy = Policy::default();
    policy.handler_timeout = Duration::from_secs(60);
    let tus = service(policy);
    let url = begin(&tus).await;
    let hang = |_: Request<Body>| std::future::pending();
    let (status, headers, _) = ask(&tus, append(&url, "0", "abc"), hang).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["upload-complete"], "?0");
    let (status, _, body) = ask(&tus, append(&url, "3", ""), echo).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "abc"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept() {
    let tus = service(Policy::default());
    let url = begin(&tus).await;
    let arrival = |request: &Request<Full<Bytes>>| {
        let (method, path) = (request.method(), request.uri().path());
        tus.arrival(method, path, request.headers(), MOUNT).expect("one of ours")
    };
    let asked = append(&url, "0", "abc");
    let broken = async |_: Request<Body>| {
        let pieces: [Result<_, std::io::Error>; 2] = [
            Ok(http_body::Frame::data(Bytes::from_static(b"half"))),
            Err(std::io::Error::other("broken")),
        ];
        let pieces = futures_util::stream::iter(pieces);
        Response::new(http_body_util::StreamBody::new(pieces))
    };
    let answer = tus.resume(asked, arrival(&append(&url, "0", "")), broken).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["upload-complete"], "?0");
    let (status, _, body) = ask(&tus, append(&url, "3", ""), echo).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "abc"));
}
