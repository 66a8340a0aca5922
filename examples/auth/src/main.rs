//! Users, owners and the application's own state: `cargo run -p example-auth [ADDRESS]`.
//!
//! A layer of the application says who asks; uploads belong to who made them, and nobody else
//! may see, continue or end them. Finished ones are noted in the application's state.
//!
//! ```text
//! curl -i -H 'Authorization: Bearer anna-secret' -H 'Tus-Resumable: 1.0.0' \
//!      -H 'Upload-Length: 0' -X POST http://127.0.0.1:3000/files
//! curl -H 'Authorization: Bearer anna-secret' http://127.0.0.1:3000/mine
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use tus_core::{Action, Rejection, Reply, RequestContext, Tus};
use tus_fs::FsStore;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
struct User(String);

/// What the application knows: the finished uploads, with their owners.
type Finished = Arc<Mutex<Vec<(String, String)>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let finished = Finished::default();
    let tus = uploads(FsStore::open("data").await?, finished.clone())?;
    let app = Router::new()
        .route("/mine", get(mine))
        .with_state(finished)
        .merge(tus_axum::routes("/files", tus))
        .layer(from_fn(authenticate));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}/files", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// The upload service, with the rules of this application.
fn uploads(store: FsStore, finished: Finished) -> Result<Tus, tus_core::BuildError> {
    Tus::builder()
        .store(store)
        .authorize(|request, intent| async move {
            let user = user(&request)?;
            match (intent.action, intent.owner()) {
                (Action::Create, _) => Ok(()),
                // An upload without an owner is nobody's, not everybody's.
                (_, Some(owner)) if owner == user.0 => Ok(()),
                // The same answer as for an unknown id: strangers learn nothing.
                _ => Err(Rejection::not_found().into()),
            }
        })
        .before_create(|request, mut new| async move {
            new.owner = Some(user(&request)?.0);
            Ok(new)
        })
        .on_finish(move |done| {
            let finished = finished.clone();
            async move {
                let owner = done.upload.owner.clone().unwrap_or_default();
                let entry = (owner, done.url().to_owned());
                let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                // The event may be told twice; noting it twice would be wrong.
                if !finished.contains(&entry) {
                    finished.push(entry);
                }
                Ok(Reply::new())
            }
        })
        .build()
}

/// Who the layer below has found to ask.
fn user(request: &RequestContext) -> Result<User, Rejection> {
    let user = request.extensions().get::<User>().cloned();
    user.ok_or_else(|| Rejection::unauthorized("who are you?"))
}

/// Finds out who asks; a real application looks into its sessions or checks a token's signature.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = match header {
        Some("Bearer anna-secret") => Some(User("anna".to_owned())),
        Some("Bearer bert-secret") => Some(User("bert".to_owned())),
        _ => None,
    };
    if let Some(user) = user {
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}

/// The finished uploads of who asks.
async fn mine(State(finished): State<Finished>, request: Request) -> Json<Vec<String>> {
    let user = request.extensions().get::<User>().cloned();
    let finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
    let own = finished.iter().filter(|(owner, _)| user.as_ref().is_some_and(|u| u.0 == *owner));
    Json(own.map(|(_, url)| url.clone()).collect())
}
