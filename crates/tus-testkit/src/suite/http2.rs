//! HTTP/2 without TLS: streams that end and break in their own way.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, sync::watch, task::JoinHandle};
use tus_core::Reply;

use super::{Subject, policy, uploads, watched_uploads};
use crate::{
    harness::{App, Server},
    payload::pattern,
    store::Call,
    upload::Upload,
    waiting::within,
};

const WHOLE: usize = 300_000;
const HALF: usize = 130_000;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that speaks HTTP/2.
struct Http2 {
    send: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addr).await.expect("a connection");
        let io = TokioIo::new(stream);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (send, connection) = within("HTTP/2", shaken).await.expect("HTTP/2");
        Self { send, connection: tokio::spawn(connection) }
    }

    async fn request(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        within("an answer", self.send.send_request(request)).await
    }

    async fn create(&mut self, server: &Server, length: usize) -> Upload {
        let request = request("POST", "/files").header("Upload-Length", length);
        let answer = self.request(empty(request)).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
        let location = answer.headers()["location"].to_str().expect("text");
        Upload { addr: server.addr, path: location.to_owned() }
    }

    async fn offset(&mut self, upload: &Upload) -> u64 {
        let request = request("HEAD", &upload.path);
        let answer = self.request(empty(request)).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let offset = answer.headers()["upload-offset"].to_str().expect("text");
        offset.parse().expect("a number")
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    let request = Request::builder().method(method).header("Tus-Resumable", "1.0.0");
    request.uri(format!("http://uploads.test{path}"))
}

fn patch(upload: &Upload, offset: u64) -> http::request::Builder {
    request("PATCH", &upload.path)
        .header("Content-Type", "application/offset+octet-stream")
        .header("Upload-Offset", offset)
}

fn with_body<B>(request: http::request::Builder, body: B) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<io::Error>,
{
    let body = body.map_err(Into::into).boxed_unsync();
    request.body(body).expect("a request")
}

fn empty(request: http::request::Builder) -> Request<Body> {
    with_body(request, Empty::new().map_err(never))
}

fn full(request: http::request::Builder, bytes: Bytes) -> Request<Body> {
    with_body(request, Full::new(bytes).map_err(never))
}

fn never(no: Infallible) -> io::Error {
    match no {}
}

/// A body whose pieces the test sends one by one; an error resets the stream.
fn piecewise() -> (mpsc::Sender<io::Result<Bytes>>, impl Stream<Item = io::Result<Frame<Bytes>>>) {
    let (send, pieces) = mpsc::channel(1);
    let pieces = futures_util::stream::unfold(pieces, async |mut pieces| {
        let next: Option<io::Result<Bytes>> = pieces.recv().await;
        next.map(|next| (next, pieces))
    });
    (send, pieces.map(|piece| piece.map(Frame::data)))
}

fn start_http2(subject: Subject, tus: tus_core::TusBuilder) -> Server {
    let mut app = App::new(tus);
    app.http2 = true;
    subject.start(app)
}

pub(super) async fn an_upload_works_over_http2(subject: Subject) {
    let (_, tus) = watched_uploads();
    let server = start_http2(subject, tus);
    let bytes = pattern(WHOLE, 1);
    let mut http2 = Http2::connect(&server).await;
    let upload = http2.create(&server, WHOLE).await;
    assert!(upload.path.starts_with("/files/"), "{}", upload.path);
    assert_eq!(http2.offset(&upload).await, 0);
    let answer = http2.request(full(patch(&upload, 0), bytes.slice(..HALF))).await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::NO_CONTENT);
    // Without a Content-Length, and with an end of stream of its own.
    let (send, pieces) = piecewise();
    let rest =
        http2.send.send_request(with_body(patch(&upload, HALF as u64), StreamBody::new(pieces)));
    let sending = async {
        for piece in bytes[HALF..].chunks(10_000) {
            send.send(Ok(Bytes::copy_from_slice(piece))).await.expect("a stream");
        }
        drop(send);
    };
    let (answer, ()) = within("an upload", async { tokio::join!(rest, sending) }).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.headers()["upload-offset"], WHOLE.to_string());
    let got = http2.request(empty(request("GET", &upload.path))).await.expect("an answer");
    let got = got.into_body().collect().await.expect("a body").to_bytes();
    assert!(got == bytes, "other bytes");
    // Both versions are spoken on the one port.
    upload.verify(&bytes).await;
}

pub(super) async fn a_stream_that_is_reset_in_mid_body_keeps_what_arrived(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = start_http2(subject, tus);
    let bytes = pattern(WHOLE, 1);
    let mut http2 = Http2::connect(&server).await;
    for sized in [false, true] {
        let upload = http2.create(&server, WHOLE).await;
        let before = store.written() as usize;
        let (send, pieces) = piecewise();
        let head = match sized {
            true => patch(&upload, 0).header("Content-Length", WHOLE),
            false => patch(&upload, 0),
        };
        let answer = http2.send.send_request(with_body(head, StreamBody::new(pieces)));
        let answer = tokio::spawn(answer);
        send.send(Ok(bytes.slice(..HALF))).await.expect("a stream");
        store.wait_written(before + HALF).await;
        send.send(Err(io::Error::other("the client changed its mind"))).await.expect("a stream");
        let answer = within("the stream to end", answer).await.expect("no panic");
        assert!(answer.is_err(), "sized: {sized}: {answer:?}");
        assert_eq!(http2.offset(&upload).await, HALF as u64, "sized: {sized}");
        let rest = full(patch(&upload, HALF as u64), bytes.slice(HALF..));
        let answer = http2.request(rest).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        upload.verify(&bytes).await;
    }
}

pub(super) async fn a_client_that_leaves_http2_during_the_commit_cancels_nothing(subject: Subject) {
    let (store, tus) = watched_uploads();
    let announced = watch::Sender::new(0);
    let tus = tus.on_finish({
        let announced = announced.clone();
        move |_| {
            announced.send_modify(|count| *count += 1);
            async { Ok(Reply::new()) }
        }
    });
    let server = start_http2(subject, tus);
    let bytes = pattern(WHOLE, 1);
    let mut http2 = Http2::connect(&server).await;
    let upload = http2.create(&server, WHOLE).await;
    let held = store.hold(Call::Sync);
    let answer = http2.send.send_request(full(patch(&upload, 0), bytes.clone()));
    let answer = tokio::spawn(answer);
    held.reached().await;
    // The stream is cancelled, then the whole connection goes away.
    answer.abort();
    assert_eq!(http2.create(&server, 1).await.offset().await, 0);
    http2.connection.abort();
    for _ in 0..5 {
        let hello = crate::Head::plain("GET", "/hello");
        server.request(&hello, b"").await.expect(200);
    }
    assert_eq!(*announced.borrow(), 0, "the sync was not held");
    held.release();
    let mut told = announced.subscribe();
    drop(within("on_finish", told.wait_for(|count| *count > 0)).await.expect("a hook"));
    upload.verify(&bytes).await;
    assert_eq!(*announced.borrow(), 1);
}

pub(super) async fn a_body_that_never_begins_over_http2_is_not_waited_for(subject: Subject) {
    let mut policy = policy();
    policy.idle_timeout = Duration::from_millis(300);
    let server = start_http2(subject, uploads().policy(policy));
    let mut http2 = Http2::connect(&server).await;
    let upload = http2.create(&server, WHOLE).await;
    for (offset, status) in [(0, 408), (7, 409)] {
        // Open until the answer is there: neither bytes nor an end come.
        let (send, pieces) = piecewise();
        let head = patch(&upload, offset);
        let answer = http2.request(with_body(head, StreamBody::new(pieces))).await;
        assert_eq!(answer.expect("an answer").status(), status);
        drop(send);
    }
    assert_eq!(http2.offset(&upload).await, 0);
}
