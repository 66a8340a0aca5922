//! Where a scenario takes place: stores in memory that forget what was not synced, or directories,
//! at either level of durability.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tempfile::TempDir;
use tus_core::{
    Locator, Phase, Policy, Timestamp, Tus, Upload, UploadId,
    conformance::{Faults, Flaky},
    store::{ChunkStore as _, MetaStore as _},
};
use tus_fs::{Durability, FsStore, OpenError};
use tus_tests::rig::{Application, Clock, Kept, Manner, World, found};

const MANNERS: [Manner; 2] = [
    Manner { volatile: false, places: false, is_blind: false },
    Manner { volatile: true, places: true, is_blind: false },
];

/// What outlives a process.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    Memory(World),
    Disk(World<Disk>),
}

/// What there is to be one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Memory(Manner),
    Disk(Durability),
}

pub(crate) const KINDS: [Kind; 4] = [
    Kind::Memory(MANNERS[0]),
    Kind::Memory(MANNERS[1]),
    Kind::Disk(Durability::Power),
    Kind::Disk(Durability::Process),
];

impl Kind {
    pub(crate) fn ground(self, policy: &Policy, application: Application) -> Ground {
        match self {
            Self::Memory(manner) => Ground::Memory(World::new(manner, policy.clone(), application)),
            Self::Disk(durability) => {
                let disk = Disk::new(durability);
                // Files have their times from the machine's clock.
                let now = Timestamp::now();
                Ground::Disk(World::on(disk, now, policy.clone(), application))
            }
        }
    }
}

impl Ground {
    /// Starts a process.
    pub(crate) async fn serve(&self, faults: &Faults) -> Tus {
        match self {
            Self::Memory(world) => {
                let meta = Flaky::new(world.records.clone(), faults);
                world.serve(meta, Flaky::new(world.bytes.clone(), faults))
            }
            Self::Disk(world) => {
                let store = Flaky::new(world.open().await, faults);
                world.serve(store.clone(), store)
            }
        }
    }

    /// The process is dead, and with it what it did not make durable.
    pub(crate) fn die(&self) {
        match self {
            Self::Memory(world) => world.bytes.crash(),
            Self::Disk(world) => world.die(),
        }
    }

    pub(crate) fn application(&self) -> &Application {
        match self {
            Self::Memory(world) => &world.application,
            Self::Disk(world) => &world.application,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        match self {
            Self::Memory(world) => &world.clock,
            Self::Disk(world) => &world.clock,
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        match self {
            Self::Memory(world) => &world.policy,
            Self::Disk(world) => &world.policy,
        }
    }

    pub(crate) async fn record(&self, id: &UploadId) -> Option<Upload> {
        match self {
            Self::Memory(world) => world.record(id).await,
            Self::Disk(world) => world.record(id).await,
        }
    }

    pub(crate) async fn all(&self) -> BTreeMap<UploadId, Upload> {
        match self {
            Self::Memory(world) => world.all().await,
            Self::Disk(world) => world.all().await,
        }
    }

    /// The bytes that the death of the process would leave.
    pub(crate) async fn durable(&self, upload: &Upload) -> Option<Vec<u8>> {
        match self {
            Self::Memory(world) => world.durable(&upload.locator).await,
            Self::Disk(world) => world.durable(&upload.locator).await,
        }
    }

    /// What lies about, though none of these records says so.
    pub(crate) fn litter(&self, all: &BTreeMap<UploadId, Upload>) -> Vec<String> {
        match self {
            Self::Memory(world) => {
                let owned: BTreeSet<_> = all.values().map(|one| one.locator.as_str()).collect();
                let mut left = world.bytes.locators();
                left.retain(|at| !owned.contains(at.as_str()));
                left
            }
            Self::Disk(world) => world.litter(all),
        }
    }
}

/// Two directories, and the store of the process that has them now.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    home: Arc<TempDir>,
    durability: Durability,
    /// How often the machine was started.
    boots: Arc<AtomicU64>,
    store: Arc<Mutex<Option<FsStore>>>,
}

impl Disk {
    fn new(durability: Durability) -> Self {
        // Where there is a file system in memory, it is quicker.
        let shm = Path::new("/dev/shm");
        let home = match shm.is_dir() {
            true => TempDir::new_in(shm).or_else(|_| TempDir::new()),
            false => TempDir::new(),
        };
        let (boots, store) = Default::default();
        Self { home: Arc::new(home.unwrap()), durability, boots, store }
    }

    fn uploads(&self) -> PathBuf {
        self.home.path().join("uploads")
    }

    fn files(&self) -> PathBuf {
        self.home.path().join("files")
    }

    /// Opens the directories, once the process before has let go of them.
    async fn open(&self) -> FsStore {
        let boot = self.boots.load(Ordering::SeqCst);
        for _ in 0..100 {
            let store = FsStore::builder(self.uploads())
                .destination(self.files())
                .durability(self.durability)
                .boot_id(format!("boot {boot}"))
                .open()
                .await;
            match store {
                Ok(store) => {
                    *self.store.lock().unwrap() = Some(store.clone());
                    return store;
                }
                Err(OpenError::InUse { .. }) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("a process that is dead has not let go of its directory");
    }

    /// With `power`, the machine dies with the process.
    fn die(&self) {
        *self.store.lock().unwrap() = None;
        if self.durability == Durability::Power {
            self.boots.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn litter(&self, all: &BTreeMap<UploadId, Upload>) -> Vec<String> {
        let mut owned = BTreeSet::from([self.uploads().join(".lock")]);
        for (id, upload) in all {
            owned.insert(self.uploads().join(format!("{id}.rec")));
            let has_bytes = matches!(upload.phase, Phase::Open | Phase::Announced { .. });
            let at = has_bytes.then(|| self.path(&upload.locator)).flatten();
            if let Some(at) = at {
                owned.extend([at.with_extension("slot"), at]);
            }
        }
        let mut left = Vec::new();
        for directory in [self.uploads(), self.files()] {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if !owned.contains(&path) {
                    left.push(path.display().to_string());
                }
            }
        }
        left
    }

    fn store(&self) -> Option<FsStore> {
        self.store.lock().unwrap().clone()
    }

    fn path(&self, at: &Locator) -> Option<PathBuf> {
        self.store()?.local_path(at)
    }
}

#[async_trait]
impl Kept for Disk {
    async fn record(&self, id: &UploadId) -> Option<Upload> {
        found(id, self.store()?.load(id).await)
    }

    /// What survives power too, one sees after it was lost.
    async fn durable(&self, at: &Locator) -> Option<Vec<u8>> {
        fs::read(self.path(at)?).ok()
    }

    fn is_dead(&self) -> bool {
        self.store().is_none()
    }
}
