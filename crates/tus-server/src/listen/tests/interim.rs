//! Interim responses, on either version of HTTP.

use std::future::poll_fn;

use http::HeaderMap;
use tus_interim::Interim;

use super::*;

const STATUS: StatusCode = StatusCode::PROCESSING;

/// A route that hands out the way to its client, if there is one, and answers when told to.
fn asked() -> (Router, mpsc::Receiver<Option<Interim>>, Arc<Semaphore>) {
    let (asked, asks) = mpsc::channel(8);
    let release = Arc::new(Semaphore::new(0));
    let released = release.clone();
    let handler = async move |interim: Option<Extension<Interim>>| {
        asked.send(interim.map(|interim| interim.0)).await.unwrap();
        released.acquire().await.unwrap().forget();
        "asked"
    };
    (Router::new().route("/", get(handler)), asks, release)
}

#[tokio::test]
async fn over_http_1_1_they_come_before_the_answer_and_never_after() {
    let (app, mut asks, release) = asked();
    let server = Server::start(app, patient()).await;
    let mut stream = server.connect().await;
    // Of two requests at once, the second is told after the answer to the first.
    stream.write_all(head("/").repeat(2).as_bytes()).await.unwrap();
    for _ in 0..2 {
        let interim = soon(asks.recv()).await.unwrap().unwrap();
        for _ in 0..2 {
            assert!(interim.send(STATUS, &HeaderMap::new()));
            let told = response(&mut stream, "\r\n\r\n").await;
            assert_eq!(told, "HTTP/1.1 102 Processing\r\n\r\n");
        }
        release.add_permits(1);
        let answer = response(&mut stream, "asked").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!interim.send(STATUS, &HeaderMap::new()));
    }
}

#[tokio::test]
async fn over_http_1_0_there_is_no_way() {
    let (app, mut asks, release) = asked();
    let server = Server::start(app, patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(soon(asks.recv()).await.unwrap().is_none());
    release.add_permits(1);
    assert!(rest(&mut stream).await.ends_with(b"\r\n\r\nasked"));
}

#[tokio::test]
async fn over_http_2_they_go_to_their_own_stream() {
    let (app, mut asks, release) = asked();
    let server = Server::start(app, patient()).await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    let mut ask = || {
        let request = Request::get("http://tus/").body(()).unwrap();
        client.send_request(request, true).unwrap().0
    };
    let mut first = ask();
    let to_first = soon(asks.recv()).await.unwrap().unwrap();
    let mut second = ask();
    let to_second = soon(asks.recv()).await.unwrap().unwrap();
    for (answer, interim) in [(&mut second, &to_second), (&mut first, &to_first)] {
        assert!(interim.send(STATUS, &HeaderMap::new()));
        let told = soon(poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
        assert_eq!(told.status(), STATUS);
    }
    release.add_permits(2);
    for (answer, interim) in [(first, to_first), (second, to_second)] {
        assert_eq!(soon(answer).await.unwrap().status(), StatusCode::OK);
        assert!(!interim.send(STATUS, &HeaderMap::new()));
    }
}
