//! An ordinary axum application made resumable by one line:
//! `cargo run -p example-resumable [ADDRESS [DIRECTORY]]`.

use std::{path::PathBuf, time::Duration};

use example_resumable::{Shelf, app};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tus_axum::interim;
use tus_core::{Expiry, Policy, Tus};
use tus_fs::FsStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "data".to_owned()));
    let files = directory.join("files");
    std::fs::create_dir_all(&files)?;

    let mut policy = Policy::default();
    // What nobody completes must not stay for ever.
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(24 * 3600)));
    let store = FsStore::builder(directory.join("uploads")).open().await?;
    let tus = Tus::builder().store(store).policy(policy).build()?;

    // The line that it takes.
    let app = tus_axum::resumable(app(Shelf { directory: files }), tus.clone());

    let mut stop = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&address).await?;
    println!("http://{}/", listener.local_addr()?);
    // And the one by which clients hear the URL of their upload while they send it.
    let listener = interim::Listener::new(listener);
    axum::serve(listener, app.into_make_service_with_connect_info::<interim::Connection>())
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = stop.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            tus.drain(Duration::from_secs(30)).await;
        })
        .await?;
    Ok(())
}
