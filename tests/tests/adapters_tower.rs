//! The adapter suite on the tower service, served by plain hyper.
#![allow(clippy::expect_used, reason = "a test's server reports by panicking")]

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime};
use tower_service::Service as _;
use tus_core::{PeerAddr, TusService};
use tus_testkit::{Abilities, App, Harness, Launch, Server, User};

tus_testkit::adapter_suite!(crate::Tower);

#[derive(Debug)]
struct Tower;

impl Harness for Tower {
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
    let mount = app.mount();
    let tus = app.tus.build().expect("uploads");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let site = Site { uploads: tus.service(&mount), mount };
    let stopped = launch.ready(addr, tus);
    let accept = async {
        loop {
            let (stream, peer) = listener.accept().await.expect("a connection");
            let site = site.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| site.clone().answer(request, peer));
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
}

/// An application of few words: uploads below their mount, and a greeting.
#[derive(Clone)]
struct Site {
    uploads: TusService,
    mount: String,
}

impl Site {
    async fn answer(
        mut self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Either<tus_core::Body, Full<Bytes>>>, Infallible> {
        let path = request.uri().path();
        let below = path.strip_prefix(self.mount.as_str());
        if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
            if let Some(user) = user.map(|user| User(user.to_owned())) {
                request.extensions_mut().insert(user);
            }
            request.extensions_mut().insert(PeerAddr(peer.ip()));
            let answer = self.uploads.call(request).await?;
            return Ok(answer.map(Either::Left));
        }
        let (status, text) = match (request.method().as_str(), path) {
            ("GET", "/hello") => (StatusCode::OK, "hello"),
            _ => (StatusCode::NOT_FOUND, ""),
        };
        let mut answer = Response::new(Either::Right(Full::from(text)));
        *answer.status_mut() = status;
        Ok(answer)
    }
}
