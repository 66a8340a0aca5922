//! The requests of tus, one upload at a time.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::{client::Client, head::Head, payload::assert_same_bytes, response::Response};

/// An upload on a server. Every request goes over a connection of its own.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Where the server listens.
    pub addr: SocketAddr,
    /// The path that its `Location` told.
    pub path: String,
}

/// How a body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`.
    Sized,
    /// By a last chunk.
    Chunked,
}

impl Framing {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Sized, Self::Chunked];

    /// Adds to a head what announces a body of this length.
    pub fn announce(self, head: Head, length: usize) -> Head {
        match self {
            Self::Sized => head.sized(length),
            Self::Chunked => head.chunked(),
        }
    }
}

impl Upload {
    /// Creates one at a mount, such as `/files`.
    pub async fn create(addr: SocketAddr, mount: &str, length: u64) -> Self {
        Self::create_with(addr, &Head::create(mount, length)).await
    }

    /// Creates one with a head of the test's own.
    pub async fn create_with(addr: SocketAddr, head: &Head) -> Self {
        let created = Client::connect(addr).await.request(head, b"").await;
        Self::told_by(addr, &created.expect(201))
    }

    /// The one whose `Location` this is; a path or a URL.
    pub fn told_by(addr: SocketAddr, created: &Response) -> Self {
        let location = created.header("location").expect("a Location");
        let path = match location.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').expect("a path")..],
            None => location,
        };
        let path = path.to_owned();
        Self { addr, path }
    }

    /// Its id, as its path shows it.
    pub fn id(&self) -> &str {
        self.path.rsplit('/').next().expect("a last segment")
    }

    /// The head of a PATCH without what announces its body.
    pub fn patch_head(&self, offset: u64) -> Head {
        Head::new("PATCH", &self.path)
            .with("Content-Type", "application/offset+octet-stream")
            .with("Upload-Offset", offset)
    }

    /// Sends a request with a body of known length and reads its answer.
    pub async fn request(&self, head: &Head, body: &[u8]) -> Response {
        Client::connect(self.addr).await.request(head, body).await
    }

    /// Asks how far it is.
    pub async fn head(&self) -> Response {
        self.request(&Head::new("HEAD", &self.path), b"").await
    }

    /// How far it is.
    pub async fn offset(&self) -> u64 {
        self.head().await.expect(200).offset()
    }

    /// Sends bytes in one PATCH.
    pub async fn patch(&self, offset: u64, bytes: &[u8]) -> Response {
        let head = self.patch_head(offset).sized(bytes.len());
        self.request(&head, bytes).await
    }

    /// Begins a PATCH of so many bytes, and sends the head alone.
    pub async fn begin_patch(&self, offset: u64, framing: Framing, length: usize) -> Client {
        let mut client = Client::connect(self.addr).await;
        let head = framing.announce(self.patch_head(offset), length);
        client.send_head(&head).await;
        client
    }

    /// Ends it.
    pub async fn delete(&self) -> Response {
        self.request(&Head::new("DELETE", &self.path), b"").await
    }

    /// Reads it; the server must allow it.
    pub async fn download(&self) -> Bytes {
        let got = self.request(&Head::plain("GET", &self.path), b"").await;
        got.expect(200).body
    }

    /// Does what a client does that comes back: asks how far it is, sends the rest, and finds
    /// every byte in its place. Says where it went on.
    pub async fn resume(&self, whole: &[u8]) -> u64 {
        let offset = self.offset().await;
        let rest = usize::try_from(offset).expect("an offset in memory");
        let rest = whole.get(rest..).expect("an offset within the upload");
        self.patch(offset, rest).await.expect(204);
        self.verify(whole).await;
        offset
    }

    /// Panics unless it is complete and holds these bytes.
    pub async fn verify(&self, whole: &[u8]) {
        assert_eq!(self.offset().await, whole.len() as u64);
        assert_same_bytes(&self.download().await, whole);
    }
}
