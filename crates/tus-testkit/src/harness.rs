//! Real servers of real frameworks, each in a thread of its own.

use std::{fmt, net::SocketAddr, sync::mpsc, thread};

use tokio::sync::oneshot;
use tus_core::{Tus, TusBuilder};

use crate::{
    client::Client,
    head::Head,
    response::Response,
    upload::Upload,
    waiting::{PATIENCE, within},
};

/// What the application of a [`Harness`] knows of a request, for hooks to see: the value of its
/// `X-User` header, attached the way the framework's users do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(pub String);

/// A framework with uploads mounted the way its users mount them.
///
/// Its application also has a route `/hello`, which says `hello` to a GET, and attaches a
/// [`User`] to each request that names one.
pub trait Harness: fmt::Debug + Sync + 'static {
    /// What differs from other frameworks.
    fn abilities(&self) -> Abilities;

    /// Starts a server, on a thread of its own; see [`Server::launch`].
    fn start(&self, app: App) -> Server;
}

/// In what the frameworks differ; everything else must be the same.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// The trailers of a request are seen.
    pub trailers: bool,
    /// `100 Continue` is sent once the body is wanted, not before the request is looked at.
    pub late_continue: bool,
}

/// What a server is to serve.
#[derive(Debug)]
pub struct App {
    /// The uploads, to be built on the server's own runtime.
    pub tus: TusBuilder,
    /// The path under which `/files` is nested, or nothing.
    pub prefix: &'static str,
    /// Whether HTTP/2 is spoken, without TLS and with prior knowledge.
    pub http2: bool,
}

impl App {
    /// Uploads at `/files`.
    pub fn new(tus: TusBuilder) -> Self {
        Self { tus, prefix: "", http2: false }
    }

    /// The path at which clients find the uploads.
    pub fn mount(&self) -> String {
        format!("{}/files", self.prefix)
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The path at which clients find the uploads.
    pub mount: String,
    /// What serves them.
    pub tus: Tus,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How a server's thread tells that it runs, and learns that it is to end.
#[derive(Debug)]
pub struct Launch {
    ready: mpsc::Sender<(SocketAddr, Tus)>,
    stopped: oneshot::Receiver<()>,
}

impl Launch {
    /// Says that connections are accepted; returns what resolves when the server is to end.
    pub fn ready(self, addr: SocketAddr, tus: Tus) -> impl Future<Output = ()> + Send + 'static {
        let told = self.ready.send((addr, tus));
        told.expect("somebody to wait for the server");
        async move {
            // The test may have panicked and dropped its half; that is an end too.
            drop(self.stopped.await);
        }
    }
}

impl Server {
    /// Runs a server in a thread of its own and waits until it listens.
    pub fn launch(app: App, run: impl FnOnce(App, Launch) + Send + 'static) -> Self {
        let mount = app.mount();
        let (ready, listens) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let launch = Launch { ready, stopped };
        let thread = thread::spawn(move || run(app, launch));
        let (addr, tus) = listens.recv_timeout(PATIENCE).expect("a server");
        Self { addr, mount, tus, stop: Some(stop), thread: Some(thread) }
    }

    /// A new connection.
    pub async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// Sends a request over a connection of its own and reads its answer.
    pub async fn request(&self, head: &Head, body: &[u8]) -> Response {
        self.connect().await.request(head, body).await
    }

    /// Creates an upload.
    pub async fn create(&self, length: usize) -> Upload {
        Upload::create(self.addr, &self.mount, length as u64).await
    }

    /// Stops, and panics if the server has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().expect("a server");
        let joined = within("the server to end", tokio::task::spawn_blocking(|| thread.join()));
        let ended = joined.await.expect("to wait for the server");
        assert!(ended.is_ok(), "the server panicked");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}
