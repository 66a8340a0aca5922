//! A resumable upload server that runs with one command.

mod app;
mod config;
mod descriptors;
mod listen;
mod logging;
mod memory;
mod page;

use std::{fmt, process::ExitCode};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tus_core::Tus;

use config::{Loaded, Settings};
use listen::{Listener, Tls, TlsError};

/// The exit code of a server that could not start: wrong settings, or nothing to listen on.
const CANNOT_START: u8 = 2;

/// How many threads may wait for the disk: more than any disk does at a time, and each takes tens
/// of kilobytes for seconds after.
const BLOCKING_THREADS: usize = 128;

fn main() -> ExitCode {
    memory::bound();
    let settings = match config::load(std::env::args_os(), std::env::vars_os()) {
        Ok(Loaded::Run(settings)) => settings,
        Ok(Loaded::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return cannot_start(&error),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.max_blocking_threads(BLOCKING_THREADS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&format!("tus-server: no threads to run on: {error}")),
    };
    match runtime.block_on(run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cannot_start(&error),
    }
}

/// One line on standard error, and the code for it.
fn cannot_start(error: &impl fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(CANNOT_START)
}

/// Opens the store, listens, and serves until a signal says to stop.
async fn run(settings: &Settings) -> Result<(), String> {
    let started = |error: &dyn fmt::Display| format!("tus-server: {error}");
    logging::init(settings.log_format, &settings.log_level).map_err(|e| started(&e))?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    for setting in settings.describe() {
        tracing::debug!(name = setting.name, value = setting.value, source = setting.source, "set");
    }
    let files = descriptors::raise();
    // The signals are caught before anything is open that a stop would have to close.
    let stop = Stop::new().map_err(|e| started(&e))?;
    let hangup = settings.tls_cert.is_some().then(|| signal(SignalKind::hangup())).transpose();
    let hangup = hangup.map_err(|e| started(&e))?;
    let tls = app::tls(settings).await.map_err(|e| e.to_string())?;
    let store = app::store(settings).await.map_err(|e| e.to_string())?;
    let tus = app::tus(settings, store).map_err(|e| started(&e))?;
    let listener = match (&settings.unix_sock, tls.clone()) {
        (Some(path), _) => Listener::unix(path).await,
        (None, Some(tls)) => Listener::tls(&settings.host, settings.port, tls).await,
        (None, None) => Listener::tcp(&settings.host, settings.port).await,
    };
    let listener = listener.map_err(|e| started(&e))?;
    if let Some((tls, hangup)) = tls.zip(hangup) {
        tokio::spawn(renew(tls, hangup));
    }
    print!("{}", app::greeting(settings, listener.address()));

    let service = app::service(settings, tus.clone());
    let mut limits = app::limits(settings);
    let asked = limits.capacity.connections;
    limits.capacity.connections = descriptors::fit(asked, files);
    if limits.capacity.connections < asked {
        let connections = limits.capacity.connections;
        tracing::warn!(
            connections,
            asked,
            files,
            "fewer connections than --max-connections are let in: the limit of open files is too \
             low (ulimit -Hn, LimitNOFILE=)"
        );
    }
    let stopped = listener.serve(service, limits, drained(stop, tus, settings)).await;
    if stopped.cut > 0 {
        tracing::warn!(connections = stopped.cut, "cut connections that did not end in time");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Reads the certificate and its key again on every SIGHUP, for the connections to come.
async fn renew(tls: Tls, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match tls.reload().await {
            Ok(()) => tracing::info!("new connections get the certificate as it is now"),
            Err(TlsError { path, reason, .. }) => {
                let file = path.display();
                tracing::error!(%file, reason, "the certificate stays what it was");
            }
        }
    }
}

/// Waits for a signal, then until uploads in flight have stored what they have.
///
/// Connections are accepted meanwhile: clients learn that they are to come back.
async fn drained(mut stop: Stop, tus: Tus, settings: &Settings) {
    let signal = stop.next().await;
    tracing::info!(signal, "stopping: uploads in flight store what they have");
    let drain = tus.drain(settings.shutdown_timeout);
    tokio::select! {
        in_time = drain => if !in_time {
            tracing::warn!(timeout = ?settings.shutdown_timeout, "some uploads did not stop in time");
        },
        signal = stop.next() => {
            tracing::warn!(signal, "stopping at once");
        }
    }
}

/// The signals that stop the server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
