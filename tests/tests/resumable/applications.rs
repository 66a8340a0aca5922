//! The applications, with a few routes more that only a test wants.

use std::{
    fmt,
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tus_core::{Policy, Resumed, Tus};
use tus_fs::FsStore;
use tus_testkit::{App, Server};

/// A framework with a resumable application.
pub(crate) trait Application: fmt::Debug + Sync {
    /// Serves it, with uploads and files in this directory.
    fn start(&self, directory: &Path, policy: Policy) -> Started;
}

/// An application that runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) server: Server,
    pub(crate) asked: Arc<Asked>,
}

/// How the routes of the test were asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// How often each fragile handler was.
    pub(crate) times: AtomicUsize,
    /// The events that it was given.
    pub(crate) events: std::sync::Mutex<Vec<String>>,
}

impl Asked {
    /// Notes that a handler is asked; returns how often it was before.
    fn note(&self, resumed: Option<&Resumed>) -> usize {
        let event = resumed.map(|resumed| resumed.event_id.clone());
        self.events.lock().unwrap().push(event.unwrap_or_default());
        self.times.fetch_add(1, Ordering::SeqCst)
    }
}

/// More than is kept of an answer.
pub(crate) const LARGE: usize = 300_000;

async fn tus(directory: &Path, policy: Policy) -> Tus {
    let store = FsStore::builder(directory.join("uploads"))
        .wait_for_lock(Duration::from_secs(30))
        .open()
        .await
        .expect("a store");
    Tus::builder().store(store).policy(policy).build().expect("a service")
}

/// On axum.
#[derive(Debug)]
pub(crate) struct Axum;

impl Application for Axum {
    fn start(&self, directory: &Path, policy: Policy) -> Started {
        use axum::{
            Extension, Router,
            http::{HeaderMap, StatusCode},
            routing::post,
        };
        let asked = Arc::new(Asked::default());
        let directory = directory.to_owned();
        let shelf = example_resumable::Shelf { directory: directory.clone() };
        let fragile = asked.clone();
        let fragile = move |resumed: Extension<Resumed>, body: String| async move {
            match fragile.note(Some(&resumed.0)) {
                0 => (StatusCode::BAD_GATEWAY, "a bad day\n".to_owned()),
                _ => (StatusCode::OK, format!("{} bytes at last\n", body.len())),
            }
        };
        let panicking = asked.clone();
        let panicking = move |resumed: Extension<Resumed>, body: String| async move {
            assert!(panicking.note(Some(&resumed.0)) > 0, "a very bad day");
            format!("{} bytes at last\n", body.len())
        };
        let slow = asked.clone();
        let slow = move |resumed: Extension<Resumed>, body: String| async move {
            slow.note(Some(&resumed.0));
            tokio::time::sleep(Duration::from_millis(500)).await;
            format!("{} bytes, slowly\n", body.len())
        };
        let whoami = async |headers: HeaderMap| {
            let of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
            let who = of("authorization");
            format!("{who} {} {} {}\n", of("content-language"), of("x-other"), of("if-match"))
        };
        let guarded = async |headers: HeaderMap, body: String| {
            if !headers.contains_key("authorization") {
                return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic")], String::new());
            }
            (StatusCode::OK, [("set-cookie", "session=1")], format!("{} bytes\n", body.len()))
        };
        let app = Router::new()
            .route("/fragile", post(fragile))
            .route("/panicking", post(panicking))
            .route("/slow", post(slow))
            .route("/whoami", post(whoami))
            .route("/guarded", post(guarded))
            .route("/large", post(async || "x".repeat(LARGE)))
            .merge(example_resumable::app(shelf));
        let server = Server::launch(App::new(Tus::builder()), move |_, launch| {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let tus = tus(&directory, policy).await;
                let app = tus_axum::resumable(app, tus.clone());
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let stopped = launch.ready(listener.local_addr().expect("an address"), tus.clone());
                tokio::select! {
                    served = axum::serve(listener, app) => served.expect("a server"),
                    () = stopped => {}
                }
                tus.drain(Duration::from_secs(10)).await;
            });
        });
        Started { server, asked }
    }
}

/// On actix-web.
#[derive(Debug)]
pub(crate) struct Actix;

impl Application for Actix {
    fn start(&self, directory: &Path, policy: Policy) -> Started {
        use actix_web::{
            App as ActixApp, HttpRequest, HttpResponse, HttpServer, rt::System, web, web::ReqData,
        };
        let asked = Arc::new(Asked::default());
        let directory = directory.to_owned();
        let seen = asked.clone();
        let run = async move |launch: tus_testkit::Launch| {
            let tus = tus(&directory, policy).await;
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = listener.local_addr().expect("an address");
            let server = HttpServer::new({
                let tus = tus.clone();
                move || {
                    let shelf = example_resumable_actix::Shelf { directory: directory.clone() };
                    let asked = seen.clone();
                    let fragile = move |resumed: ReqData<Resumed>, body: String| {
                        let times = asked.note(Some(&resumed));
                        async move {
                            match times {
                                0 => HttpResponse::BadGateway().body("a bad day\n"),
                                _ => HttpResponse::Ok()
                                    .body(format!("{} bytes at last\n", body.len())),
                            }
                        }
                    };
                    let asked = seen.clone();
                    let panicking = move |resumed: ReqData<Resumed>, body: String| {
                        let times = asked.note(Some(&resumed));
                        async move {
                            assert!(times > 0, "a very bad day");
                            format!("{} bytes at last\n", body.len())
                        }
                    };
                    let asked = seen.clone();
                    let slow = move |resumed: ReqData<Resumed>, body: String| {
                        asked.note(Some(&resumed));
                        async move {
                            actix_web::rt::time::sleep(Duration::from_millis(500)).await;
                            format!("{} bytes, slowly\n", body.len())
                        }
                    };
                    let whoami = async |request: HttpRequest| {
                        let headers = request.headers();
                        let of = |name| {
                            let value = headers.get(name).and_then(|value| value.to_str().ok());
                            value.unwrap_or("-").to_owned()
                        };
                        let (who, language) = (of("authorization"), of("content-language"));
                        format!("{who} {language} {} {}\n", of("x-other"), of("if-match"))
                    };
                    let guarded = async |request: HttpRequest, body: String| {
                        if !request.headers().contains_key("authorization") {
                            let mut answer = HttpResponse::Unauthorized();
                            return answer.insert_header(("www-authenticate", "Basic")).finish();
                        }
                        let mut answer = HttpResponse::Ok();
                        answer.insert_header(("set-cookie", "session=1"));
                        answer.body(format!("{} bytes\n", body.len()))
                    };
                    ActixApp::new()
                        .wrap(tus_actix::Resumable::new(tus.clone()))
                        .route("/fragile", web::post().to(fragile))
                        .route("/panicking", web::post().to(panicking))
                        .route("/slow", web::post().to(slow))
                        .route("/whoami", web::post().to(whoami))
                        .route("/guarded", web::post().to(guarded))
                        .route("/large", web::post().to(async || "x".repeat(LARGE)))
                        .configure(example_resumable_actix::configure(shelf))
                }
            });
            let server = server.workers(2).shutdown_timeout(0).disable_signals();
            let server = server.listen(listener).expect("a server").run();
            let handle = server.handle();
            let stopped = launch.ready(addr, tus.clone());
            actix_web::rt::spawn(async move {
                stopped.await;
                handle.stop(false).await;
            });
            server.await.expect("a server");
            tus.drain(Duration::from_secs(10)).await;
        };
        let server = Server::launch(App::new(Tus::builder()), move |_, launch| {
            System::new().block_on(run(launch));
        });
        Started { server, asked }
    }
}
