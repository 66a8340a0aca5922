use std::{
    convert::Infallible,
    future::Future,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};

use super::*;

fn resumption() -> StatusCode {
    StatusCode::from_u16(104).unwrap()
}

/// A field that tells which request an interim response belongs to, and which one of its it is.
fn field(of: &str, number: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-of", HeaderValue::try_from(format!("{of};{number}")).unwrap());
    headers
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let timed = tokio::time::timeout(Duration::from_secs(20), future).await;
    timed.unwrap_or_else(|_| panic!("{what} does not come"))
}

/// Serves one connection with hyper; each request comes with its [`Interim`], under a guard.
fn serve<F, R>(io: DuplexStream, builder: &http1::Builder, service: F)
where
    F: Fn(Request<Incoming>, Interim) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send,
{
    let io = Io::new(io);
    let handle = io.handle();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let guard = handle.extend(&mut request);
        let interim = request.extensions().get::<Interim>().cloned();
        let interim = interim.unwrap_or_else(|| handle.interim());
        let service = service.clone();
        async move {
            let response = service(request, interim).await;
            drop(guard);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::spawn(async move {
        // Where the client goes away, that is what the test is about.
        let _ended = connection.await;
    });
}

/// A message of a server: status, fields and body.
#[derive(Debug)]
struct Message {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn value(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

/// Reads what a server said as strictly as can be: any split message is a panic.
fn messages(mut text: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let end = text.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(text[..end].to_vec()).expect("a head");
        text = &text[end..];
        let status = head.strip_prefix("HTTP/1.1 ").expect("a status line")[..3].parse().unwrap();
        let fields = head.trim_end().lines().skip(1);
        for line in fields {
            assert!(line.contains(": ") && !line.contains("HTTP/1"), "{line:?} in {head:?}");
        }
        let mut message = Message { status, head, body: Vec::new() };
        if status >= 200 {
            let length: usize = message.value("content-length").expect("a length").parse().unwrap();
            assert!(text.len() >= length, "a body cut short");
            message.body = text[..length].to_vec();
            text = &text[length..];
        }
        found.push(message);
    }
    found
}

#[tokio::test]
async fn interim_responses_come_while_the_request_is_served_and_before_the_final_one() {
    let (mut client, server) = duplex(64 * 1024);
    serve(server, &http1::Builder::new(), async |request, interim| {
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("/files/a"));
        assert!(interim.send(resumption(), &headers));
        let mut body = request.into_body();
        let mut offset = 0;
        while let Some(frame) = body.frame().await {
            offset += frame.unwrap().into_data().unwrap().len();
            let mut headers = HeaderMap::new();
            headers.insert("upload-offset", offset.into());
            assert!(interim.send(resumption(), &headers));
        }
        Response::new(Full::from("done"))
    });
    let head = "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 30\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    for (sent, expected) in
        ["location: /files/a", "upload-offset: 10", "upload-offset: 20"].into_iter().enumerate()
    {
        // Each is there before the client sends more: nothing waits for anything.
        while !String::from_utf8_lossy(&read).contains(expected) {
            let more = within(expected, client.read_buf(&mut read)).await.unwrap();
            assert!(more > 0, "{expected} after {sent}: {read:?}");
        }
        client.write_all(&[7; 10]).await.unwrap();
    }
    within("the end", client.read_to_end(&mut read)).await.unwrap();
    let messages = messages(&read);
    let statuses: Vec<_> = messages.iter().map(|message| message.status).collect();
    assert_eq!(statuses, [104, 104, 104, 104, 200]);
    assert!(messages[0].head.starts_with("HTTP/1.1 104 Upload Resumption Supported\r\n"));
    assert_eq!(messages[3].value("upload-offset"), Some("30"));
    assert_eq!(messages[4].body, b"done");
}

#[tokio::test]
async fn one_that_is_sent_while_nothing_else_happens_comes_at_once() {
    let (mut client, server) = duplex(64 * 1024);
    let (keep, mut kept) = mpsc::unbounded_channel();
    serve(server, &http1::Builder::new(), move |_, interim| {
        keep.send(interim).unwrap();
        std::future::pending()
    });
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let interim = within("the request", kept.recv()).await.unwrap();
    let mut read = Vec::new();
    for number in 0..3 {
        // The server has gone to sleep by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(interim.send(resumption(), &field("a", number)));
        read.clear();
        within("one", client.read_buf(&mut read)).await.unwrap();
        assert_eq!(messages(&read)[0].value("x-of"), Some(format!("a;{number}").as_str()));
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_whole() {
    let (mut client, server) = duplex(64 * 1024);
    serve(server, &http1::Builder::new(), async |request, interim| {
        assert!(interim.send(resumption(), &field("a", 0)));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert!(interim.send(resumption(), &field("a", 1)));
        Response::new(Full::from(body))
    });
    let head = "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\
        expect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(24).any(|seen| seen == b"HTTP/1.1 100 Continue\r\n\r") {
        assert!(within("100", client.read_buf(&mut read)).await.unwrap() > 0);
    }
    client.write_all(b"abc").await.unwrap();
    within("the end", client.read_to_end(&mut read)).await.unwrap();
    let mut statuses: Vec<_> = messages(&read).iter().map(|message| message.status).collect();
    statuses[..2].sort_unstable();
    assert_eq!(statuses, [100, 104, 104, 200]);
}

#[tokio::test]
async fn http_1_0_never_gets_one() {
    let (mut client, server) = duplex(64 * 1024);
    let io = Io::new(server);
    let handle = io.handle();
    let service = service_fn(move |mut request: Request<Incoming>| {
        assert!(handle.extend(&mut request).is_none());
        assert!(request.extensions().get::<Interim>().is_none());
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("old"))) }
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(io), service));
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    within("the end", client.read_to_end(&mut read)).await.unwrap();
    assert!(read.ends_with(b"\r\n\r\nold"), "{read:?}");
}

/// Pipelined requests, of which some are answered before their bodies are read, while somebody
/// goes on sending to each of them for as long as it takes.
async fn hammer(width: usize, flatten: bool, pipeline_flush: bool) -> (usize, usize) {
    const REQUESTS: usize = 60;
    let (client, server) = duplex(width);
    let (sent, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut builder = http1::Builder::new();
    // hyper itself forgets to go on with small pieces, vectored writes and early answers together.
    let early = flatten;
    builder.writev(!flatten).pipeline_flush(pipeline_flush).keep_alive(true);
    serve(server, &builder, {
        let (sent, refused) = (sent.clone(), refused.clone());
        move |request, interim| {
            let (sent, refused) = (sent.clone(), refused.clone());
            async move {
                let of = request.uri().path().trim_start_matches('/').to_owned();
                let number: usize = of.parse().unwrap();
                let over = Arc::new(AtomicBool::new(false));
                // Somebody else's task, which knows nothing of the answer.
                tokio::spawn({
                    let (of, over) = (of.clone(), over.clone());
                    async move {
                        for count in 0..1000 {
                            let late = over.load(Ordering::SeqCst);
                            match interim.send(resumption(), &field(&of, count)) {
                                true => sent.fetch_add(1, Ordering::Relaxed),
                                false => refused.fetch_add(1, Ordering::Relaxed),
                            };
                            if late {
                                break;
                            }
                            tokio::task::yield_now().await;
                        }
                    }
                });
                let body = tokio::spawn(async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    assert!(body.iter().all(|byte| *byte == 7));
                });
                // Where asked for, every third is answered early, and its body goes on.
                if !early || !number.is_multiple_of(3) {
                    body.await.unwrap();
                }
                tokio::spawn(async move {
                    // The answer is on its way by then, or soon.
                    tokio::task::yield_now().await;
                    over.store(true, Ordering::SeqCst);
                });
                Response::new(Full::from(vec![b'a'; 300 * (number % 5)]))
            }
        }
    });
    let (mut reader, mut writer) = tokio::io::split(client);
    let requests = tokio::spawn(async move {
        for number in 0..REQUESTS {
            let length = 50 * (number % 7);
            let last = if number + 1 == REQUESTS { "connection: close\r\n" } else { "" };
            let head =
                format!("PUT /{number} HTTP/1.1\r\nhost: x\r\n{last}content-length: {length}\r\n");
            let mut request = format!("{head}\r\n").into_bytes();
            request.resize(request.len() + length, 7);
            writer.write_all(&request).await.unwrap();
        }
        writer
    });
    let mut read = Vec::new();
    within("the end", reader.read_to_end(&mut read)).await.unwrap();
    drop(within("the requests", requests).await.unwrap());
    let (mut current, mut seen, mut counted) = (0, 0, 0);
    for message in messages(&read) {
        if message.status == 200 {
            assert_eq!(message.body.len(), 300 * (current % 5), "the answer to {current}");
            (current, counted) = (current + 1, 0);
            continue;
        }
        assert_eq!(message.status, 104);
        let (of, number) = message.value("x-of").unwrap().split_once(';').unwrap();
        assert_eq!(of, current.to_string(), "one for {of} before the answer to {current}");
        let number: usize = number.parse().unwrap();
        assert!(number >= counted, "out of order");
        (counted, seen) = (number + 1, seen + 1);
    }
    assert_eq!(current, REQUESTS);
    assert!(seen <= sent.load(Ordering::Relaxed), "more came than were sent");
    (seen, refused.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_split_and_none_comes_after_its_answer() {
    let (mut seen, mut refused) = (0, 0);
    for width in [3, 7, 64, 1000, 64 * 1024] {
        for (flatten, pipeline_flush) in [(true, false), (false, false), (true, true)] {
            let one = hammer(width, flatten, pipeline_flush).await;
            (seen, refused) = (seen + one.0, refused + one.1);
        }
    }
    eprintln!("{seen} interim responses came between whole messages, {refused} were refused");
    assert!(seen > 100 && refused > 100, "{seen} came, {refused} were refused");
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_no_upload_and_fills_no_memory() {
    const PIECE: usize = 1000;
    let (mut client, server) = duplex(2000);
    let (ended, mut end) = mpsc::channel(1);
    serve(server, &http1::Builder::new(), move |request, interim| {
        let ended = ended.clone();
        async move {
            let mut body = request.into_body();
            let (mut length, mut sent) = (0, 0);
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().into_data().unwrap().len();
                for _ in 0..10 {
                    sent += usize::from(interim.send(resumption(), &field("a", length)));
                }
            }
            ended.send((length, sent)).await.unwrap();
            Response::new(Full::from("done"))
        }
    });
    let length = 1000 * PIECE;
    let head =
        format!("PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n");
    client.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    for _ in 0..1000 {
        within("the next piece", client.write_all(&[7; PIECE])).await.unwrap();
    }
    let (read, sent) = within("the end of the body", end.recv()).await.unwrap();
    assert_eq!(read, length);
    let size = head::http1(resumption(), &field("a", 100_000)).unwrap().len();
    assert!(sent > 10 && sent * size < MOST + 2000 + 10 * size, "{sent} of {size} bytes");
    let mut read = Vec::new();
    within("the answer", client.read_to_end(&mut read)).await.unwrap();
    let messages = messages(&read);
    assert_eq!(messages.last().unwrap().body, b"done");
    // What still waited when the answer was there would have come after it.
    assert!(messages.len() <= sent + 1);
}

#[tokio::test]
async fn what_waits_when_the_answer_is_there_is_not_sent() {
    let (mut client, server) = duplex(64 * 1024);
    let mut io = Io::new(server);
    let interim = io.handle().interim();
    let guard = interim.guard();
    assert!(interim.send(resumption(), &field("a", 0)));
    drop(guard);
    assert!(!interim.send(resumption(), &field("a", 1)));
    let other = io.handle().interim();
    assert!(other.send(resumption(), &field("b", 0)));
    io.flush().await.unwrap();
    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    // It is not for the middle of what the server writes.
    assert!(other.send(resumption(), &field("b", 1)));
    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    io.flush().await.unwrap();
    drop(io);
    assert!(!other.send(resumption(), &field("b", 2)));
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    let statuses: Vec<_> = messages(&read).iter().map(|message| message.status).collect();
    assert_eq!(statuses, [104, 200, 200, 104]);
}

#[tokio::test]
async fn a_head_that_was_begun_is_ended_before_anything_else_is_written() {
    let (mut client, server) = duplex(10);
    let mut io = Io::new(server);
    let interim = io.handle().interim();
    assert!(interim.send(resumption(), &field("a", 0)));
    // Only its first bytes fit.
    let flushed = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_flush(cx))).await;
    assert!(flushed.is_pending());
    let written = tokio::spawn(async move {
        let answer = IoSlice::new(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let written = io.write_vectored(&[answer]).await.unwrap();
        io.write_all(&answer[written..]).await.unwrap();
        io.shutdown().await.unwrap();
    });
    let mut read = Vec::new();
    within("the end", client.read_to_end(&mut read)).await.unwrap();
    written.await.unwrap();
    let statuses: Vec<_> = messages(&read).iter().map(|message| message.status).collect();
    assert_eq!(statuses, [104, 200]);
}
