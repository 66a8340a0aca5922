//! Interim responses from an application's own server: axum's with a wrapped listener, one's own
//! accept loop, and actix-web's. And the adapter suite on that loop, so that what carries interim
//! responses is seen to carry everything else.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::{net::TcpListener, runtime};
use tus_axum::interim;
use tus_core::{InterimMode, MemoryStore, Policy, Tus, TusBuilder};
use tus_testkit::{Abilities, App, Harness, Launch, Server, User};

tus_testkit::adapter_suite!(crate::Loop);

/// axum under an accept loop of one's own.
#[derive(Debug)]
struct Loop;

impl Harness for Loop {
    fn abilities(&self) -> Abilities {
        Abilities { trailers: true, late_continue: true }
    }

    fn start(&self, app: App) -> Server {
        launch(app, async |app, launch| {
            let tus = app.tus.build().expect("uploads");
            let uploads = tus_axum::routes("/files", tus.clone());
            let router = Router::new().route("/hello", get(async || "hello"));
            let router = match app.prefix {
                "" => router.merge(uploads),
                prefix => router.nest(prefix, uploads),
            };
            let router = router.layer(middleware::from_fn(attach_user));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let addr = listener.local_addr().expect("an address");
            let stopped = launch.ready(addr, tus);
            tokio::select! {
                () = accept(listener, router) => {}
                () = stopped => {}
            }
        })
    }
}

async fn attach_user(mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    if let Some(user) = user.map(|user| User(user.to_owned())) {
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}

async fn accept(listener: TcpListener, app: Router) {
    let server = interim::Server::new();
    while let Ok((stream, address)) = listener.accept().await {
        let (server, app) = (server.clone(), app.clone().layer(Extension(ConnectInfo(address))));
        tokio::spawn(async move {
            // Many of these tests break their connection.
            let _ended = server.serve_connection(stream, app, std::future::pending()).await;
        });
    }
}

/// Starts a server in a runtime of its own.
fn launch<F>(app: App, serve: F) -> Server
where
    F: AsyncFnOnce(App, Launch) + Send + 'static,
{
    Server::launch(app, move |app, launch| {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(serve(app, launch));
        runtime.shutdown_background();
    })
}

fn uploads() -> TusBuilder {
    let mut policy = Policy::default();
    policy.interim_every = Duration::from_millis(1);
    Tus::builder().store(MemoryStore::default()).policy(policy)
}

/// The servers that this is about; each with its name.
fn servers(tus: impl Fn() -> TusBuilder) -> [(&'static str, Server); 3] {
    let app = || App::new(tus());
    let listener = launch(app(), async |app, launch| {
        let tus = app.tus.build().expect("uploads");
        let router = Router::new().merge(tus_axum::routes("/files", tus.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stopped = launch.ready(listener.local_addr().expect("an address"), tus);
        let service = router.into_make_service_with_connect_info::<interim::Connection>();
        tokio::select! {
            ended = axum::serve(interim::Listener::new(listener), service) => ended.expect("a server"),
            () = stopped => {}
        }
    });
    let actix = Server::launch(app(), |app, launch| {
        actix_web::rt::System::new().block_on(async move {
            let tus = app.tus.build().expect("uploads");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("an address");
            let app = {
                let tus = tus.clone();
                move || actix_web::App::new().service(tus_actix::scope("/files", tus.clone()))
            };
            let server = actix_web::dev::Server::build().workers(1).disable_signals();
            let server = tus_actix::interim::listen(server, listener, app).expect("a server").run();
            let handle = server.handle();
            let stopped = launch.ready(addr, tus);
            tokio::select! {
                ended = server => ended.expect("a server"),
                () = stopped => handle.stop(false).await,
            }
        });
    });
    [("axum::serve", listener), ("Server", Loop.start(app())), ("actix", actix)]
}

/// A client that reads one head at a time, and takes nothing for granted.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next head: its status, and its text in lower case.
    fn head(&mut self) -> (u16, String) {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).expect("a head in time");
            assert_ne!(read, 0, "the connection ended: {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&buffer[..read]);
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").unwrap()[2..5].parse().unwrap();
        (status, head)
    }

    /// The final answer: its status, and what came before it. Its body is small, and skipped.
    fn answer(&mut self) -> (u16, String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            match self.head() {
                (100..200, head) => before.push(head),
                (status, head) => {
                    let length: usize =
                        value(&head, "content-length").unwrap_or("0").parse().unwrap();
                    while self.read.len() < length {
                        let mut buffer = [0; 4096];
                        let read = self.stream.read(&mut buffer).expect("a body in time");
                        assert_ne!(read, 0, "a body cut short");
                        self.read.extend_from_slice(&buffer[..read]);
                    }
                    self.read.drain(..length);
                    return (status, head, before);
                }
            }
        }
    }
}

fn value<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn create(version: &str, more: &str, length: usize) -> String {
    format!(
        "POST /files HTTP/{version}\r\nHost: uploads.test\r\nUpload-Complete: ?1\r\n{more}\
         Content-Length: {length}\r\n\r\n"
    )
}

const INTEROP: &str = "Upload-Draft-Interop-Version: 8\r\n";

#[test]
fn every_server_tells_the_url_first_and_then_how_far_it_is() {
    const PIECE: usize = 10_000;
    for (name, server) in servers(uploads) {
        let mut client = Client::connect(server.addr);
        for _ in 0..2 {
            client.write(create("1.1", INTEROP, 5 * PIECE));
            // Before a byte of the body is sent.
            let (status, head) = client.head();
            assert_eq!(status, 104, "{name}: {head}");
            assert!(head.starts_with("http/1.1 104 upload resumption supported\r\n"), "{head}");
            let url = value(&head, "location").expect("a URL").to_owned();
            let mut told = 0;
            for piece in 1..=5 {
                std::thread::sleep(Duration::from_millis(5));
                client.write([7; PIECE]);
                if piece == 5 {
                    break;
                }
                while told < piece * PIECE {
                    let (status, head) = client.head();
                    assert_eq!(status, 104, "{name}: {head}");
                    let offset: usize = value(&head, "upload-offset").unwrap().parse().unwrap();
                    assert!(offset > told && offset <= piece * PIECE, "{name}: {told}, {head}");
                    told = offset;
                }
            }
            let (status, head, _) = client.answer();
            assert!((200..300).contains(&status), "{name}: {head}");
            assert_eq!(value(&head, "location"), Some(url.as_str()), "{name}: {head}");
        }
    }
}

#[test]
fn whoever_has_not_asked_for_it_or_would_choke_hears_nothing_before_the_answer() {
    for (name, server) in servers(uploads) {
        for (version, more) in [
            ("1.0", INTEROP.to_owned()),
            ("1.1", String::new()),
            ("1.1", format!("{INTEROP}Via: 1.1 proxy\r\n")),
        ] {
            let mut client = Client::connect(server.addr);
            client.write(create(version, &more, 20));
            client.write([7; 10]);
            std::thread::sleep(Duration::from_millis(30));
            client.write([7; 10]);
            let (status, head, before) = client.answer();
            assert!((200..300).contains(&status), "{name}: {head}");
            assert!(before.is_empty(), "{name}: {before:?}");
        }
    }
}

#[test]
fn a_request_that_is_pipelined_behind_a_refused_one_hears_its_own() {
    let on = || {
        let mut policy = Policy::default();
        policy.interim = InterimMode::On;
        policy.max_size = Some(1000);
        Tus::builder().store(MemoryStore::default()).policy(policy)
    };
    for (name, server) in servers(on) {
        let mut client = Client::connect(server.addr);
        // Refused from its head, with its body on the way; and one that is not, right behind it.
        let mut requests = create("1.1", INTEROP, 3000).into_bytes();
        requests.resize(requests.len() + 3000, 7);
        requests.extend(create("1.1", INTEROP, 10).into_bytes());
        requests.extend([7; 10]);
        client.write(requests);
        let (status, head, before) = client.answer();
        assert_eq!(status, 413, "{name}: {head}");
        assert!(before.is_empty(), "{name}: {before:?}");
        if value(&head, "connection") == Some("close") {
            continue;
        }
        let (status, head, before) = client.answer();
        assert!((200..300).contains(&status), "{name}: {head}");
        let urls: Vec<_> = before.iter().filter_map(|head| value(head, "location")).collect();
        // The first may be overtaken by the answer, which tells the same.
        assert!(urls.iter().all(|url| Some(*url) == value(&head, "location")), "{name}: {urls:?}");
    }
}
