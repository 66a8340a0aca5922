//! The same over TLS, and what TLS adds.

use std::path::PathBuf;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

mod certificates;
mod endings;

/// A directory with a certificate and its key.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.renew();
        home
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// Puts another certificate in their place, with a key of its own.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.certificate(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    async fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(&self.certificate(), &self.key()).await
    }

    /// A client that trusts this certificate alone and offers these protocols.
    fn client(&self, protocols: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config).into()
    }
}

async fn start(home: &Home, app: Router, limits: Limits) -> (Server, Tls) {
    let tls = home.load().await.unwrap();
    let listener = Listener::tls("127.0.0.1", 0, tls.clone()).await.unwrap();
    (Server::of(listener, app, limits), tls)
}

async fn join(client: &TlsConnector, server: &Server) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    soon(client.connect(name, server.connect().await)).await
}

async fn connect(home: &Home, server: &Server, protocols: &[&str]) -> TlsStream<TcpStream> {
    join(&home.client(protocols), server).await.unwrap()
}

/// Asks for `/` in HTTP/1.1.
async fn ask(stream: &mut TlsStream<TcpStream>, answer: &str) -> String {
    stream.write_all(head("/").as_bytes()).await.unwrap();
    response(stream, answer).await
}

/// Asks for `/` in HTTP/2.
async fn ask_http2(stream: TlsStream<TcpStream>) -> (Version, Bytes) {
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = soon(client.send_request(request())).await.unwrap();
    let version = answer.version();
    (version, soon(answer.into_body().collect()).await.unwrap().to_bytes())
}

#[tokio::test]
async fn the_handshake_chooses_the_version_and_without_a_choice_the_first_bytes_do() {
    let home = Home::new();
    let (server, _tls) = start(&home, hello(), patient()).await;
    assert!(server.address.to_string().starts_with("https://127.0.0.1:"));
    for (offered, chosen, is_http2) in [
        (&["h2", "http/1.1"][..], Some("h2"), true),
        (&["http/1.1", "h2"], Some("h2"), true),
        (&["h2"], Some("h2"), true),
        (&["http/1.1"], Some("http/1.1"), false),
        (&["http/1.0"], Some("http/1.0"), false),
        (&[], None, false),
        // With prior knowledge, as in clear text.
        (&[], None, true),
    ] {
        let mut stream = connect(&home, &server, offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
        if is_http2 {
            assert_eq!(ask_http2(stream).await, (Version::HTTP_2, "hello".into()), "{offered:?}");
        } else {
            let answer = ask(&mut stream, "hello").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{offered:?}: {answer}");
        }
    }
    // Nothing in common is refused in the handshake.
    assert!(join(&home.client(&["spdy/1"]), &server).await.is_err());
}

#[tokio::test]
async fn who_chose_http2_speaks_it_or_is_closed_without_an_answer() {
    let home = Home::new();
    let (server, _tls) = start(&home, hello(), patient()).await;
    let mut stream = connect(&home, &server, &["h2"]).await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let _end = soon(stream.read_to_end(&mut read)).await;
    assert_eq!(read, b"");
}

#[tokio::test]
async fn handshake_and_first_head_share_the_time_of_a_first_head() {
    let home = Home::new();
    let limits = Limits { head: SHORT, ..patient() };
    let (server, _tls) = start(&home, hello(), limits).await;
    // The first bytes of a handshake: a record that says that it is long.
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let began = Instant::now();
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{sent:?}");
        assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 3, "{sent:?}");
    }
    let mut stream = server.connect().await;
    assert!(limits::dribble(&mut stream, b"\x16\x03\x01\x02\x00").await >= SHORT / 2);
    // A handshake earns no time, whatever was chosen in it.
    for (protocol, sent) in [("h2", ""), ("h2", "PRI *"), ("http/1.1", ""), ("http/1.1", "PR")] {
        let began = Instant::now();
        let mut stream = connect(&home, &server, &[protocol]).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let _end = soon(stream.read_to_end(&mut read)).await;
        assert_eq!(read, b"", "{protocol}");
        assert!(began.elapsed() >= SHORT, "{protocol}");
    }
}

#[tokio::test]
async fn handshakes_that_go_nowhere_hold_up_nobody_but_count_at_the_door() {
    let home = Home::new();
    let why = async |why: Option<Extension<Unwelcome>>| format!("{:?}!", why.map(|why| why.0));
    let app = Router::new().route("/", get(why));
    let capacity = Capacity { connections: 4, ..patient().capacity };
    let (server, _tls) = start(&home, app, Limits { capacity, ..patient() }).await;
    let mut silent = Vec::new();
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        silent.push(stream);
    }
    let mut welcome = connect(&home, &server, &[]).await;
    ask(&mut welcome, "None!").await;
    let mut unwelcome = connect(&home, &server, &[]).await;
    ask(&mut unwelcome, "Some(Crowd)!").await;
    // And a stop waits for none of them.
    drop((welcome, unwelcome));
    assert_eq!(server.stop().await, Stopped { cut: 0 });
}

#[tokio::test]
async fn clear_text_is_closed_at_once_with_one_line_in_the_log() {
    let home = Home::new();
    let (server, _tls) = start(&home, hello(), patient()).await;
    let (log, _guard) = crate::logging::tests::Log::at("tus_server=debug");
    for sent in [head("/"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()] {
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let _end = soon(stream.read_to_end(&mut read)).await;
        assert!(!read.windows(4).any(|bytes| bytes == b"HTTP"), "{read:?}");
    }
    let lines = log.text();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for line in lines.lines() {
        assert!(line.contains(" DEBUG ") && line.contains("does not speak TLS"), "{line}");
    }
    ask(&mut connect(&home, &server, &[]).await, "hello").await;
}

#[tokio::test]
async fn a_body_arrives_whole_over_both_versions() {
    let home = Home::new();
    let sum = async |body: Bytes| {
        body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)).to_string()
    };
    let app = Router::new().route("/", post(sum)).layer(DefaultBodyLimit::disable());
    let (server, _tls) = start(&home, app, patient()).await;
    let body: Bytes = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = sum(body.clone()).await;
    for (protocol, version) in [("h2", Version::HTTP_2), ("http/1.1", Version::HTTP_11)] {
        let io = TokioIo::new(connect(&home, &server, &[protocol]).await);
        let request = Request::post("https://tus/").header("host", "tus");
        let request = request.body(http_body_util::Full::new(body.clone())).unwrap();
        let answer = if version == Version::HTTP_2 {
            let (mut client, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            soon(client.send_request(request)).await.unwrap()
        } else {
            let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            soon(client.send_request(request)).await.unwrap()
        };
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
        assert_eq!(soon(answer.into_body().collect()).await.unwrap().to_bytes(), expected);
    }
}
