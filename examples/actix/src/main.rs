//! Uploads in an actix-web application: `cargo run -p example-actix [ADDRESS [DIRECTORY]]`.

use std::{path::PathBuf, time::Duration};

use actix_web::{App, HttpServer, web};
use tokio::signal::unix::{SignalKind, signal};
use tus_core::{Policy, Reply, Tus};
use tus_fs::FsStore;

#[actix_web::main]
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

    let uploads = tus.clone();
    let server = HttpServer::new(move || {
        App::new()
            .route("/", web::get().to(async || "Uploads are at /files"))
            .service(tus_actix::scope("/files", uploads.clone()))
    })
    .disable_signals()
    .bind(&address)?;
    for address in server.addrs() {
        println!("http://{address}/files");
    }
    let server = server.run();
    let handle = server.handle();
    let mut stop = signal(SignalKind::terminate())?;
    actix_web::rt::spawn(async move {
        tokio::select! {
            _ = stop.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        // Uploads in flight store what they have, and their clients resume later.
        tus.drain(Duration::from_secs(30)).await;
        handle.stop(true).await;
    });
    server.await?;
    Ok(())
}
