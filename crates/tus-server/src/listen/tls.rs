//! TLS: the certificate in force, and the handshake.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, InvalidMessage};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::io::{Socket, Stream};

/// The name of HTTP/2 in the handshake (RFC 7301).
const HTTP2: &[u8] = b"h2";

/// What may be chosen in the handshake, the better ones first. A client that offers something, and
/// nothing of this, is refused; some offer HTTP/1.0 alone.
const VERSIONS: [&[u8]; 3] = [HTTP2, b"http/1.1", b"http/1.0"];

/// How many encrypted bytes may wait for the peer, beside what the kernel takes.
const UNSENT: usize = 32 * 1024;

/// The most bytes of a file: a chain of certificates has a few thousand.
const MOST: u64 = 1024 * 1024;

/// A certificate and its key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {reason}", path.display())]
pub(crate) struct TlsError {
    /// The setting that names the file.
    pub(crate) setting: &'static str,
    /// The file.
    pub(crate) path: PathBuf,
    /// What is wrong with it, and the way out.
    pub(crate) reason: String,
}

/// Speaks TLS with the certificate in force, which can be replaced while it is used.
#[derive(Clone)]
pub(crate) struct Tls {
    files: Arc<Files>,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads a certificate with its chain, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is not what it should be, or the key is not the certificate's.
    pub(crate) async fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let config = RwLock::new(files.load().await?);
        Ok(Self { files: Arc::new(files), config: Arc::new(config) })
    }

    /// Reads both files again, for the connections to come.
    ///
    /// # Errors
    ///
    /// As [`Tls::load`]; what was in force stays so.
    pub(crate) async fn reload(&self) -> Result<(), TlsError> {
        let config = self.files.load().await?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Begins TLS on a connection, and says whether the peer chose HTTP/2.
    pub(super) async fn handshake(&self, stream: Stream) -> io::Result<(Stream, bool)> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let accept = TlsAcceptor::from(config)
            .accept_with(stream, |session| session.set_buffer_limit(Some(UNSENT)));
        let stream = accept.await.map_err(|error| describe(&error))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((Box::new(stream), is_http2))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Says in which phase of the connection this happened, and the commonest reason in plain words.
fn describe(error: &io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let text = match inner {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the peer does not speak TLS".to_owned()
        }
        _ => format!("TLS handshake: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// Where the certificate and its key are.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    async fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let bytes = read(&self.certificate).await.map_err(|why| self.wrong_certificate(why))?;
        let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
        let chain = chain.map_err(|error| {
            self.wrong_certificate(format!("is not PEM ({error}); name a PEM file"))
        })?;
        if chain.is_empty() {
            let reason = "holds no certificate in PEM; name a file that begins with the \
                          server's certificate, followed by its chain";
            return Err(self.wrong_certificate(reason.to_owned()));
        }
        let bytes = read(&self.key).await.map_err(|why| self.wrong_key(why))?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            self.wrong_key(match error {
                pem::Error::NoItemsFound => "holds no private key in PEM (PKCS#8, RSA or EC, \
                                             without a passphrase); name a file that does"
                    .to_owned(),
                error => format!("is not PEM ({error}); name a PEM file"),
            })
        })?;
        let provider = Arc::new(ring::default_provider());
        let certified = self.certified(&provider, chain, key)?;
        self.config(provider, certified).map_err(|error| {
            self.wrong_certificate(format!("cannot be put to use ({error}); name another one"))
        })
    }

    /// The certificate with its key, if they belong together.
    fn certified(
        &self,
        provider: &CryptoProvider,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, TlsError> {
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            self.wrong_key(format!(
                "holds a private key that cannot be used ({error}); take one of RSA with 2048 \
                 bits or more, of ECDSA on P-256, P-384 or P-521, or of Ed25519"
            ))
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Unknown are keys that do not show their other half, such as those of hardware.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(self.wrong_key(format!(
                "is not the key of the first certificate in {}; name the one that is",
                self.certificate.display()
            ))),
            Err(error) => Err(self.wrong_certificate(format!(
                "begins with what is no certificate ({error}); name a file that begins with the \
                 server's"
            ))),
        }
    }

    fn config(
        &self,
        provider: Arc<CryptoProvider>,
        certified: CertifiedKey,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = VERSIONS.map(<[u8]>::to_vec).into();
        // Clients keep what their next handshake is shortened with. The key to it goes with the
        // certificate, so that nobody stays with an old one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }

    fn wrong_certificate(&self, reason: String) -> TlsError {
        TlsError { setting: "tls_cert", path: self.certificate.clone(), reason }
    }

    fn wrong_key(&self, reason: String) -> TlsError {
        TlsError { setting: "tls_key", path: self.key.clone(), reason }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot be read ({error}); name a readable PEM file");
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 > MOST {
        return Err("has more than 1 MiB; name a PEM file with what is needed".to_owned());
    }
    Ok(bytes)
}

impl Socket for TlsStream<Stream> {
    fn abandon(&self) -> io::Result<()> {
        self.get_ref().0.abandon()
    }
}
