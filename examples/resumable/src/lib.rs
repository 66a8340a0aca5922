//! An ordinary axum application, with three unlike handlers that know nothing of resumption.

use std::{io, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Multipart, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// What the handlers share.
#[derive(Debug)]
pub struct Shelf {
    /// Where `PUT /files/{name}` puts what it gets.
    pub directory: PathBuf,
}

/// The application, as it was before anybody thought of resumption.
pub fn app(shelf: Shelf) -> Router {
    Router::new()
        .route("/", get(async || "POST /album, POST /words or PUT /files/{name}"))
        .route("/album", post(album))
        .route("/words", post(words))
        .route("/files/{name}", put(file))
        .layer(DefaultBodyLimit::max(100 << 20))
        .with_state(Arc::new(shelf))
}

/// A form with photographs, as a browser sends it.
async fn album(mut form: Multipart) -> Result<Json<Value>, Response> {
    let mut photos = Vec::new();
    while let Some(field) = form.next_field().await.map_err(IntoResponse::into_response)? {
        let name = field.file_name().or(field.name()).unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(IntoResponse::into_response)?;
        photos.push(json!({ "name": name, "bytes": bytes.len() }));
    }
    Ok(Json(json!({ "photos": photos })))
}

/// A text that is counted.
async fn words(headers: HeaderMap, text: Bytes) -> Response {
    let Ok(text) = str::from_utf8(&text) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "That is no text.\n").into_response();
    };
    let words = text.split_whitespace().count();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let answer = json!({ "type": kind, "bytes": text.len(), "words": words });
    (StatusCode::CREATED, Json(answer)).into_response()
}

/// A file of any size, written while it comes in.
async fn file(
    State(shelf): State<Arc<Shelf>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, StatusCode> {
    if name.contains(['/', '\\', '\0']) || name.starts_with('.') {
        return Err(StatusCode::BAD_REQUEST);
    }
    let path = shelf.directory.join(&name);
    let length = write(path, body).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok((StatusCode::CREATED, format!("{name}: {length} bytes\n")).into_response())
}

async fn write(path: PathBuf, body: Body) -> io::Result<u64> {
    let mut file = tokio::fs::File::create(path).await?;
    let mut length = 0;
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(io::Error::other)?;
        file.write_all(&piece).await?;
        length += piece.len() as u64;
    }
    file.sync_all().await?;
    Ok(length)
}
