//! An ordinary actix-web application made resumable by one line:
//! `cargo run -p example-resumable-actix [ADDRESS [DIRECTORY]]`.

use std::{path::PathBuf, time::Duration};

use actix_web::{App, HttpServer};
use example_resumable_actix::{Shelf, configure};
use tus_core::{Expiry, Policy, Tus};
use tus_fs::FsStore;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "data".to_owned()));
    let shelf = Shelf { directory: directory.join("files") };
    std::fs::create_dir_all(&shelf.directory)?;

    let mut policy = Policy::default();
    // What nobody completes must not stay for ever.
    policy.expiry = Some(Expiry::sliding(Duration::from_secs(24 * 3600)));
    let store = FsStore::builder(directory.join("uploads")).open().await?;
    let tus = Tus::builder().store(store).policy(policy).build()?;

    let server = HttpServer::new({
        let tus = tus.clone();
        move || {
            App::new()
                // The line that it takes.
                .wrap(tus_actix::Resumable::new(tus.clone()))
                .configure(configure(shelf.clone()))
        }
    })
    .bind(&address)?;
    for address in server.addrs() {
        println!("http://{address}/");
    }
    server.run().await?;
    tus.drain(Duration::from_secs(30)).await;
    Ok(())
}
