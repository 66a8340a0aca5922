//! What a connection may take of us, in time and in number.

use super::*;

/// Says whether and why a request is not to be served.
fn asked() -> Router {
    let why = async |why: Option<Extension<Unwelcome>>| format!("{:?}!", why.map(|why| why.0));
    Router::new().route("/", get(why))
}

/// Sends a byte now and then, until the server has had enough.
pub(super) async fn dribble(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    for byte in bytes.iter().cycle() {
        // It may be closed already.
        let _sent = stream.write_all(&[*byte]).await;
        let mut scratch = [0];
        let end = tokio::time::timeout(SHORT / 10, stream.read(&mut scratch));
        match soon(end).await {
            Ok(read) => {
                assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
                break;
            }
            Err(_more) => assert!(began.elapsed() < LONG / 3, "it goes on and on"),
        }
    }
    began.elapsed()
}

#[tokio::test]
async fn a_head_has_its_time_from_the_first_byte_on_however_it_dribbles() {
    let limits = Limits { head: SHORT, ..patient() };
    let server = Server::start(hello(), limits).await;
    for first in ["G", "PRI", "GET / HTTP/1.1\r\nA"] {
        let mut stream = server.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        assert!(dribble(&mut stream, b"x").await >= SHORT / 2, "{first}");
    }
    // That of a later request as well.
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut stream, "hello").await;
    tokio::time::sleep(SHORT * 2).await;
    stream.write_all(b"GET / HTTP/1.1\r\nA").await.unwrap();
    assert!(dribble(&mut stream, b"x").await >= SHORT / 2);
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let limits = Limits { head: SHORT, ..patient() };
    let server = Server::start(hello(), limits).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(head("/").as_bytes()).await.unwrap();
        response(&mut stream, "hello").await;
        tokio::time::sleep(SHORT * 2).await;
    }
    stream.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut stream, "hello").await;
}

#[tokio::test]
async fn a_connection_that_is_old_answers_what_it_was_asked_and_no_more() {
    let (app, mut enters, release) = held();
    let limits = Limits { life: Some(SHORT), ..patient() };
    let server = Server::start(app, limits).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    soon(enters.recv()).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    release.add_permits(1);
    response(&mut stream, "held").await;
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn one_connection_too_many_hears_so_and_is_closed_until_another_ends() {
    let capacity = Capacity { connections: 2, ..patient().capacity };
    let server = Server::start(asked(), Limits { capacity, ..patient() }).await;
    let ask = async |stream: &mut TcpStream, answer: &str| {
        stream.write_all(head("/").as_bytes()).await.unwrap();
        response(stream, answer).await
    };
    let mut first = server.connect().await;
    ask(&mut first, "None!").await;
    let mut second = server.connect().await;
    ask(&mut second, "None!").await;
    let mut third = server.connect().await;
    assert!(ask(&mut third, "Some(Crowd)!").await.contains("connection: close\r\n"));
    assert_eq!(rest(&mut third).await, b"");
    ask(&mut first, "None!").await;
    drop(second);
    // Its end is noticed a little later.
    soon(async {
        loop {
            let mut fourth = server.connect().await;
            fourth.write_all(head("/").as_bytes()).await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"!") && fourth.read_buf(&mut read).await.unwrap() > 0 {}
            if read.ends_with(b"None!") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_crowd_that_asks_for_nothing_is_closed_soon_and_a_larger_one_at_once() {
    let capacity = Capacity { connections: 1, ..patient().capacity };
    let server = Server::start(asked(), Limits { capacity, ..patient() }).await;
    let mut only = server.connect().await;
    only.write_all(head("/").as_bytes()).await.unwrap();
    response(&mut only, "None!").await;
    let mut crowd = Vec::new();
    for _ in 0..REFUSED_AT_ONCE {
        let mut stream = server.connect().await;
        stream.write_all(b"G").await.unwrap();
        crowd.push(stream);
    }
    let mut one_more = server.connect().await;
    let began = Instant::now();
    let closed = soon(one_more.read(&mut [0])).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
    for mut stream in crowd {
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn an_address_has_a_bound_of_its_own_unless_it_is_a_trusted_proxys() {
    let bound = |proxies: &[&str]| Capacity {
        connections: 10,
        per_address: Some(1),
        proxies: proxies.iter().map(|proxy| proxy.parse().unwrap()).collect(),
    };
    for (proxies, second_hears) in [
        (&[][..], "Some(Address)!"),
        (&["10.0.0.1"], "Some(Address)!"),
        (&["127.0.0.0/8"], "None!"),
    ] {
        let limits = Limits { capacity: bound(proxies), ..patient() };
        let server = Server::start(asked(), limits).await;
        let mut streams = [server.connect().await, server.connect().await];
        for (stream, hears) in streams.iter_mut().zip(["None!", second_hears]) {
            stream.write_all(head("/").as_bytes()).await.unwrap();
            response(stream, hears).await;
        }
    }
    // Those who share a unix socket have no address.
    let dir = tempfile::tempdir().unwrap();
    let listener = Listener::unix(&dir.path().join("tus.sock")).await.unwrap();
    let Address::Unix(path) = listener.address().clone() else { panic!("no unix socket") };
    let _server = Server::of(listener, asked(), Limits { capacity: bound(&[]), ..patient() });
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(head("/").as_bytes()).await.unwrap();
        response(&mut stream, "None!").await;
        streams.push(stream);
    }
}

/// A body without end in which each piece tells when it is let go.
struct Pieces(Arc<AtomicUsize>);

struct Counted(Arc<AtomicUsize>, [u8; 16 * 1024]);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let alive = self.0.fetch_add(1, Ordering::SeqCst);
        assert_eq!(alive, 0, "a second piece is asked for while the first one waits");
        let piece = Counted(self.0.clone(), [7; 16 * 1024]);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }
}

#[tokio::test]
async fn an_answer_has_one_piece_under_way_however_slow_its_peer_is() {
    let alive = Arc::new(AtomicUsize::new(0));
    let pieces = alive.clone();
    let app = Router::new().route("/", get(async move || AxumBody::new(Pieces(pieces))));
    let server = Server::start(app, impatient()).await;
    let mut stream = server.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    // It reads a little, and then nothing: a second piece would be a panic, seen as an early end.
    let mut read = vec![0; 1 << 20];
    soon(stream.read_exact(&mut read)).await.unwrap();
    soon(async {
        while alive.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    // It was cut, and what the kernel still had for it is gone too.
    let rest = soon(stream.read_to_end(&mut read)).await;
    assert_eq!(rest.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
