//! Ten thousand uploads of others, on the disk while servers are killed.

use std::sync::Arc;

use tus_core::{Policy, Tus};
use tus_fs::{Durability, FsStore};
use tus_tests::{
    process::{Process, exchange},
    rig::{Ask, Frames},
};

use crate::site::Site;

/// So many uploads are on the disk when a server starts.
pub(crate) const OTHERS: usize = 10_000;

/// As many of them are made at a time.
const AT_A_TIME: usize = 4;

const TEXT: &[u8] = b"some bytes of somebody else";

/// Uploads that nobody touches.
pub(crate) struct Others {
    /// Their URLs, and how many bytes they have.
    uploads: Vec<(String, u64)>,
}

impl Others {
    /// Makes them: some empty, some with bytes.
    pub(crate) fn new(site: &Site) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let uploads = runtime.block_on(async {
            // Nothing is to be proven of how they are made, so they need not wait for the disk.
            let store = FsStore::builder(site.uploads()).destination(site.files());
            let store = store.durability(Durability::Process).open().await.expect("a store");
            let tus = Tus::builder().store(store).policy(Policy::default());
            let tus = Arc::new(tus.build().expect("a service"));
            let makers = (0..AT_A_TIME).map(|maker| tokio::spawn(make(Arc::clone(&tus), maker)));
            let mut uploads = Vec::new();
            for maker in makers.collect::<Vec<_>>() {
                uploads.extend(maker.await.expect("a maker"));
            }
            uploads
        });
        assert_eq!(uploads.len(), OTHERS);
        Self { uploads }
    }

    /// Looks whether they are as they were, and takes their files off the list.
    pub(crate) fn check(&self, server: &Process, names: &mut Vec<(String, String, u64)>) {
        for (path, stored) in self.uploads.iter().step_by(OTHERS / 97) {
            let answer = exchange(server.addr, &format!("HEAD {path} HTTP/1.1"), b"");
            let answer = answer.expect("a live server");
            assert_eq!((answer.status, answer.offset()), (200, *stored), "{answer:?}");
        }
        let ids = self.uploads.iter().filter_map(|(path, _)| path.rsplit('/').next());
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        let before = names.iter().filter(|(_, suffix, _)| suffix == "rec").count();
        names.retain(|(id, ..)| ids.binary_search(&id.as_str()).is_err());
        let after = names.iter().filter(|(_, suffix, _)| suffix == "rec").count();
        assert_eq!(before - after, OTHERS, "uploads of others are gone");
    }
}

async fn make(tus: Arc<Tus>, maker: usize) -> Vec<(String, u64)> {
    let mut uploads = Vec::new();
    for number in (maker..OTHERS).step_by(AT_A_TIME) {
        let brings = if number.is_multiple_of(10) { 10 } else { 0 };
        let mut ask = Ask::post().length(TEXT.len() as u64);
        if brings > 0 {
            ask = ask.body(Frames::whole(&TEXT[..brings]));
        }
        let answer = ask.send(&tus).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        uploads.push((answer.location(), brings as u64));
    }
    uploads
}
