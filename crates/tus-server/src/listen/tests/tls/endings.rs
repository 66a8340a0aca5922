//! How connections over TLS end: as those in clear text do.

use super::*;

#[tokio::test]
async fn a_client_that_ended_its_side_is_answered_whether_it_said_so_in_tls_or_not() {
    let home = Home::new();
    for says_so in [true, false] {
        let (app, mut enters, release) = held();
        let (server, _tls) = start(&home, app, patient()).await;
        let mut stream = connect(&home, &server, &[]).await;
        stream.write_all(head("/").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        match says_so {
            true => stream.shutdown().await.unwrap(),
            false => stream.get_mut().0.shutdown().await.unwrap(),
        }
        soon(enters.recv()).await.unwrap();
        release.add_permits(1);
        response(&mut stream, "held").await;
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn the_end_of_ours_is_said_in_tls() {
    let home = Home::new();
    let (server, _tls) = start(&home, hello(), impatient()).await;
    let mut stream = connect(&home, &server, &[]).await;
    let close = "GET / HTTP/1.1\r\nHost: tus\r\nConnection: close\r\n\r\n";
    stream.write_all(close.as_bytes()).await.unwrap();
    response(&mut stream, "hello").await;
    // An end that was not said would be an error here.
    assert_eq!(rest(&mut stream).await, b"");
    // That of an idle connection as well.
    let mut stream = connect(&home, &server, &[]).await;
    ask(&mut stream, "hello").await;
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let home = Home::new();
    let (server, _tls) = start(&home, hello(), patient()).await;
    let mut stream = connect(&home, &server, &[]).await;
    let body = vec![0; 32 << 20];
    let head =
        format!("POST /refuse HTTP/1.1\r\nHost: tus\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    soon(stream.write_all(&body)).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 409 Conflict\r\n"), "{answer}");
}

#[tokio::test]
async fn a_peer_that_takes_no_response_is_cut() {
    let home = Home::new();
    let (dropped, drops) = oneshot::channel();
    let body = Arc::new(std::sync::Mutex::new(Some(Endless(dropped))));
    let app = Router::new()
        .route("/", get(async move || AxumBody::new(body.lock().unwrap().take().unwrap())));
    let limits = Limits { patience: SHORT, ..patient() };
    let (server, _tls) = start(&home, app, limits).await;
    let mut stream = connect(&home, &server, &[]).await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    assert!(soon(drops).await.is_err());
    // What the kernel still had for it is gone too.
    let end = soon(stream.read_to_end(&mut Vec::new())).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// What is encrypted and not taken is no answer that was given.
#[tokio::test]
async fn a_peer_that_takes_nothing_is_cut_also_when_all_it_was_owed_is_encrypted() {
    let home = Home::new();
    let app = Router::new().route("/", get(async || "x".repeat(8 * 1024)));
    let limits = Limits { patience: SHORT, ..patient() };
    let (server, _tls) = start(&home, app, limits).await;
    let mut stream = connect(&home, &server, &[]).await;
    // One answer after the other, of which each would fit in what may wait.
    let cut = async {
        while stream.write_all(head("/").as_bytes()).await.is_ok() {
            stream.flush().await.unwrap_or_default();
            tokio::task::yield_now().await;
        }
    };
    soon(cut).await;
}
