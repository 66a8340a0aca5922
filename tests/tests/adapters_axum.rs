//! The adapter suite on axum.
#![allow(clippy::expect_used, reason = "a test's server reports by panicking")]

use std::net::SocketAddr;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::{net::TcpListener, runtime};
use tus_testkit::{Abilities, App, Harness, Launch, Server, User};

tus_testkit::adapter_suite!(crate::Axum);

#[derive(Debug)]
struct Axum;

impl Harness for Axum {
    fn abilities(&self) -> Abilities {
        Abilities { trailers: true, late_continue: true }
    }

    fn start(&self, app: App) -> Server {
        Server::launch(app, |app, launch| {
            let runtime =
                runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(serve(app, launch));
            runtime.shutdown_background();
        })
    }
}

async fn serve(app: App, launch: Launch) {
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
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        ended = axum::serve(listener, service) => ended.expect("a server"),
        () = stopped => {}
    }
}

async fn attach_user(mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    if let Some(user) = user.map(|user| User(user.to_owned())) {
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}
