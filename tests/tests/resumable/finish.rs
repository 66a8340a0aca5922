//! An ordinary handler as `on_finish`.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use tus_core::{Arrival, Finished, HookError, MemoryStore, Reply, Resumed, Tus};

/// What a handler saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    line: String,
    kind: String,
    disposition: String,
    credentials: bool,
    event: String,
    bytes: Vec<u8>,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// Uploads `text` as a whole in tus, with credentials; returns the answer.
async fn upload<F, R>(on_finish: F, text: &'static str) -> (http::StatusCode, String, Tus)
where
    F: Fn(Finished) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Reply, HookError>> + Send + 'static,
{
    let store = MemoryStore::default();
    let tus = Tus::builder().store(store).on_finish(on_finish).build().expect("a service");
    let request = Request::post("/files")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", text.len())
        .header("upload-metadata", "filename YSBiLnR4dA==,filetype dGV4dC9wbGFpbg==")
        .header(header::CONTENT_TYPE, "application/offset+octet-stream")
        .header(header::AUTHORIZATION, "secret")
        .body(Full::new(text.into()));
    let answer = tus.handle(request.expect("a request"), Arrival::at("/files")).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"), tus)
}

fn check(log: &Log) {
    let seen = log.lock().unwrap().clone();
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(seen.line, "POST /");
    assert_eq!(seen.kind, "text/plain");
    assert!(seen.disposition.contains("filename=\"a b.txt\""), "{}", seen.disposition);
    assert!(!seen.credentials, "the client's credentials");
    assert!(!seen.event.is_empty());
    assert_eq!(seen.bytes, b"hello");
}

/// What a handler does with a text.
fn verdict(bytes: &[u8]) -> (u16, String) {
    match bytes {
        b"bad" => (415, "not that\n".to_owned()),
        b"ill" => (500, "not now\n".to_owned()),
        bytes => (202, format!("{} bytes\n", bytes.len())),
    }
}

async fn answers<F, R>(on_finish: impl Fn(Log) -> F)
where
    F: Fn(Finished) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Reply, HookError>> + Send + 'static,
{
    let log = Log::default();
    let (status, body, _tus) = upload(on_finish(log.clone()), "hello").await;
    assert_eq!((status.as_u16(), body.as_str()), (202, "5 bytes\n"));
    check(&log);
    let (status, body, _tus) = upload(on_finish(Log::default()), "bad").await;
    assert_eq!((status.as_u16(), body.as_str()), (415, "not that\n"));
    let (status, ..) = upload(on_finish(Log::default()), "ill").await;
    assert_eq!(status.as_u16(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_axum_is_told_of_a_finish_and_answers_for_it() {
    use axum::{
        Extension,
        http::{HeaderMap, Method, StatusCode, Uri},
        routing::post,
    };
    answers(|log| {
        let handler = async move |method: Method,
                                  uri: Uri,
                                  headers: HeaderMap,
                                  Extension(resumed): Extension<Resumed>,
                                  bytes: axum::body::Bytes| {
            let of = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
            log.lock().unwrap().push(Seen {
                line: format!("{method} {uri}"),
                kind: of(header::CONTENT_TYPE).to_owned(),
                disposition: of(header::CONTENT_DISPOSITION).to_owned(),
                credentials: headers.contains_key(header::AUTHORIZATION),
                event: resumed.event_id,
                bytes: bytes.to_vec(),
            });
            let (status, text) = verdict(&bytes);
            (StatusCode::from_u16(status).unwrap(), text)
        };
        tus_axum::on_finish(post(handler))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_actix_is_told_of_a_finish_and_answers_for_it() {
    use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web, web::ReqData};
    answers(|log| {
        tus_actix::on_finish(move |app| {
            let handler = move |request: HttpRequest, resumed: ReqData<Resumed>, it: web::Bytes| {
                let headers = request.headers();
                let of = |name: &str| headers.get(name).map_or("", |v| v.to_str().unwrap());
                log.lock().unwrap().push(Seen {
                    line: format!("{} {}", request.method(), request.uri()),
                    kind: of("content-type").to_owned(),
                    disposition: of("content-disposition").to_owned(),
                    credentials: headers.contains_key("authorization"),
                    event: resumed.event_id.clone(),
                    bytes: it.to_vec(),
                });
                let (status, text) = verdict(&it);
                let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap());
                async move { answer.body(text) }
            };
            app.route("/", web::post().to(handler));
        })
    })
    .await;
}
