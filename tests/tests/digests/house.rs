//! A service that can be killed and begun anew, over stores that tell what is read.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tus_core::{
    Algorithm, MemoryStore, Policy, Reply, Tus, Upload,
    store::{ChunkStore, MetaStore},
};
use tus_testkit::{Watched, eventually};
use tus_tests::rig::{Answer, Ask, Frames, Piece};

/// What the application heard: of what was complete, its SHA-256, and why others ended.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) finished: Vec<Option<Vec<u8>>>,
    pub(crate) ended: Vec<Upload>,
}

/// Stores, and who serves them.
#[derive(Debug)]
pub(crate) struct House<S> {
    pub(crate) store: Watched<S>,
    pub(crate) tus: Tus,
    pub(crate) policy: Policy,
    pub(crate) heard: Arc<Mutex<Heard>>,
    asks: bool,
}

impl House<MemoryStore> {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new(), false)
    }

    /// One whose application asks for every upload's SHA-256 itself.
    pub(crate) fn that_asks() -> Self {
        Self::over(MemoryStore::new(), true)
    }
}

impl<S: MetaStore + ChunkStore + Clone> House<S> {
    pub(crate) fn over(store: S, asks: bool) -> Self {
        let mut policy = Policy::default();
        policy.sync_every = 1000;
        let (store, heard) = (Watched::new(store), Arc::default());
        let tus = serve(&store, &policy, &heard, asks);
        Self { store, tus, policy, heard, asks }
    }

    /// Begins anew, with nothing but the stores.
    pub(crate) fn restart(&mut self) {
        self.tus = serve(&self.store, &self.policy, &self.heard, self.asks);
    }

    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        ask.send(&self.tus).await
    }

    /// Makes an upload that is to have this SHA-256.
    pub(crate) async fn expecting(&self, bytes: &[u8]) -> String {
        let length = bytes.len() as u64;
        let made = self.send(Ask::post().length(length).with("repr-digest", repr(bytes))).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.location()
    }

    pub(crate) async fn patch(&self, url: &str, at: usize, bytes: &[u8]) -> Answer {
        self.send(Ask::patch(url, at as u64).body(Frames::whole(bytes))).await
    }

    /// Kills the process once these bytes of a request are stored, whose body does not end.
    pub(crate) async fn die_after(&mut self, url: &str, at: usize, bytes: &[u8]) {
        let before = usize::try_from(self.store.written()).unwrap();
        let (later, receiver) = mpsc::unbounded_channel();
        // A client that sends in pieces, so that there is a moment between any two of them.
        for piece in bytes.chunks(100) {
            later.send(Piece::Data(Bytes::copy_from_slice(piece))).unwrap();
        }
        let body = Frames::chunked([Piece::Later(receiver)]);
        let (tus, ask) = (self.tus.clone(), Ask::patch(url, at as u64).body(body));
        let request = tokio::spawn(async move { ask.send(&tus).await });
        self.store.wait_written(before + bytes.len()).await;
        // What it does before it waits for more bytes, it does without waiting for anything.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        drop(later);
        self.restart();
    }

    pub(crate) async fn record(&self, url: &str) -> Upload {
        let id = url.rsplit('/').next().unwrap().parse().unwrap();
        self.store.load(&id).await.unwrap().0
    }

    /// Changes a record behind the service's back.
    pub(crate) async fn tamper(&self, url: &str, change: impl Fn(&mut Upload)) {
        let id = url.rsplit('/').next().unwrap().parse().unwrap();
        let (mut upload, revision) = self.store.load(&id).await.unwrap();
        change(&mut upload);
        self.store.update(&upload, revision).await.unwrap();
    }

    /// The one upload that was finished has these bytes, and the application their SHA-256.
    pub(crate) async fn assert_finished(&self, bytes: &[u8]) {
        let heard = async || (self.heard.lock().unwrap().finished.len() == 1).then_some(());
        eventually("on_finish", heard).await;
        let heard = self.heard.lock().unwrap();
        assert_eq!(heard.finished, [Some(sha256(bytes))]);
        assert!(heard.ended.is_empty(), "{:?}", heard.ended);
    }
}

fn serve<S>(store: &Watched<S>, policy: &Policy, heard: &Arc<Mutex<Heard>>, asks: bool) -> Tus
where
    S: MetaStore + ChunkStore + Clone,
{
    let (finished, terminated) = (Arc::clone(heard), Arc::clone(heard));
    let builder = Tus::builder().meta(store.clone()).chunks(store.clone()).policy(policy.clone());
    let builder = builder
        .before_create(move |_, mut new| async move {
            if asks {
                new.digest = Some(Algorithm::Sha256);
            }
            Ok(new)
        })
        .on_finish(move |event| {
            let digest = event.digest(Algorithm::Sha256).map(|digest| digest.value.clone());
            finished.lock().unwrap().finished.push(digest);
            async { Ok(Reply::new()) }
        })
        .on_terminated(move |event| {
            terminated.lock().unwrap().ended.push(Upload::clone(&event.upload));
            async { Ok(()) }
        });
    builder.build().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// A `Repr-Digest` or `Content-Digest` of these bytes.
pub(crate) fn repr(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256(bytes)))
}
