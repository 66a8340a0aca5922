//! Uploads that have to be something as a whole.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use tus_core::{Algorithm, Policy};
use tus_tests::rig::{Application, Ask, Frames, Piece};

use super::{
    TEXT, data, length,
    matrix::{Bears, matrix_of},
    run::Run,
};

/// So small that there are sync points in the midst of a body.
fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.sync_every = 8;
    policy
}

async fn create(run: &mut Run, of: &[u8]) -> String {
    let said = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(of)));
    run.create(|| Ask::post().length(length()).with("repr-digest", &said)).await
}

/// Twenty bytes, in four frames.
fn twenty() -> impl Iterator<Item = Piece> {
    TEXT[..20].chunks(5).map(data)
}

#[test]
fn an_upload_that_is_what_it_must_be() {
    matrix_of(&policy(), Application::default, Bears::Everything, async |run| {
        let url = create(run, TEXT).await;
        run.ask(Ask::patch(&url, 0).body(Frames::chunked(twenty()))).await;
        run.go_on(&url, TEXT, 6).await;
        run.is_complete(&url, TEXT).await;
        let record = run.record(&url).await.unwrap();
        let value = record.digest(Algorithm::Sha256).map(|digest| digest.value.as_slice());
        assert_eq!(value, Some(Sha256::digest(TEXT).as_slice()));
    });
}

#[test]
fn an_upload_that_is_not_what_it_must_be() {
    matrix_of(&policy(), Application::default, Bears::Everything, async |run| {
        let url = create(run, b"something else").await;
        run.ask(Ask::patch(&url, 0).body(Frames::chunked(twenty()))).await;
        run.send_all(&url, TEXT).await;
        run.is_gone(&url).await;
        run.is_told_of_the_end(&url).await;
        assert!(run.application().finished.lock().unwrap().is_empty(), "announced");
    });
}

/// What is cut off again was seen, and saved, and has to be seen anew.
#[test]
fn an_upload_of_which_a_piece_contradicts_its_length() {
    matrix_of(&policy(), Application::default, Bears::Everything, async |run| {
        let url = create(run, TEXT).await;
        let long = [TEXT, b"and more"].concat();
        run.ask(Ask::patch(&url, 0).body(Frames::chunked(long.chunks(5).map(data)))).await;
        run.go_on(&url, TEXT, 12).await;
        run.is_complete(&url, TEXT).await;
    });
}
