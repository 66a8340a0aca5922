//! An ordinary actix-web application, with three unlike handlers that know nothing of resumption.

use std::{io, path::PathBuf};

use actix_multipart::Multipart;
use actix_web::{
    Error, HttpRequest, HttpResponse,
    error::{ErrorBadRequest, ErrorInternalServerError},
    http::header,
    web,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// Where `PUT /files/{name}` puts what it gets.
    pub directory: PathBuf,
}

/// The application, as it was before anybody thought of resumption.
pub fn configure(shelf: Shelf) -> impl FnOnce(&mut web::ServiceConfig) {
    |config| {
        config
            .app_data(web::Data::new(shelf))
            .app_data(web::PayloadConfig::new(100 << 20))
            .route("/", web::get().to(async || "POST /album, POST /words or PUT /files/{name}"))
            .service(web::resource("/album").route(web::post().to(album)))
            .service(web::resource("/words").route(web::post().to(words)))
            .service(web::resource("/files/{name}").route(web::put().to(file)));
    }
}

/// A form with photographs, as a browser sends it.
async fn album(mut form: Multipart) -> Result<web::Json<Value>, Error> {
    let mut photos = Vec::new();
    while let Some(mut field) = form.try_next().await? {
        let said = field.content_disposition();
        let name = said.and_then(|said| said.get_filename().or(said.get_name()));
        let name = name.unwrap_or_default().to_owned();
        let mut length = 0;
        while let Some(piece) = field.try_next().await? {
            length += piece.len();
        }
        photos.push(json!({ "name": name, "bytes": length }));
    }
    Ok(web::Json(json!({ "photos": photos })))
}

/// A text that is counted.
async fn words(request: HttpRequest, text: web::Bytes) -> HttpResponse {
    let Ok(text) = str::from_utf8(&text) else {
        return HttpResponse::UnprocessableEntity().body("That is no text.\n");
    };
    let words = text.split_whitespace().count();
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    HttpResponse::Created().json(json!({ "type": kind, "bytes": text.len(), "words": words }))
}

/// A file of any size, written while it comes in.
async fn file(
    shelf: web::Data<Shelf>,
    name: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, Error> {
    if name.contains(['/', '\\', '\0']) || name.starts_with('.') {
        return Err(ErrorBadRequest("no name for a file"));
    }
    let path = shelf.directory.join(&*name);
    let length = write(path, body).await.map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Created().body(format!("{name}: {length} bytes\n")))
}

async fn write(path: PathBuf, mut body: web::Payload) -> io::Result<u64> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut length = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(io::Error::other)?;
        file.write_all(&piece).await?;
        length += piece.len() as u64;
    }
    file.sync_all().await?;
    Ok(length)
}
