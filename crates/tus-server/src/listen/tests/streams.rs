//! What one stream of HTTP/2 may take of us.

use super::*;

/// A client whose windows stay as they are.
async fn narrow(server: &Server, window: u32) -> http2::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(server.connect().await);
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window).initial_connection_window_size(1 << 20);
    let (client, connection) = client.handshake(io).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_stream_whose_peer_takes_nothing_is_reset_and_the_others_go_on() {
    for window in [0, 1] {
        let (dropped, drops) = oneshot::channel();
        let body = Arc::new(std::sync::Mutex::new(Some(Endless(dropped))));
        let app = Router::new()
            .route("/", get(async move || AxumBody::new(body.lock().unwrap().take().unwrap())))
            .route("/refuse", get(async || StatusCode::CONFLICT));
        let limits = Limits { patience: SHORT, ..patient() };
        let server = Server::start(app, limits).await;
        let mut client = narrow(&server, window).await;
        let answer = soon(client.send_request(request())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // The body is held, and nothing of it is read.
        assert!(soon(drops).await.is_err());
        let refused = Request::get("http://tus/refuse").body(Empty::new()).unwrap();
        let refused = soon(client.send_request(refused)).await.unwrap();
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        assert!(soon(answer.into_body().collect()).await.is_err());
    }
}

#[tokio::test]
async fn a_stream_that_waits_for_us_is_not_cut() {
    let (app, mut enters, release) = held();
    let limits = Limits { patience: SHORT, ..patient() };
    let server = Server::start(app, limits).await;
    let mut client = narrow(&server, 64 * 1024).await;
    let answer = tokio::spawn(client.send_request(request()));
    soon(enters.recv()).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    release.add_permits(1);
    let answer = soon(answer).await.unwrap().unwrap();
    assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), "held");
}

#[tokio::test]
async fn a_peer_that_takes_back_too_many_requests_is_cut() {
    const MOST: usize = 5;
    let (app, mut enters, _release) = held();
    let limits = Limits { resets: MOST, ..patient() };
    let server = Server::start(app, limits).await;
    let (mut client, connection) = http2(&server).await;
    for _ in 0..=MOST {
        assert!(!connection.is_finished());
        let answer = tokio::spawn(client.send_request(request()));
        soon(enters.recv()).await.unwrap();
        answer.abort();
    }
    let _closed = soon(connection).await;
    // Others are not hurt.
    let (client, _connection) = http2(&server).await;
    assert!(!client.is_closed());
}

#[tokio::test]
async fn streams_count_as_requests_and_fields_are_counted() {
    let why = async |why: Option<Extension<Unwelcome>>| format!("{:?}", why.map(|why| why.0));
    let (held, mut enters, release) = held();
    let app = Router::new().route("/why", get(why)).merge(held);
    let capacity = Capacity { connections: 1, ..patient().capacity };
    let limits = Limits { capacity, head_fields: 3, ..patient() };
    let server = Server::start(app, limits).await;
    let (mut client, _connection) = http2(&server).await;
    let mut other = client.clone();
    let mut ask = async |fields: usize| {
        let mut request = Request::get("http://tus/why");
        for field in 0..fields {
            request = request.header(format!("x-{field}"), "x");
        }
        let request = request.body(Empty::new()).unwrap();
        let answer = soon(client.send_request(request)).await.unwrap();
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
    };
    assert_eq!(ask(3).await, "None");
    assert_eq!(ask(4).await, "Some(Head)");
    let answer = tokio::spawn(other.send_request(request()));
    soon(enters.recv()).await.unwrap();
    assert_eq!(ask(0).await, "Some(Crowd)");
    release.add_permits(1);
    let answer = soon(answer).await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "held");
    assert_eq!(ask(0).await, "None");
}
