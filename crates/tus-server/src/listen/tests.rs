use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

mod interim;
mod limits;
mod streams;
mod tls;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

/// Limits that no test meets by chance, with these times for everything.
fn limits(network: Duration, shutdown: Duration) -> Limits {
    Limits {
        capacity: Capacity { connections: 1000, per_address: None, proxies: Vec::new() },
        head: network,
        keep_alive: network,
        life: None,
        patience: network,
        rate: None,
        head_size: 64 * 1024,
        head_fields: 100,
        streams: 128,
        resets: 200,
        shutdown,
    }
}

fn patient() -> Limits {
    limits(LONG, LONG)
}

fn impatient() -> Limits {
    limits(SHORT, LONG)
}

/// Fails the test when something that must happen does not.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG / 3, future).await.expect("this happens in time")
}

struct Server {
    address: Address,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Stopped>,
}

impl Server {
    fn of(listener: Listener, app: Router, limits: Limits) -> Self {
        let address = listener.address().clone();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap() };
        let served = tokio::spawn(listener.serve(app, limits, shutdown));
        Self { address, stop, served }
    }

    async fn start(app: Router, limits: Limits) -> Self {
        Self::of(Listener::tcp("127.0.0.1", 0).await.unwrap(), app, limits)
    }

    async fn connect(&self) -> TcpStream {
        let (Address::Tcp(address) | Address::Tls(address)) = self.address else {
            panic!("a unix socket")
        };
        TcpStream::connect(address).await.unwrap()
    }

    async fn stop(self) -> Stopped {
        self.stop.send(()).unwrap();
        soon(self.served).await.unwrap()
    }
}

fn hello() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/peer", get(async |peer: Extension<Peer>| format!("{:?}", peer.addr)))
        .route("/refuse", post(async || StatusCode::CONFLICT))
}

/// A route that says that it was entered, and answers when it is told to.
fn held() -> (Router, mpsc::Receiver<()>, Arc<Semaphore>) {
    let (entered, enters) = mpsc::channel(8);
    let release = Arc::new(Semaphore::new(0));
    let released = release.clone();
    let app = Router::new().route(
        "/",
        get(async move || {
            entered.send(()).await.unwrap();
            released.acquire().await.unwrap().forget();
            "held"
        }),
    );
    (app, enters, release)
}

fn head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: tus\r\n\r\n")
}

/// Reads one response that ends with this body.
async fn response(stream: &mut (impl AsyncReadExt + Unpin), body: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(body.as_bytes()) {
        let more = soon(stream.read_buf(&mut read)).await.unwrap();
        assert_ne!(more, 0, "{:?}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    soon(stream.read_to_end(&mut read)).await.unwrap();
    read
}

#[tokio::test]
async fn a_peer_that_sends_too_little_is_closed_after_the_timeout() {
    let server = Server::start(hello(), impatient()).await;
    for sent in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET / HTTP/1.1\r\nHost: tu"] {
        let began = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{sent:?}");
        assert!(began.elapsed() >= SHORT, "{sent:?}");
    }
    assert_eq!(server.stop().await, Stopped { cut: 0 });
}

#[tokio::test]
async fn a_head_that_arrives_byte_by_byte_is_read() {
    let server = Server::start(hello(), patient()).await;
    let mut stream = server.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in head("/").bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    response(&mut stream, "hello").await;
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_is_closed_when_idle() {
    let server = Server::start(hello(), impatient()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(head("/").as_bytes()).await.unwrap();
        assert!(response(&mut stream, "hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_idle() {
    let slow = Router::new().route(
        "/",
        get(async || {
            tokio::time::sleep(SHORT * 3).await;
            "slow"
        }),
    );
    let server = Server::start(slow, impatient()).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut stream, "slow").await;
}

#[tokio::test]
async fn requests_know_their_peer() {
    let server = Server::start(hello(), patient()).await;
    let mut stream = server.connect().await;
    let own = format!("{:?}", Some(stream.local_addr().unwrap()));
    stream.write_all(head("/peer").as_bytes()).await.unwrap();
    response(&mut stream, &own).await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let server = Server::start(hello(), patient()).await;
    let mut stream = server.connect().await;
    let long = format!("GET / HTTP/1.1\r\nHost: tus\r\nX-Long: {}", "x".repeat(64 * 1024));
    stream.write_all(long.as_bytes()).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start(hello(), patient()).await;
    let mut stream = server.connect().await;
    let body = vec![0; 32 << 20];
    let head =
        format!("POST /refuse HTTP/1.1\r\nHost: tus\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    soon(stream.write_all(&body)).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 409 Conflict\r\n"), "{answer}");
}

/// A body without end, that tells when it is dropped.
struct Endless(#[expect(dead_code, reason = "its drop is the message")] oneshot::Sender<()>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 64 * 1024])))))
    }
}

#[tokio::test]
async fn a_peer_that_takes_no_response_is_cut() {
    let (dropped, drops) = oneshot::channel();
    let body = Arc::new(std::sync::Mutex::new(Some(Endless(dropped))));
    let app = Router::new()
        .route("/", get(async move || AxumBody::new(body.lock().unwrap().take().unwrap())));
    let server = Server::start(app, impatient()).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    assert!(soon(drops).await.is_err());
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_no_other() {
    let app = hello().route("/panic", get(async || -> &str { panic!("on purpose") }));
    let server = Server::start(app, patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/panic").as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut stream, "hello").await;
}

async fn http2(
    server: &Server,
) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(server.connect().await);
    let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (client, tokio::spawn(connection))
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://tus/").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn http2_is_spoken_with_prior_knowledge_and_many_requests_at_once() {
    let (app, mut enters, release) = held();
    let server = Server::start(app, patient()).await;
    let (client, _connection) = http2(&server).await;
    let (mut one, mut other) = (client.clone(), client);
    let (one, other) = (one.send_request(request()), other.send_request(request()));
    let (one, other) = (tokio::spawn(one), tokio::spawn(other));
    for _ in 0..2 {
        soon(enters.recv()).await.unwrap();
    }
    release.add_permits(2);
    for answer in [one, other] {
        let answer = soon(answer).await.unwrap().unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "held");
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let server = Server::start(hello(), impatient()).await;
    let (mut client, connection) = http2(&server).await;
    let answer = soon(client.send_request(request())).await.unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "hello");
    soon(connection).await.unwrap().unwrap();
    assert!(soon(client.ready()).await.is_err());
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_be_answered() {
    let (app, mut enters, release) = held();
    let server = Server::start(app, patient()).await;
    let Address::Tcp(address) = server.address else { panic!("a unix socket") };
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    let (mut client, _connection) = http2(&server).await;
    let answer = tokio::spawn(client.send_request(request()));
    for _ in 0..2 {
        soon(enters.recv()).await.unwrap();
    }
    server.stop.send(()).unwrap();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!server.served.is_finished());
    release.add_permits(2);
    assert!(response(&mut stream, "held").await.contains("connection: close\r\n"));
    assert_eq!(rest(&mut stream).await, b"");
    drop(stream);
    let answer = soon(answer).await.unwrap().unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "held");
    drop(client);
    assert_eq!(soon(server.served).await.unwrap(), Stopped { cut: 0 });
}

#[tokio::test]
async fn a_stop_waits_for_no_idle_connection() {
    let server = Server::start(hello(), patient()).await;
    let silent = server.connect().await;
    let mut kept = server.connect().await;
    kept.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut kept, "hello").await;
    let served = tokio::spawn(server.stop());
    for mut stream in [silent, kept] {
        assert_eq!(rest(&mut stream).await, b"");
    }
    assert_eq!(soon(served).await.unwrap(), Stopped { cut: 0 });
}

#[tokio::test]
async fn what_is_in_flight_after_the_grace_is_cut_and_counted() {
    let (app, mut enters, _release) = held();
    let server = Server::start(app, limits(LONG, SHORT)).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    soon(enters.recv()).await.unwrap();
    assert_eq!(server.stop().await, Stopped { cut: 1 });
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_way_out() {
    let taken = Listener::tcp("127.0.0.1", 0).await.unwrap();
    let Address::Tcp(address) = *taken.address() else { panic!("a unix socket") };
    assert_ne!(address.port(), 0);
    assert_eq!(taken.address().to_string(), format!("http://127.0.0.1:{}", address.port()));
    let refused = Listener::tcp("127.0.0.1", address.port()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "address in use: another process listens on {address}; use --port, or stop that \
             process"
        )
    );
}

#[tokio::test]
async fn a_host_that_is_not_here_is_named_with_a_way_out() {
    // TEST-NET-1: no machine has this address.
    let refused = Listener::tcp("192.0.2.1", 0).await.unwrap_err().to_string();
    assert!(refused.starts_with("cannot listen on 192.0.2.1:0 ("), "{refused}");
    assert!(refused.ends_with("; use a --host that is an address of this machine"), "{refused}");
}

async fn ask_peer(path: &Path) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(head("/peer").as_bytes()).await.unwrap();
    response(&mut stream, "None").await;
}

#[tokio::test]
async fn a_unix_socket_is_for_its_group_and_gone_after_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tus.sock");
    let listener = Listener::unix(&path).await.unwrap();
    assert_eq!(listener.address().to_string(), format!("unix:{}", path.display()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let server = Server::of(listener, hello(), patient());
    ask_peer(&path).await;
    assert_eq!(server.stop().await, Stopped { cut: 0 });
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_that_nobody_listens_on_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tus.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::of(Listener::unix(&path).await.unwrap(), hello(), patient());
    ask_peer(&path).await;
    server.stop().await;
}

#[tokio::test]
async fn a_socket_that_somebody_listens_on_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tus.sock");
    let server = Server::of(Listener::unix(&path).await.unwrap(), hello(), patient());
    let refused = Listener::unix(&path).await.unwrap_err().to_string();
    assert!(refused.starts_with("address in use: another process listens on "), "{refused}");
    ask_peer(&path).await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "data").unwrap();
    let refused = Listener::unix(&path).await.unwrap_err().to_string();
    assert!(refused.contains("exists and is no socket"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[tokio::test]
async fn a_socket_that_another_has_put_in_place_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tus.sock");
    let old = Listener::unix(&path).await.unwrap();
    // The old file lives on under another name, so its inode cannot be given out again.
    fs::rename(&path, dir.path().join("old.sock")).unwrap();
    let new = Server::of(Listener::unix(&path).await.unwrap(), hello(), patient());
    drop(old);
    ask_peer(&path).await;
    new.stop().await;
}
