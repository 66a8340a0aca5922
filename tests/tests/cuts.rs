//! Uploads that are cut at any byte, in any way, leave nothing behind but what was stored of them:
//! no descriptor, no thread, no task, no temporary file (P2, P3, P7).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "cuts/left.rs"]
mod left;
#[path = "cuts/storm.rs"]
mod storm;

use std::{net::SocketAddr, path::Path};

use axum::Router;
use left::{Taken, at_rest, check, settles};
use storm::{Kind, Leave, Place, storm};
use tokio::{net::TcpListener, runtime};
use tus_core::Tus;
use tus_fs::FsStore;
use tus_testkit::{Client, Head};
use tus_tests::{
    process::{Process, program},
    scale::{scale, seed},
};

fn uploads() -> u64 {
    scale("TUS_CUT_UPLOADS", 500, 5000)
}

fn clients() -> runtime::Runtime {
    runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn tus_server(directory: &Path) -> Process {
    let arguments = [
        "--port=0".into(),
        format!("--upload-dir={}", directory.join("uploads").display()),
        format!("--destination-dir={}", directory.join("files").display()),
    ];
    Process::start(&program("tus-server"), &arguments)
}

fn example(name: &'static str, directory: &Path) -> Process {
    Process::start(&program(name), &["127.0.0.1:0", &directory.display().to_string()])
}

#[test]
fn cut_uploads_leave_nothing_behind_in_tus_server() {
    leaves_nothing_behind("tus-server", Kind::Ours, tus_server);
}

#[test]
fn cut_uploads_leave_nothing_behind_in_an_axum_application() {
    leaves_nothing_behind("axum", Kind::Frameworks, |directory| example("example-axum", directory));
}

#[test]
fn cut_uploads_leave_nothing_behind_in_an_actix_application() {
    leaves_nothing_behind("actix-web", Kind::Frameworks, |directory| {
        example("example-actix", directory)
    });
}

/// Has every thread of a server begun its work.
async fn greet(addr: SocketAddr) {
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = Client::connect(addr).await;
        client.request(&Head::new("OPTIONS", "/files"), b"").await.expect(204);
        clients.push(client);
    }
}

fn leaves_nothing_behind(name: &str, kind: Kind, start: impl Fn(&Path) -> Process) {
    let (seed, uploads) = (seed(), uploads());
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(directory.path());
    clients().block_on(async {
        greet(server.addr).await;
        let base = at_rest(&server).await;
        let cases = storm(server.addr, seed, 0..uploads).await;
        let took = settles(base.descriptors, || Taken::by(&server).descriptors).await;
        let threads = settles(base.threads, || Taken::by(&server).threads).await;
        let tally = check(server.addr, directory.path(), &cases, kind).await;
        let count = |what: &dyn Fn(&storm::Case) -> bool| cases.iter().filter(|c| what(c)).count();
        println!(
            "{name}: {uploads} uploads cut ({} in the head, {} in the body, {} after it; {} by FIN, \
             {} by RST, {} by half): {tally:?}; {base:?} again after {took:?} and {threads:?}",
            count(&|case| case.place == Place::Head),
            count(&|case| case.place == Place::Body),
            count(&|case| case.place == Place::After),
            count(&|case| case.leave == Leave::Fin),
            count(&|case| case.leave == Leave::Rst),
            count(&|case| case.leave == Leave::Half),
        );
        assert!(tally.resumed > 0 && tally.complete > 0 && tally.nothing > 0, "{tally:?}");
    });
}

/// As seen from inside: what is spawned for a request ends with it.
#[test]
fn cut_uploads_leave_no_task_behind_in_an_axum_application() {
    let (seed, uploads) = (seed(), uploads());
    let directory = tempfile::tempdir().expect("a directory");
    let served = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = served.expect("a runtime");
    let addr = served.block_on(async {
        let store = FsStore::builder(directory.path().join("uploads"))
            .destination(directory.path().join("files"))
            .open();
        let tus = Tus::new(store.await.expect("a store"));
        let app: Router = Router::new().merge(tus_axum::routes("/files", tus));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
        addr
    });
    let tasks = || served.metrics().num_alive_tasks();
    clients().block_on(async {
        greet(addr).await;
        // The accept loop and the sweeper.
        settles(2, tasks).await;
        let cases = storm(addr, seed, 0..uploads).await;
        let took = settles(2, tasks).await;
        let tally = check(addr, directory.path(), &cases, Kind::Frameworks).await;
        println!(
            "axum, in process: {uploads} uploads cut: {tally:?}; 2 tasks again after {took:?}"
        );
    });
    served.shutdown_background();
}
