//! The three servers, each with a store of its own.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use actix_web::{App as ActixApp, HttpServer, rt::System};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::runtime;
use tower_service::Service as _;
use tus_core::{Cors, Expiry, PeerAddr, Policy, Tus, TusBuilder, TusService};
use tus_fs::{Durability, FsStore};
use tus_testkit::{App, Launch, Server};

use super::{
    talk::Talk,
    world::{MAX_METADATA, MAX_PARTS, MAX_SIZE, MOUNT},
};

/// A server, its directories, and a connection to it.
pub(crate) struct Served {
    pub(crate) name: &'static str,
    /// What holds its directories, and the sentinels beside them.
    pub(crate) home: PathBuf,
    pub(crate) talk: Option<Talk>,
    pub(crate) server: Server,
}

impl Served {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.home.join("uploads")
    }

    pub(crate) fn finished(&self) -> PathBuf {
        self.home.join("finished")
    }
}

/// Starts all three below a directory.
pub(crate) fn start(root: &Path) -> Vec<Served> {
    let start = |name, run: fn(App, Launch)| {
        let home = root.join(name);
        std::fs::create_dir(&home).expect("a directory");
        let server = Server::launch(App::new(uploads(&home)), run);
        Served { name, home, talk: None, server }
    };
    vec![start("axum", run_axum), start("tower", run_tower), start("actix", run_actix)]
}

fn uploads(home: &Path) -> TusBuilder {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = FsStore::builder(home.join("uploads"))
        .destination(home.join("finished"))
        // What is asked here does not depend on what a loss of power leaves.
        .durability(Durability::Process);
    let store = runtime.block_on(store.open()).expect("a store");
    let mut policy = Policy::default();
    policy.max_size = Some(MAX_SIZE);
    policy.max_parts = MAX_PARTS;
    policy.max_metadata = MAX_METADATA;
    policy.download = true;
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(24 * 3600)));
    policy.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    policy.cors = Cors::origins(["https://*.up.test".parse().expect("a pattern")]);
    policy.cors.credentials = true;
    // The grammar names uploads itself, so that all servers give them the same URL.
    Tus::builder().meta(store.clone()).chunks(store).policy(policy).before_create(
        |context, mut new| {
            let wanted = context.headers().get("x-id").and_then(|id| id.to_str().ok());
            new.id = wanted.and_then(|id| id.parse().ok());
            async move { Ok(new) }
        },
    )
}

fn on_a_runtime(serve: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(serve);
    runtime.shutdown_background();
}

fn run_axum(app: App, launch: Launch) {
    on_a_runtime(async move {
        let tus = app.tus.build().expect("uploads");
        let router: Router = Router::new().merge(tus_axum::routes(MOUNT, tus.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let stopped = launch.ready(addr, tus);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::select! {
            ended = axum::serve(listener, service) => ended.expect("a server"),
            () = stopped => {}
        }
    });
}

fn run_tower(app: App, launch: Launch) {
    on_a_runtime(async move {
        let tus = app.tus.build().expect("uploads");
        let uploads = tus.service(MOUNT);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let stopped = launch.ready(addr, tus);
        let accept = async {
            loop {
                let (stream, peer) = listener.accept().await.expect("a connection");
                let uploads = uploads.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| route(uploads.clone(), request, peer));
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A client that breaks its connection is not the server's failure.
                    drop(server.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = stopped => {}
        }
    });
}

/// Hands on what is below the mount.
async fn route(
    mut uploads: TusService,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Either<tus_core::Body, Full<Bytes>>>, Infallible> {
    let below = request.uri().path().strip_prefix(MOUNT);
    if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        request.extensions_mut().insert(PeerAddr(peer.ip()));
        return Ok(uploads.call(request).await?.map(Either::Left));
    }
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    Ok(answer)
}

fn run_actix(app: App, launch: Launch) {
    System::new().block_on(async move {
        let tus = app.tus.build().expect("uploads");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let uploads = tus.clone();
        let server = HttpServer::new(move || {
            ActixApp::new().service(tus_actix::scope(MOUNT, uploads.clone()))
        });
        // A slow machine is no slow client.
        let patience = Duration::from_secs(600);
        let server = server.workers(1).keep_alive(patience).client_request_timeout(patience);
        let server = server.shutdown_timeout(0).disable_signals();
        let server = server.listen(listener).expect("a server").run();
        let handle = server.handle();
        let stopped = launch.ready(addr, tus);
        actix_web::rt::spawn(async move {
            stopped.await;
            handle.stop(false).await;
        });
        server.await.expect("a server");
    });
}
