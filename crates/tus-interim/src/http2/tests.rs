use std::{convert::Infallible, future::poll_fn, io};

use h2::{
    Reason, RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Channel, Empty, Full, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tus_core::Interim;

use super::*;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A service of a closure, for a clone of which each request is one call.
#[derive(Clone)]
struct Serve<F>(F);

impl<F, R> Service<Request<RecvBody>> for Serve<F>
where
    F: FnMut(Request<RecvBody>) -> R,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RecvBody>) -> Self::Future {
        let response = self.0(request);
        Box::pin(async move { Ok(response.await) })
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|no| match no {}).boxed_unsync()
}

fn empty() -> Body {
    Empty::new().map_err(|no: Infallible| match no {}).boxed_unsync()
}

fn resumption() -> StatusCode {
    StatusCode::from_u16(104).unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let timed = tokio::time::timeout(Duration::from_secs(60), future).await;
    timed.unwrap_or_else(|_| panic!("{what} does not come"))
}

struct Pair {
    client: SendRequest<Bytes>,
    /// The client's side of the connection.
    theirs: JoinHandle<Result<(), h2::Error>>,
    stop: oneshot::Sender<()>,
    ours: JoinHandle<Result<(), Error>>,
}

/// A connection whose server is stopped gently by `stop`.
async fn pair<F, R>(builder: Builder, window: u32, service: F) -> Pair
where
    F: FnMut(Request<RecvBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let (theirs, io) = duplex(64 * 1024);
    let (stop, ours) = run(builder, io, service);
    let mut client = client::Builder::new();
    client.initial_window_size(window).enable_push(false);
    let (client, connection) = client.handshake(theirs).await.unwrap();
    Pair { client, theirs: tokio::spawn(connection), stop, ours }
}

fn run<F, R>(
    builder: Builder,
    io: DuplexStream,
    service: F,
) -> (oneshot::Sender<()>, JoinHandle<Result<(), Error>>)
where
    F: FnMut(Request<RecvBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let (stop, stopped) = oneshot::channel();
    let ours = tokio::spawn(async move {
        let mut connection = std::pin::pin!(builder.serve_connection(io, Serve(service)));
        tokio::select! {
            ended = connection.as_mut() => return ended,
            Ok(()) = stopped => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    });
    (stop, ours)
}

impl Pair {
    async fn send(
        &mut self,
        method: Method,
        fields: &[(&'static str, &'static str)],
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = "http://tus/files".parse().unwrap();
        *request.version_mut() = Version::HTTP_2;
        for (name, value) in fields {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        poll_fn(|cx| self.client.poll_ready(cx)).await.unwrap();
        self.client.send_request(request, end).unwrap()
    }

    async fn get(&mut self, method: Method) -> Response<RecvStream> {
        let (answer, _) = self.send(method, &[], true).await;
        within("an answer", answer).await.unwrap()
    }
}

async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut read = Vec::new();
    while let Some(data) = within("a body", body.data()).await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    Ok(read)
}

async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        stream.send_data(bytes.split_to(room.min(bytes.len())), false).unwrap();
    }
}

#[tokio::test]
async fn interim_responses_come_while_the_request_is_served() {
    let (keep, mut kept) = mpsc::unbounded_channel();
    let mut pair = pair(Builder::default(), 65_535, move |request| {
        let keep = keep.clone();
        async move {
            assert_eq!(request.version(), Version::HTTP_2);
            let interim = request.extensions().get::<Interim>().unwrap().clone();
            let mut headers = HeaderMap::new();
            headers.insert("location", HeaderValue::from_static("/files/a"));
            headers.insert("connection", HeaderValue::from_static("close"));
            assert!(interim.send(resumption(), &headers));
            assert!(!interim.send(StatusCode::SWITCHING_PROTOCOLS, &headers));
            assert!(!interim.send(StatusCode::OK, &headers));
            let mut body = request.into_body();
            let mut offset = 0;
            while let Some(frame) = body.frame().await {
                offset += frame.unwrap().into_data().unwrap().len();
                let mut headers = HeaderMap::new();
                headers.insert("upload-offset", offset.into());
                assert!(interim.send(resumption(), &headers));
            }
            let (sender, channel) = Channel::<Bytes, io::Error>::new(1);
            keep.send((interim, sender)).unwrap();
            Response::new(channel.boxed_unsync())
        }
    })
    .await;
    let (mut answer, mut body) = pair.send(Method::PUT, &[], false).await;
    for (name, value) in
        [("location", "/files/a"), ("upload-offset", "10"), ("upload-offset", "20")]
    {
        let interim = poll_fn(|cx| answer.poll_informational(cx));
        let interim = within(value, interim).await.unwrap().unwrap();
        assert_eq!(interim.status(), resumption());
        assert_eq!(interim.headers().len(), 1);
        assert_eq!(interim.headers()[name], value);
        body.send_data(Bytes::from_static(&[7; 10]), false).unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // The answer has begun, and has not ended.
    let (interim, mut sender) = kept.recv().await.unwrap();
    assert!(!interim.send(resumption(), &HeaderMap::new()));
    sender.send_data(Bytes::from_static(b"done")).await.unwrap();
    drop(sender);
    assert_eq!(read(answer.into_body()).await.unwrap(), b"done");
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways_at_the_readers_speed() {
    const LENGTH: usize = 500_000;
    let mut builder = Builder::default();
    builder.initial_stream_window_size(20_000).initial_connection_window_size(65_535);
    let (go, going) = oneshot::channel::<()>();
    let mut going = Some(going);
    let going = Arc::new(std::sync::Mutex::new(going.take()));
    let mut pair = pair(builder, 10_000, move |request| {
        let going = going.lock().unwrap().take().unwrap();
        async move {
            assert_eq!(request.body().size_hint().exact(), Some(LENGTH as u64));
            assert!(!request.body().is_end_stream());
            going.await.unwrap();
            let mut body = request.into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let left = LENGTH - first.len();
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            let rest = body.collect().await.unwrap();
            assert_eq!(rest.trailers().unwrap()["x-digest"], "theirs");
            let bytes = [first, rest.to_bytes()].concat();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-digest", HeaderValue::from_static("ours"));
            let (mut sender, channel) = Channel::<Bytes, io::Error>::new(1);
            tokio::spawn(async move {
                for piece in bytes.chunks(30_000) {
                    sender.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                sender.send_trailers(trailers).await.unwrap();
            });
            Response::new(channel.boxed_unsync())
        }
    })
    .await;
    let (answer, mut body) = pair.send(Method::PUT, &[("content-length", "500000")], false).await;
    let bytes: Bytes = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    body.reserve_capacity(LENGTH);
    // Nothing is read, so no more than the window may be sent.
    let mut sent = 0;
    while sent < 20_000 {
        let room = within("room", poll_fn(|cx| body.poll_capacity(cx))).await.unwrap().unwrap();
        let room = room.min(20_000 - sent);
        body.send_data(bytes.slice(sent..sent + room), false).unwrap();
        sent += room;
    }
    assert_eq!(body.capacity(), 0);
    let more = poll_fn(|cx| body.poll_capacity(cx));
    assert!(tokio::time::timeout(Duration::from_millis(100), more).await.is_err());
    go.send(()).unwrap();
    within("the body", write(&mut body, bytes.slice(sent..))).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-digest", HeaderValue::from_static("theirs"));
    body.send_trailers(trailers).unwrap();
    let mut answer = within("an answer", answer).await.unwrap();
    let mut read = Vec::new();
    while let Some(data) = within("a body", answer.body_mut().data()).await {
        let data = data.unwrap();
        answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    assert!(read == bytes, "other bytes");
    let trailers = answer.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(trailers["x-digest"], "ours");
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_an_answer_does_not_hurt_the_others() {
    let mut pair = pair(Builder::default(), 0, async |request: Request<RecvBody>| {
        Response::new(if request.method() == Method::GET {
            full(vec![7; 1 << 20])
        } else {
            empty()
        })
    })
    .await;
    let held = pair.get(Method::GET).await;
    for _ in 0..10 {
        assert!(pair.get(Method::PUT).await.into_body().is_end_stream());
    }
    drop(held);
}

#[tokio::test]
async fn a_stream_that_its_client_resets_is_no_whole_body_and_ends_its_service() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let (dropped, mut drops) = mpsc::channel::<()>(1);
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut pair = pair(Builder::default(), 65_535, move |request| {
            let (dropped, tell) = (dropped.clone(), tell.clone());
            async move {
                let mut body = request.into_body();
                // As the engine does: the body is read in a task that outlives the service's.
                tokio::spawn(async move {
                    while let Some(frame) = body.frame().await {
                        let frame = frame.map(|frame| frame.into_data().unwrap().len());
                        tell.send(frame.map_err(|error| error.kind())).unwrap();
                    }
                });
                std::future::pending::<()>().await;
                drop(dropped);
                Response::new(empty())
            }
        })
        .await;
        let (answer, mut body) = pair.send(Method::PUT, &[], false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        assert_eq!(within("a piece", told.recv()).await, Some(Ok(3)));
        body.send_reset(reason);
        let end = within("the end", told.recv()).await;
        assert_eq!(end, Some(Err(io::ErrorKind::ConnectionReset)), "{reason:?}");
        // The closure itself keeps one of each; the service's own are gone.
        drop((answer, body));
        let Pair { client, theirs, ours, .. } = pair;
        drop(client);
        within("the connection", ours).await.unwrap().unwrap();
        within("their side", theirs).await.unwrap().unwrap();
        assert_eq!(within("the service's end", drops.recv()).await, None);
        assert_eq!(told.recv().await, None);
    }
}

#[tokio::test]
async fn a_client_that_resets_an_answer_stops_its_body() {
    let (body, channel) = Channel::<Bytes, io::Error>::new(1);
    let channel = Arc::new(std::sync::Mutex::new(Some(channel)));
    let mut pair = pair(Builder::default(), 65_535, move |_| {
        let channel = channel.lock().unwrap().take().unwrap();
        async { Response::new(channel.boxed_unsync()) }
    })
    .await;
    let answer = pair.get(Method::GET).await;
    drop(answer);
    let mut body = body;
    // It fails once the other end is gone.
    let stopped = async { while body.send_data(Bytes::from_static(b"abc")).await.is_ok() {} };
    within("the end of the body", stopped).await;
}

#[tokio::test]
async fn an_answer_whose_body_fails_is_reset() {
    let mut pair = pair(Builder::default(), 65_535, async |_| {
        let (sender, channel) = Channel::<Bytes, io::Error>::new(1);
        sender.abort(io::Error::other("the disk is gone"));
        Response::new(channel.boxed_unsync())
    })
    .await;
    let (answer, _) = pair.send(Method::GET, &[], true).await;
    // The reset may overtake the head.
    let error = match within("an answer", answer).await {
        Ok(answer) => read(answer.into_body()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn heads_are_those_of_http_2() {
    let mut pair = pair(Builder::default(), 65_535, async |request: Request<RecvBody>| {
        assert!(request.body().is_end_stream());
        assert_eq!(request.body().size_hint().exact(), Some(0));
        let mut response = match *request.method() {
            Method::DELETE => Response::new(full("not for a 204")),
            Method::OPTIONS => Response::new(empty()),
            _ => Response::new(full("hello")),
        };
        if request.method() == Method::DELETE {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        for name in ["keep-alive", "transfer-encoding", "upgrade", "te", "x-hop", "x-kept"] {
            response.headers_mut().insert(name, HeaderValue::from_static("x"));
        }
        let hop = HeaderValue::from_static("close, X-Hop");
        response.headers_mut().insert(header::CONNECTION, hop);
        response
    })
    .await;
    for (method, length, bytes) in [
        (Method::GET, Some("5"), "hello"),
        (Method::HEAD, Some("5"), ""),
        (Method::DELETE, None, ""),
        (Method::OPTIONS, None, ""),
    ] {
        let answer = pair.get(method.clone()).await;
        let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let found = answer.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(found, length, "{method}");
        names.retain(|name| *name != "content-length");
        assert_eq!(names, ["date", "x-kept"], "{method}");
        assert_eq!(answer.body().is_end_stream(), bytes.is_empty(), "{method}");
        assert_eq!(read(answer.into_body()).await.unwrap(), bytes.as_bytes(), "{method}");
    }
}

#[tokio::test]
async fn a_gentle_end_answers_what_was_asked_and_no_more() {
    let (enter, mut enters) = mpsc::unbounded_channel();
    let (go, going) = tokio::sync::watch::channel(false);
    let mut pair = pair(Builder::default(), 65_535, move |_| {
        let (enter, mut going) = (enter.clone(), going.clone());
        async move {
            enter.send(()).unwrap();
            going.wait_for(|go| *go).await.unwrap();
            Response::new(full("held"))
        }
    })
    .await;
    let (answer, _) = pair.send(Method::GET, &[], true).await;
    enters.recv().await.unwrap();
    let Pair { mut client, theirs, stop, ours } = pair;
    stop.send(()).unwrap();
    // The peer hears of it while its request is held.
    within("GOAWAY", async {
        while poll_fn(|cx| client.poll_ready(cx)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!ours.is_finished());
    go.send(true).unwrap();
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(read(answer.into_body()).await.unwrap(), b"held");
    within("the end", ours).await.unwrap().unwrap();
    within("their end", theirs).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_cut_and_one_that_does_is_not() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let mut builder = Builder::default();
    builder.keep_alive_interval(INTERVAL).keep_alive_timeout(Duration::from_secs(5));
    let pair = pair(builder.clone(), 65_535, async |_| Response::new(empty())).await;
    tokio::time::sleep(INTERVAL * 20).await;
    assert!(!pair.ours.is_finished());
    // Those that say hello, and then nothing; one of them takes little more than our hello.
    for (room, most) in [(64 * 1024, 16), (45, 21)] {
        let (mut theirs, io) = duplex(room);
        let began = tokio::time::Instant::now();
        let (_stop, ours) = run(builder.clone(), io, async |_| Response::new(empty()));
        let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let said = tokio::io::AsyncWriteExt::write_all(&mut theirs, hello);
        within("room", said).await.unwrap();
        let error = within("the end", ours).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the peer does not answer pings");
        let elapsed = began.elapsed();
        assert!((INTERVAL..Duration::from_secs(most)).contains(&elapsed), "{elapsed:?}");
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        // It was asked and told goodbye, if it had room: a PING without ACK, and a GOAWAY.
        let has = |frame: &[u8]| read.windows(frame.len()).any(|seen| seen == frame);
        let told = [has(&[0, 0, 8, 6, 0, 0]), has(&[0, 0, 8, 7, 0, 0])];
        assert_eq!(told, [room > 100; 2], "{read:?}");
    }
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_sent_no_more_than_fits() {
    let (theirs, io) = duplex(4 * 1024);
    let (count, mut counts) = mpsc::unbounded_channel();
    let (_stop, ours) = run(Builder::default(), io, move |request| {
        let count = count.clone();
        async move {
            let interim = request.extensions().get::<Interim>().unwrap();
            let mut sent = 0;
            for _ in 0..10_000 {
                sent += usize::from(interim.send(resumption(), &HeaderMap::new()));
                tokio::task::yield_now().await;
            }
            count.send(sent).unwrap();
            Response::new(empty())
        }
    });
    let (client, connection) = client::handshake(theirs).await.unwrap();
    let mut connection = Box::pin(connection);
    let mut client = client;
    let request = Request::get("http://tus/").body(()).unwrap();
    let (_answer, _) = client.send_request(request, true).unwrap();
    // The request goes out, and then nobody looks at the connection any more.
    let once = poll_fn(|cx| {
        let _pending = connection.as_mut().poll(cx);
        Poll::Ready(())
    });
    once.await;
    let sent = within("the count", counts.recv()).await.unwrap();
    // A head of a status alone takes at least ten bytes.
    assert!((1..1000).contains(&sent), "{sent} were sent");
    drop((client, connection));
    let _ended = within("the end", ours).await.unwrap();
}

#[tokio::test]
async fn a_stream_whose_task_is_dropped_is_reset_and_its_interim_ends() {
    /// Drops every stream that has run for a moment.
    #[derive(Clone)]
    struct Impatient;
    impl Executor<Stream> for Impatient {
        fn execute(&self, stream: Stream) {
            tokio::spawn(tokio::time::timeout(Duration::from_millis(50), stream));
        }
    }
    let (keep, mut kept) = mpsc::unbounded_channel();
    let service = Serve(move |request: Request<RecvBody>| {
        keep.send(request.extensions().get::<Interim>().unwrap().clone()).unwrap();
        async {
            std::future::pending::<()>().await;
            Response::new(empty())
        }
    });
    let (theirs, io) = duplex(64 * 1024);
    tokio::spawn(Builder::new(Impatient).serve_connection(io, service));
    let (mut client, connection) = client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://tus/").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let error = within("an answer", answer).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    assert!(!kept.recv().await.unwrap().send(resumption(), &HeaderMap::new()));
}

#[tokio::test]
async fn the_settings_are_told_to_the_peer() {
    let mut builder = Builder::default();
    builder.max_concurrent_streams(3).max_header_list_size(5000);
    let (enter, mut enters) = mpsc::unbounded_channel();
    let mut pair = pair(builder, 65_535, move |_| {
        let enter = enter.clone();
        async move {
            enter.send(()).unwrap();
            std::future::pending::<()>().await;
            Response::new(empty())
        }
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(pair.send(Method::GET, &[], true).await);
        enters.recv().await.unwrap();
    }
    assert_eq!(pair.client.current_max_send_streams(), 3);
    let mut request = Request::get("http://tus/").body(()).unwrap();
    let long = HeaderValue::try_from("x".repeat(6000)).unwrap();
    request.headers_mut().insert("x", long);
    drop(held);
    poll_fn(|cx| pair.client.poll_ready(cx)).await.unwrap();
    let (answer, _) = pair.client.send_request(request, true).unwrap();
    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}
