//! What the settings make: the store, the service, the routes, and the words at start.

use std::{convert::Infallible, fmt::Write as _, path::PathBuf};

use axum::{Router, extract::Request, http::StatusCode, middleware, routing::get};
use tower_service::Service;
use tus_core::{BuildError, Cors, Expiry, PeerAddr, Policy, TrustedProxy, Tus};
use tus_fs::{FsStore, OpenError};

use crate::{
    config::{ConfigError, Durability, ExistingFile, ExpireMode, FileNameFormat, Settings},
    listen::{Address, Peer},
    logging::Logged,
    page,
};

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
        .wait_for_lock(settings.wait_for_dir);
    if let Some(directory) = &settings.destination_dir {
        builder = builder.destination(directory);
    }
    if let Some(template) = &settings.destination_folders {
        let template = template.parse::<tus_fs::FolderTemplate>();
        let template =
            template.map_err(|e| settings.refuse("destination_folders", &e.to_string()))?;
        builder = builder.folders(template);
    }
    builder.open().await.map_err(|error| {
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
    policy.idle_timeout = settings.network_timeout;
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

/// Everything the server answers.
pub(crate) fn service(
    settings: &Settings,
    tus: Tus,
) -> impl Service<
    Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let ready = Readiness { tus: tus.clone(), upload_dir: settings.upload_dir.clone() };
    let mut router = Router::new()
        .merge(tus_axum::routes(&settings.base_path, tus))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(move || ready.clone().answer()));
    if settings.show_page {
        let page = page::Page::new(&settings.base_path);
        router = router.route("/", get(async move || page.answer()));
    }
    let proxies = settings.behind_proxy.clone();
    let router = router.layer(middleware::map_request(tell_peer));
    Logged::new(Incoming(router), move |peer: &Peer| {
        let address = peer.addr.map(|address| address.ip());
        proxies.iter().any(|proxy: &TrustedProxy| proxy.covers(address))
    })
}

/// Hands the peer's address on to the engine.
async fn tell_peer(mut request: Request) -> Request {
    let address = request.extensions().get::<Peer>().and_then(|peer| peer.addr);
    if let Some(address) = address {
        request.extensions_mut().insert(PeerAddr(address.ip()));
    }
    request
}

/// The router as a service of what hyper receives.
#[derive(Clone)]
struct Incoming(Router);

impl Service<Request<hyper::body::Incoming>> for Incoming {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = <Router as Service<Request>>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        self.0.call(request.map(axum::body::Body::new))
    }
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
        match tokio::fs::metadata(&self.upload_dir).await {
            Ok(directory) if directory.is_dir() => (StatusCode::OK, "ready\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the upload directory is gone\n"),
        }
    }
}

/// Where things are and how to try them.
pub(crate) fn greeting(settings: &Settings, address: &Address) -> String {
    let (base, curl) = match address {
        Address::Tcp(_) => (address.to_string(), "curl".to_owned()),
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
