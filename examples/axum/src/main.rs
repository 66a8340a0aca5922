//! Uploads in an axum application: `cargo run -p example-axum [ADDRESS [DIRECTORY]]`.

use std::{path::PathBuf, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tus_core::{Policy, Reply, Tus};
use tus_fs::FsStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "data".to_owned()));

    // Unfinished uploads live in one directory, finished ones get their own name in another.
    let store = FsStore::builder(directory.join("uploads"))
        .destination(directory.join("files"))
        .open()
        .await?;
    let mut policy = Policy::default();
    policy.max_size = Some(50 << 30);
    policy.download = true;
    let tus = Tus::builder()
        .store(store)
        .policy(policy)
        .on_finish(|finished| async move {
            // Durable, complete and in its place. A repeat has the same `event_id`.
            println!("{}: {} bytes in {:?}", finished.id(), finished.length, finished.path());
            Ok(Reply::new())
        })
        .build()?;

    let app = Router::new()
        .route("/", get(async || "Uploads are at /files"))
        .merge(tus_axum::routes("/files", tus.clone()));

    let mut stop = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&address).await?;
    println!("http://{}/files", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = stop.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            // Uploads in flight store what they have, and their clients resume later.
            tus.drain(Duration::from_secs(30)).await;
        })
        .await?;
    Ok(())
}
