//! HTTP/1.1 byte by byte.

use std::{collections::VecDeque, io, net::SocketAddr};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    head::Head,
    response::{Response, ResponseHead},
    waiting::within,
};

/// One connection, on which nothing is sent that the test did not ask for.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: BytesMut,
    /// For each request that awaits its answer, whether it is a HEAD, whose answer has no body.
    asked: VecDeque<bool>,
    /// Whether the body that is being sent goes in chunks.
    chunked: bool,
}

impl Client {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> Self {
        let connected = within("a connection", TcpStream::connect(addr)).await;
        let stream = connected.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("no delay");
        Self { stream, received: BytesMut::new(), asked: VecDeque::new(), chunked: false }
    }

    /// Sends the head of a request, and nothing of its body.
    pub async fn send_head(&mut self, head: &Head) {
        self.note(head);
        self.send(head.to_bytes()).await;
    }

    /// Sends a head and all of its body in one go, framed as the head says.
    pub async fn send_request(&mut self, head: &Head, body: &[u8]) {
        let sent = self.try_send_request(head, body).await;
        sent.unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// As [`send_request`](Self::send_request), for a server that may have closed.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub async fn try_send_request(&mut self, head: &Head, body: &[u8]) -> io::Result<()> {
        self.note(head);
        let mut bytes = head.to_bytes();
        if self.chunked {
            if !body.is_empty() {
                bytes.extend_from_slice(&chunk(body));
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(body);
        }
        self.try_send(&bytes).await
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, head: &Head, body: &[u8]) -> Response {
        self.send_request(head, body).await;
        self.read_response().await
    }

    /// Sends a piece of a body, as a chunk if the head said so.
    pub async fn send_body(&mut self, piece: &[u8]) {
        let sent = self.try_send_body(piece).await;
        sent.unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// As [`send_body`](Self::send_body), for a server that may have closed.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub async fn try_send_body(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.chunked { self.try_send(&chunk(piece)).await } else { self.try_send(piece).await }
    }

    /// Ends a body in chunks, with trailers; a sized body has nothing to end it.
    pub async fn end_body(&mut self, trailers: &[(&str, &str)]) {
        if !self.chunked {
            assert!(trailers.is_empty(), "a sized body has no trailers");
            return;
        }
        let mut text = String::from("0\r\n");
        for (name, value) in trailers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        self.send(text).await;
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.try_send(bytes.as_ref()).await;
        sent.unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// As [`send`](Self::send), for a server that may have closed.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("the server to take bytes", self.stream.write_all(bytes)).await
    }

    /// Sends bytes as they are until an answer begins or the server closes, as a client does that
    /// reads while it writes; says how many were sent.
    pub async fn send_until_answered(&mut self, bytes: &[u8]) -> usize {
        let (reading, mut writing) = self.stream.split();
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let wrote = within("the server to take bytes or to answer", async {
                tokio::select! {
                    biased;
                    _ = reading.readable() => None,
                    wrote = writing.write(rest) => Some(wrote),
                }
            });
            match wrote.await {
                Some(Ok(count)) => sent += count,
                Some(Err(_)) | None => return sent,
            }
        }
        sent
    }

    /// Reads an interim response and panics unless it is this one.
    pub async fn read_interim(&mut self, status: u16) {
        let head = self.read_head().await;
        let head = head.unwrap_or_else(|error| panic!("no interim response: {error}"));
        assert_eq!(head.status, status, "{:?}", head.headers);
    }

    /// Reads the answer to the oldest request that has none, with the interim ones before it.
    pub async fn read_response(&mut self) -> Response {
        let response = self.try_read_response().await;
        response.unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// As [`read_response`](Self::read_response), for a server that may have closed.
    ///
    /// # Errors
    ///
    /// The socket's; `UnexpectedEof` if the server closed before the answer was whole;
    /// `InvalidData` if it is not HTTP.
    pub async fn try_read_response(&mut self) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.read_head().await?;
            if !(100..200).contains(&head.status) {
                break head;
            }
            interim.push(head.status);
        };
        let is_head = self.asked.pop_front().unwrap_or(false);
        let body = if is_head || matches!(head.status, 204 | 304) {
            Bytes::new()
        } else {
            self.read_body(&head).await?
        };
        Ok(Response {
            interim,
            version: head.version,
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Reads an answer, or nothing if the server closes without one; anything else panics.
    pub async fn answer_or_close(&mut self) -> Option<Response> {
        match self.try_read_response().await {
            Ok(response) => Some(response),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => panic!("{error}"),
            Err(_) if self.received.is_empty() => None,
            Err(error) => panic!("cut off after {:?}: {error}", self.received),
        }
    }

    /// Waits until the server closes, and panics if it says anything more.
    pub async fn closed(&mut self) {
        // An end by RST is as good as one by FIN.
        while let Ok(1..) = self.fill().await {}
        assert!(self.received.is_empty(), "said more: {:?}", self.received);
    }

    /// Closes our half: the server sees a FIN, its answer can still be read.
    pub async fn finish(&mut self) {
        let shut = self.stream.shutdown().await;
        shut.expect("to send a FIN");
    }

    /// Leaves with a RST: what was not sent yet is lost.
    pub fn abort(self) {
        self.stream.set_zero_linger().expect("to set SO_LINGER");
        drop(self.stream);
    }

    fn note(&mut self, head: &Head) {
        self.asked.push_back(head.is_head());
        self.chunked = head.is_chunked();
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = self.stream.read_buf(&mut self.received);
        within("the server to say something", read).await
    }

    /// Reads until there are so many bytes.
    async fn want(&mut self, count: usize) -> io::Result<()> {
        while self.received.len() < count {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads up to a separator, which is taken off.
    async fn until(&mut self, separator: &[u8]) -> io::Result<Bytes> {
        loop {
            let found =
                self.received.windows(separator.len()).position(|window| window == separator);
            if let Some(at) = found {
                let before = self.received.split_to(at).freeze();
                self.received.advance(separator.len());
                return Ok(before);
            }
            let more = self.received.len() + 1;
            self.want(more).await?;
        }
    }

    async fn read_head(&mut self) -> io::Result<ResponseHead> {
        let mut head = self.until(b"\r\n\r\n").await?.to_vec();
        head.extend_from_slice(b"\r");
        ResponseHead::parse(&head)
    }

    async fn read_body(&mut self, head: &ResponseHead) -> io::Result<Bytes> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if head.headers.contains_key(http::header::TRANSFER_ENCODING) {
            let mut body = BytesMut::new();
            loop {
                let size = self.until(b"\r\n").await?;
                let size = std::str::from_utf8(&size).map_err(|_| wrong("a chunk size"))?;
                let size = usize::from_str_radix(size, 16).map_err(|_| wrong("a chunk size"))?;
                self.want(size + 2).await?;
                body.extend_from_slice(&self.received.split_to(size));
                self.received.advance(2);
                if size == 0 {
                    return Ok(body.freeze());
                }
            }
        }
        if let Some(length) = head.headers.get(http::header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            let length = length.ok_or_else(|| wrong("a Content-Length"))?;
            self.want(length).await?;
            return Ok(self.received.split_to(length).freeze());
        }
        // RFC 9112, section 6.3: then it ends with the connection. A server that keeps that open
        // leaves its client waiting.
        let closes = head.headers.get_all(http::header::CONNECTION).iter();
        if head.version == "HTTP/1.1" && !closes.into_iter().any(|value| value == "close") {
            return Err(wrong("neither a length nor a close"));
        }
        while self.fill().await? > 0 {}
        Ok(self.received.split().freeze())
    }
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
