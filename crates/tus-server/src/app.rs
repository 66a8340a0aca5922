//! What the settings make: the store, the service, the routes, and the words at start.

use std::{
    convert::Infallible,
    fmt::Write as _,
    future::{self, Future},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    http::{HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_service::Service;
use tus_core::{
    BuildError, Cors, Expiry, InterimMode, PeerAddr, Policy, RequestId, TrustedProxy, Tus,
};
use tus_fs::{FsStore, OpenError};
use tus_interim::server::Body as ReceivedBody;

use crate::{
    config::{
        ConfigError, Durability, ExistingFile, ExpireMode, FileNameFormat, Interim, Settings,
    },
    listen::{Address, Capacity, Limits, Peer, Tls, Unwelcome},
    logging::{HEALTH, Logged},
    page,
};

/// In how many seconds a client that was one too many may find room.
const COME_BACK: HeaderValue = HeaderValue::from_static("5");

/// Opens the file store.
pub(crate) async fn store(settings: &Settings) -> Result<FsStore, ConfigError> {
    let naming = match settings.file_name_format {
        FileNameFormat::Increment => tus_fs::Naming::Increment,
        FileNameFormat::RandomSuffix => tus_fs::Naming::RandomSuffix,
        FileNameFormat::Random => tus_fs::Naming::Random,
        FileNameFormat::Keep => tus_fs::Naming::Keep,
    };
    let on_conflict = match settings.existing_file {
        ExistingFile::Error => tus_fs::OnConflict::Error,
        ExistingFile::Overwrite => tus_fs::OnConflict::Overwrite,
        ExistingFile::Rename => tus_fs::OnConflict::Rename,
    };
    let durability = match settings.durability {
        Durability::Power => tus_fs::Durability::Power,
        Durability::Process => tus_fs::Durability::Process,
    };
    let mut builder = FsStore::builder(&settings.upload_dir)
        .naming(naming)
        .on_conflict(on_conflict)
        .durability(durability)
        .reserve(settings.disk_reserve);
    if let Some(directory) = &settings.destination_dir {
        builder = builder.destination(directory);
    }
    if let Some(template) = &settings.destination_folders {
        let template = template.parse::<tus_fs::FolderTemplate>();
        let template =
            template.map_err(|e| settings.refuse("destination_folders", &e.to_string()))?;
        builder = builder.folders(template);
    }
    let mut opened = builder.clone().open().await;
    if matches!(opened, Err(OpenError::InUse { .. })) && !settings.wait_for_dir.is_zero() {
        tracing::info!(
            directory = %settings.upload_dir.display(),
            timeout = ?settings.wait_for_dir,
            "waiting for another process to let go of the upload directory"
        );
        opened = builder.wait_for_lock(settings.wait_for_dir).open().await;
    }
    opened.map_err(|error| {
        let (key, reason) = match &error {
            OpenError::Unusable { setting, source, .. } => {
                let destination = setting.starts_with("destination");
                let key = if destination { "destination_dir" } else { "upload_dir" };
                let way_out = "let this user write to it, or choose another one";
                (key, format!("cannot be used ({source}); {way_out}"))
            }
            OpenError::InUse { .. } => {
                let way_out = "stop it, or wait for it with --wait-for-dir";
                ("upload_dir", format!("is in use by another process; {way_out}"))
            }
            OpenError::SameDirectory { .. } => {
                let way_out = "choose another one, or none";
                ("destination_dir", format!("is the upload directory too; {way_out}"))
            }
            other => ("upload_dir", other.to_string()),
        };
        settings.refuse(key, &reason)
    })
}

/// The upload service.
pub(crate) fn tus(settings: &Settings, store: FsStore) -> Result<Tus, BuildError> {
    let mut policy = Policy::default();
    policy.max_size = settings.max_size;
    policy.expiry = settings.expire_after.map(|period| match settings.expire_mode {
        ExpireMode::Fixed => Expiry::fixed(period),
        ExpireMode::Sliding => Expiry::sliding(period),
    });
    if let Some(expiry) = policy.expiry {
        policy.sweep_every = policy.sweep_every.min(expiry.period);
    }
    policy.download = !settings.disable_download;
    policy.termination = !settings.disable_termination;
    policy.concatenation = !settings.disable_concatenation;
    policy.tus = !settings.disable_tus;
    policy.rufh = !settings.disable_rufh;
    policy.interim = match settings.interim {
        Interim::Auto => InterimMode::Auto,
        Interim::On => InterimMode::On,
        Interim::Off => InterimMode::Off,
    };
    policy.min_size = settings.min_size.unwrap_or(0);
    policy.max_append_size = settings.max_append_size;
    policy.min_append_size = settings.min_append_size.unwrap_or(0);
    policy.max_transfers = settings.max_transfers;
    policy.max_transfers_per_address = settings.max_transfers_per_address;
    policy.max_metadata = settings.max_metadata;
    policy.max_metadata_pairs = settings.max_metadata_pairs;
    policy.max_metadata_key = settings.max_metadata_key;
    policy.max_metadata_value = settings.max_metadata_value;
    policy.max_parts = settings.max_parts;
    policy.idle_timeout = settings.network_timeout;
    policy.min_rate = settings.min_body_rate.unwrap_or(0);
    policy.min_rate_over = settings.network_timeout;
    policy.cors = Cors::default();
    policy.cors.origins = settings.cors_allow_origin.clone();
    policy.cors.credentials = settings.cors_allow_credentials;
    policy.public_url = settings
        .public_url
        .as_ref()
        .map(|url| format!("{}{}", url.trim_end_matches('/'), settings.base_path));
    policy.trusted_proxies = settings.behind_proxy.clone();
    Tus::builder().store(store).policy(policy).build()
}

/// TLS, if there is a certificate.
pub(crate) async fn tls(settings: &Settings) -> Result<Option<Tls>, ConfigError> {
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    let tls = Tls::load(certificate, key).await;
    tls.map(Some).map_err(|error| settings.refuse(error.setting, &error.reason))
}

/// What peers may take of the server.
pub(crate) fn limits(settings: &Settings) -> Limits {
    Limits {
        capacity: Capacity {
            connections: settings.max_connections,
            per_address: settings.max_connections_per_address,
            proxies: settings.behind_proxy.clone(),
        },
        head: settings.head_timeout,
        keep_alive: settings.keep_alive_timeout,
        life: settings.max_connection_age,
        patience: settings.network_timeout,
        rate: settings.min_body_rate,
        head_size: settings.max_head_size,
        head_fields: settings.max_head_fields,
        streams: settings.http2_max_streams,
        resets: settings.http2_max_resets,
        shutdown: settings.shutdown_timeout,
    }
}

/// Everything the server answers.
pub(crate) fn service(
    settings: &Settings,
    tus: Tus,
) -> impl Service<Request<ReceivedBody>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let ready = Readiness { tus: tus.clone(), upload_dir: settings.upload_dir.clone() };
    let mut router = Router::new()
        .merge(tus_axum::routes(&settings.base_path, tus))
        .route(HEALTH, get(async || "ok\n"))
        .route("/readyz", get(move || ready.clone().answer()));
    if settings.show_page {
        let page = page::Page::new(&settings.base_path);
        router = router.route("/", get(async move || page.answer()));
    }
    let proxies = settings.behind_proxy.clone();
    Logged::new(Incoming(router), move |peer: &Peer| {
        let address = peer.addr.map(|address| address.ip());
        proxies.iter().any(|proxy: &TrustedProxy| proxy.covers(address))
    })
}

/// The router as a service of what hyper receives: requests that are to be served, with the
/// peer's address for the engine.
#[derive(Clone)]
struct Incoming(Router);

impl Service<Request<ReceivedBody>> for Incoming {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<axum::body::Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: Request<ReceivedBody>) -> Self::Future {
        let unwelcome = request.extensions().get::<Unwelcome>().copied();
        if let Some(refusal) = unwelcome.and_then(|why| refuse(why, &request)) {
            return Box::pin(future::ready(Ok(refusal)));
        }
        let address = request.extensions().get::<Peer>().and_then(|peer| peer.addr);
        if let Some(address) = address {
            request.extensions_mut().insert(PeerAddr(address.ip()));
        }
        Box::pin(self.0.call(request.map(axum::body::Body::new)))
    }
}

/// What a request hears that is one too many; who asks whether the process lives hears that.
fn refuse<B>(why: Unwelcome, request: &Request<B>) -> Option<Response> {
    let (status, text) = match why {
        Unwelcome::Crowd | Unwelcome::Address if request.uri().path() == HEALTH => return None,
        Unwelcome::Crowd => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections: The server serves as many as it can; come back.",
        ),
        Unwelcome::Address => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_of_address: Your address has as many connections as it may have.",
        ),
        Unwelcome::Head => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_many_fields: The head has more fields than this server allows.",
        ),
    };
    let id = request.extensions().get::<RequestId>().map(RequestId::as_str).unwrap_or_default();
    let mut response = (status, format!("{text}\nrequest: {id}\n")).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, COME_BACK);
    }
    Some(response)
}

/// Whether requests should be sent here.
#[derive(Clone)]
struct Readiness {
    tus: Tus,
    upload_dir: PathBuf,
}

impl Readiness {
    async fn answer(self) -> (StatusCode, &'static str) {
        if self.tus.is_draining() {
            return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        // Both may wait for the disk.
        let looked = tokio::task::spawn_blocking(move || {
            let is_dir = std::fs::metadata(&self.upload_dir)?.is_dir();
            Ok::<_, io::Error>(is_dir.then_some(has_room(&self.upload_dir)?))
        });
        match looked.await {
            Ok(Ok(Some(true))) => (StatusCode::OK, "ready\n"),
            Ok(Ok(Some(false))) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the upload directory has no room left\n")
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the upload directory is gone\n"),
        }
    }
}

/// Whether an upload could be created: there is a block left, and a file.
fn has_room(directory: &Path) -> io::Result<bool> {
    let found = rustix::fs::statvfs(directory)?;
    // Some file systems count no files.
    Ok(found.f_bavail > 0 && (found.f_files == 0 || found.f_favail > 0))
}

/// Where things are and how to try them.
pub(crate) fn greeting(settings: &Settings, address: &Address) -> String {
    let (base, curl) = match address {
        Address::Tcp(_) => (address.to_string(), "curl".to_owned()),
        // The certificate is made out to a name, if at all, and not to this address.
        Address::Tls(_) => (address.to_string(), "curl -k".to_owned()),
        Address::Unix(path) => {
            ("http://localhost".to_owned(), format!("curl --unix-socket {}", path.display()))
        }
    };
    let uploads = format!("{base}{}", settings.base_path);
    let mut text = format!("tus-server {} on {address}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    if settings.show_page {
        line("upload page", &format_args!("{base}/"));
    }
    line("uploads", &uploads);
    line("unfinished in", &settings.upload_dir.display());
    match &settings.destination_dir {
        Some(directory) => line("finished in", &directory.display()),
        None => line("finished in", &settings.upload_dir.display()),
    }
    let survives = match settings.durability {
        Durability::Power => "the loss of power (--durability power)",
        Durability::Process => "the end of the process, not of power (--durability process)",
    };
    line("bytes survive", &survives);
    text.push_str("Try it:\n");
    let _ = writeln!(
        text,
        "  {curl} -i -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' \\\n    \
         -H \"Upload-Metadata: filename $(printf hello.txt | base64 | tr -d '\\n')\" \\\n    \
         -H 'Content-Type: application/offset+octet-stream' --data-binary hello \\\n    {uploads}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_too_many_hears_so_in_fixed_words_and_comes_back() {
        let rows = [
            (Unwelcome::Crowd, "/files/", Some((503, "too_many_connections: The server"))),
            (Unwelcome::Crowd, "/readyz", Some((503, "too_many_connections: The server"))),
            (Unwelcome::Address, "/files/", Some((503, "too_many_of_address: Your address"))),
            (Unwelcome::Head, HEALTH, Some((431, "too_many_fields: The head"))),
            // A crowd is no reason to kill the process.
            (Unwelcome::Crowd, HEALTH, None),
            (Unwelcome::Address, HEALTH, None),
        ];
        for (why, path, expected) in rows {
            let mut request = Request::get(path).body(()).unwrap();
            request.extensions_mut().insert("r1".parse::<RequestId>().unwrap());
            let response = refuse(why, &request);
            assert_eq!(response.is_some(), expected.is_some(), "{why:?} {path}");
            let (Some(response), Some((status, text))) = (response, expected) else { continue };
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
            let body = axum::body::to_bytes(response.into_body(), 200).await.unwrap();
            assert!(
                body.starts_with(text.as_bytes()) && body.ends_with(b".\nrequest: r1\n"),
                "{body:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_wait_for_the_directory_is_told_once_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let other = FsStore::open(directory.path()).await.unwrap();
        let upload_dir = format!("--upload-dir={}", directory.path().display());
        let args = ["tus-server", &upload_dir, "--destination-dir=none", "--wait-for-dir=60s"];
        let settings = crate::config::load(args.map(Into::into), []).unwrap();
        let crate::config::Loaded::Run(settings) = settings else { panic!("{settings:?}") };
        let (log, _guard) = crate::logging::tests::Log::at("info");
        let told = async {
            while !log.text().contains("waiting for another process") {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            drop(other);
        };
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), told);
        let (opened, told) = tokio::join!(store(&settings), told);
        told.expect("it says that it waits");
        opened.unwrap();
        let log = log.text();
        assert_eq!(log.matches("waiting").count(), 1, "{log}");
        assert!(log.contains(&directory.path().display().to_string()), "{log}");
        // Nobody to wait for, nothing to tell.
        let directory = tempfile::tempdir().unwrap();
        let upload_dir = format!("--upload-dir={}", directory.path().display());
        let args = ["tus-server", &upload_dir, "--destination-dir=none", "--wait-for-dir=60s"];
        let settings = crate::config::load(args.map(Into::into), []).unwrap();
        let crate::config::Loaded::Run(settings) = settings else { panic!("{settings:?}") };
        let (log, _guard) = crate::logging::tests::Log::at("info");
        store(&settings).await.unwrap();
        assert_eq!(log.text(), "");
    }

    #[test]
    fn a_file_system_without_a_free_block_has_no_room() {
        assert!(has_room(tempfile::tempdir().unwrap().path()).unwrap());
        // One that stores nothing.
        #[cfg(target_os = "linux")]
        assert!(!has_room(Path::new("/proc")).unwrap());
        assert!(has_room(Path::new("/no/such/directory")).is_err());
    }
}
