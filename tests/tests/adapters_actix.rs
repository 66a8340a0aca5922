//! The adapter suite on actix-web.
#![allow(clippy::expect_used, reason = "a test's server reports by panicking")]

use std::net::TcpListener;

use actix_web::{
    App as ActixApp, HttpMessage as _, HttpServer, dev::Service as _, rt::System, web,
};
use tus_testkit::{Abilities, App, Harness, Launch, Server, User};

tus_testkit::adapter_suite!(crate::Actix);

#[derive(Debug)]
struct Actix;

impl Harness for Actix {
    fn abilities(&self) -> Abilities {
        Abilities { trailers: false, late_continue: false }
    }

    fn start(&self, app: App) -> Server {
        Server::launch(app, |app, launch| System::new().block_on(serve(app, launch)))
    }
}

async fn serve(app: App, launch: Launch) {
    let tus = app.tus.build().expect("uploads");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = HttpServer::new({
        let tus = tus.clone();
        move || {
            let attach = |request: &actix_web::HttpRequest, extensions: &mut http::Extensions| {
                if let Some(user) = request.extensions().get::<User>() {
                    extensions.insert(user.clone());
                }
            };
            let uploads = tus_actix::scope_with("/files", tus.clone(), attach);
            let site = ActixApp::new().route("/hello", web::get().to(async || "hello"));
            let site = site.wrap_fn(|request, next| {
                let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
                if let Some(user) = user.map(|user| User(user.to_owned())) {
                    request.extensions_mut().insert(user);
                }
                next.call(request)
            });
            match app.prefix {
                "" => site.service(uploads),
                prefix => site.service(web::scope(prefix).service(uploads)),
            }
        }
    });
    let server = server.workers(2).shutdown_timeout(0).disable_signals();
    let server = match app.http2 {
        true => server.listen_auto_h2c(listener),
        false => server.listen(listener),
    };
    let server = server.expect("a server").run();
    let handle = server.handle();
    let stopped = launch.ready(addr, tus);
    actix_web::rt::spawn(async move {
        stopped.await;
        handle.stop(false).await;
    });
    server.await.expect("a server");
}
