//! A server from its start to its cut, and its clients.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tus_fs::{Durability, FsStore};
use tus_tests::{
    disk::{Client, House, Knowledge, Salvaged, Scene, Setup, disks},
    process::Random,
};

use crate::{
    log::{Done, Entry, Recorder},
    model::{Disk, Left, Manner},
};

/// A loss of power.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blow {
    /// After so many entries of the log.
    pub(crate) at: usize,
    pub(crate) manner: Manner,
    pub(crate) left: Left,
    pub(crate) seed: u64,
}

/// What became of uploads of which nothing was synced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) whole: u64,
    pub(crate) holes: u64,
    pub(crate) gone: u64,
    pub(crate) refused: u64,
}

impl Losses {
    fn count(&mut self, salvaged: Salvaged) {
        *match salvaged {
            Salvaged::Whole => &mut self.whole,
            Salvaged::Holes => &mut self.holes,
            Salvaged::Gone => &mut self.gone,
            Salvaged::Refused => &mut self.refused,
        } += 1;
    }

    fn add(&mut self, other: &Self) {
        self.whole += other.whole;
        self.holes += other.holes;
        self.gone += other.gone;
        self.refused += other.refused;
    }
}

/// What was done in one boot.
#[derive(Debug)]
pub(crate) struct Life {
    setup: Setup,
    boot: u64,
    /// As it began.
    disk: Disk,
    knowledge: Knowledge,
    log: Vec<Entry>,
    /// How often something was synced.
    pub(crate) syncs: usize,
    /// And before the store was open.
    pub(crate) opening: usize,
}

impl Life {
    /// The first boot, in which clients do something, one sync of which may break.
    pub(crate) fn first(scene: &Scene, breaks: Option<usize>) -> Result<Self, String> {
        let home = tempfile::tempdir_in(disks()).unwrap();
        let broken = breaks.is_some();
        let setup = Setup { fails_at_times: broken, is_untidy: broken, ..scene.setup.clone() };
        let play = async |client: &Client, _: &FsStore| scene.play(client).await;
        Self::live(&home, &setup, 1, Knowledge::default(), breaks, &play)
    }

    /// A boot that begins with a directory and what is known.
    fn live(
        home: &TempDir,
        setup: &Setup,
        boot: u64,
        knowledge: Knowledge,
        breaks: Option<usize>,
        what: &impl AsyncFn(&Client, &FsStore),
    ) -> Result<Self, String> {
        let disk = Disk::of(home.path());
        let recorder = Arc::new(Recorder::new(setup.no_links, breaks));
        let heard = recorder.clone();
        let sink = Arc::new(move |mark: &_| heard.hear(mark));
        let house = Arc::new(House::new(home.path(), setup, knowledge.clone(), sink));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(4)
            .build()
            .unwrap();
        let opening = AtomicUsize::new(0);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                house.later(Duration::ZERO, &[]);
                let store = house.open(recorder.clone(), &format!("boot {boot}")).await;
                let store =
                    store.unwrap_or_else(|error| panic!("the store does not open: {error}"));
                opening.store(recorder.syncs(), Ordering::SeqCst);
                let client = Client::new(house.serve(store.clone()), &house);
                what(&client, &store).await;
                client.tus.drain(Duration::from_secs(30)).await;
                assert!(house.complaints().is_empty(), "{:?}", house.complaints());
            });
        }));
        drop(runtime);
        let (log, syncs) = (recorder.log(), recorder.syncs());
        ran.map_err(|panic| text(&*panic))?;
        let opening = opening.into_inner();
        let life = Self { setup: setup.clone(), boot, disk, knowledge, log, syncs, opening };
        // What a failed sync lost is still seen until the power goes.
        if breaks.is_none() {
            life.is_all(home);
        }
        Ok(life)
    }

    /// Whether the log has all that was done: else the seam has a hole.
    fn is_all(&self, home: &TempDir) {
        let mut disk = self.disk.clone();
        for (seq, entry) in self.log.iter().enumerate() {
            if let Entry::Done(done) = entry {
                disk.replay(seq, done);
            }
        }
        let found = Disk::of(home.path()).seen();
        assert!(disk.seen() == found, "the log does not tell what lies on the disk");
    }

    /// How many entries the log has.
    pub(crate) fn moments(&self) -> usize {
        self.log.len()
    }

    /// Where a sync failed.
    pub(crate) fn lost(&self) -> usize {
        let is_lost = |entry: &Entry| matches!(entry, Entry::Done(Done::Lost { .. }));
        self.log.iter().position(is_lost).unwrap_or(0)
    }

    /// What came last before a moment.
    pub(crate) fn around(&self, at: usize) -> String {
        let last = at.checked_sub(1).and_then(|at| self.log.get(at));
        let text = format!("{last:?}");
        text.chars().take(160).collect()
    }

    /// Cuts the power, boots again, and has the clients go on.
    pub(crate) fn cut(&self, blow: &Blow) -> Result<Self, String> {
        let (home, knowledge) = self.left(blow);
        let go_on = async |client: &Client, store: &FsStore| {
            client.is_durable();
            client.recover().await;
            client.has_kept_house(store).await;
        };
        Self::live(&home, &self.setup, self.boot + 1, knowledge, None, &go_on)
    }

    /// The same where nothing was ever synced, and nothing is told that outlives the boot.
    pub(crate) fn cut_unsynced(&self, blow: &Blow, losses: &Mutex<Losses>) -> Result<Self, String> {
        let (home, knowledge) = self.left(blow);
        let go_on = async |client: &Client, _: &FsStore| {
            let mut found = Losses::default();
            for (id, known) in &knowledge.uploads {
                found.count(client.salvage(id, known).await);
            }
            losses.lock().unwrap().add(&found);
        };
        let setup = Setup { is_deaf: true, ..self.setup.clone() };
        Self::live(&home, &setup, self.boot + 1, Knowledge::default(), None, &go_on)
    }

    /// What a loss of power leaves, and who knew what.
    fn left(&self, blow: &Blow) -> (TempDir, Knowledge) {
        let (mut disk, mut knowledge) = (self.disk.clone(), self.knowledge.clone());
        for (seq, entry) in self.log[..blow.at].iter().enumerate() {
            match entry {
                Entry::Done(done) => disk.replay(seq, done),
                Entry::Heard(mark) => knowledge.hear(mark).unwrap(),
            }
        }
        let home = tempfile::tempdir_in(disks()).unwrap();
        let mut random = Random(blow.seed | 1);
        // Where bytes are told that no sync covers, a sector of garbage could be among them.
        let garbage = self.setup.durability == Durability::Power;
        disk.cut(blow.manner, blow.left, garbage, &mut random, home.path());
        (home, knowledge)
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
