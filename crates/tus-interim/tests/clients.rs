//! What clients that others wrote see of interim responses, on both versions of HTTP.

#![cfg(feature = "server")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{convert::Infallible, io::Write as _, net::SocketAddr, process::Stdio};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::{Service as _, service_fn};
use tokio::{net::TcpListener, process::Command};
use tus_interim::{
    Interim,
    server::{Body, Server},
};

const LENGTH: usize = 3_000_000;

/// Takes a body, and says its URL before and how much came in between.
async fn receive(request: Request<Body>) -> Response<Full<Bytes>> {
    let interim = request.extensions().get::<Interim>().expect("a way").clone();
    let status = StatusCode::from_u16(104).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("location", HeaderValue::from_static("/files/a"));
    assert!(interim.send(status, &headers));
    let mut body = request.into_body();
    let (mut offset, mut told) = (0, 0);
    while let Some(frame) = body.frame().await {
        offset += frame.expect("a body").into_data().expect("data").len();
        if offset - told >= LENGTH / 5 {
            told = offset;
            let mut headers = HeaderMap::new();
            headers.insert("upload-offset", offset.into());
            interim.send(status, &headers);
        }
    }
    let mut response = Response::new(Full::from("whole\n"));
    response.headers_mut().insert("upload-offset", offset.into());
    response
}

/// A tower service of hyper's kind.
#[derive(Clone)]
struct Receive;

impl tower_service::Service<Request<Body>> for Receive {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = service_fn(async |request| Ok(receive(request).await));
        Box::pin(async move { service.call(request).await })
    }
}

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let server = Server::new();
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                server.serve_connection(stream, Receive, std::future::pending()).await.unwrap();
            });
        }
    });
    address
}

/// What a client prints, or nothing where there is no such client.
async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let client = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    match client {
        Ok(output) => {
            let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            assert!(output.status.success(), "{program} {arguments:?}: {text:?}");
            Some(text.concat())
        }
        Err(error) => {
            eprintln!("NOT RUN: {program} ({error}); install {program}");
            None
        }
    }
}

/// The heads that a client tells, as lines that begin with a prefix: URL, growing offsets, answer.
fn check(text: &str, prefix: &str) {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
    let lines: Vec<_> = lines.map(|line| line.trim().to_ascii_lowercase()).collect();
    let statuses: Vec<_> = lines.iter().filter(|line| line.starts_with("http/")).collect();
    let interims = statuses.iter().filter(|line| line.contains(" 104")).count();
    assert!(interims >= 2, "{lines:#?}");
    assert!(statuses.last().unwrap().contains(" 200"), "{lines:#?}");
    assert!(lines[1].starts_with("location: /files/a"), "{lines:#?}");
    let offsets = lines.iter().filter_map(|line| line.strip_prefix("upload-offset: "));
    let offsets: Vec<usize> = offsets.map(|offset| offset.parse().unwrap()).collect();
    assert!(offsets.is_sorted() && offsets.len() >= 2, "{lines:#?}");
    assert_eq!(offsets.last(), Some(&LENGTH));
}

fn payload() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; LENGTH]).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_sees_where_it_uploads_to_and_how_far_it_is() {
    let url = format!("http://{}/files", start().await);
    let file = payload();
    let data = format!("@{}", file.path().display());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        // With and without asking first (Expect: 100-continue).
        for expect in ["Expect:", "Expect: 100-continue"] {
            let arguments =
                ["-sv", "-m", "60", version, "-H", expect, "--data-binary", &data, &url];
            let Some(text) = run("curl", &arguments).await else { return };
            check(&text.replace("< HTTP/1.1 100 Continue", ""), "< ");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_sees_where_it_uploads_to_and_how_far_it_is() {
    const SCRIPT: &str = r#"
        const [host, port, file] = process.argv.slice(1);
        const fs = require('fs'), http = require('http'), http2 = require('http2');
        const tell = (status, headers) => {
            console.log('< HTTP/x ' + status);
            for (const [name, value] of Object.entries(headers))
                if (!name.startsWith(':')) console.log('< ' + name + ': ' + value);
        };
        if (process.env.HTTP2) {
            const session = http2.connect(`http://${host}:${port}`);
            const request = session.request({ ':method': 'POST', ':path': '/files' });
            request.on('headers', headers => tell(headers[':status'], headers));
            request.on('response', headers => tell(headers[':status'], headers));
            request.on('end', () => session.close());
            request.resume();
            fs.createReadStream(file).pipe(request);
        } else {
            const options = { host, port, method: 'POST', path: '/files', agent: false };
            const request = http.request(options, answer => {
                tell(answer.statusCode, answer.headers);
                answer.resume();
            });
            request.on('information', info => tell(info.statusCode, info.headers));
            fs.createReadStream(file).pipe(request);
        }
    "#;
    let address = start().await;
    let file = payload();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let path = file.path().to_str().unwrap();
    for http2 in ["", "1"] {
        let http2 = format!("HTTP2={http2}");
        let arguments = [&http2, "timeout", "60", "node", "-e", SCRIPT, &host, &port, path];
        if run("node", &["--version"]).await.is_none() {
            return;
        }
        let text = run("env", &arguments).await.unwrap();
        check(&text, "< ");
    }
}
