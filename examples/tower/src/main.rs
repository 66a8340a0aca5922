//! Uploads on bare hyper, through the tower service: `cargo run -p example-tower [ADDRESS]`.
//!
//! Whatever takes a tower `Service` (tonic, poem, salvo, axum's `nest_service`) takes it alike.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tus_core::Tus;
use tus_fs::FsStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let tus = Tus::new(FsStore::open("data").await?);
    let service = tus.service("/files");

    let listener = TcpListener::bind(&address).await?;
    println!("http://{}/files", listener.local_addr()?);
    let http = auto::Builder::new(TokioExecutor::new());
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(async {
        tokio::signal::ctrl_c().await.ok();
        tus.drain(Duration::from_secs(30)).await
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _drained = stop.as_mut() => break,
        };
        let Ok((stream, _)) = accepted else { continue };
        let service = TowerToHyperService::new(service.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection broke: {error}");
            }
        });
    }
    connections.shutdown().await;
    Ok(())
}
