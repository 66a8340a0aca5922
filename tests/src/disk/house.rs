//! An engine on a file store, and an application that writes down what it is told.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::StatusCode;
use tus_core::{
    Ended, Finished, HookError, Policy, Rejection, Reply, Timestamp, Tus, store::StoreError,
};
use tus_fs::{Durability, FolderTemplate, FsStore, Naming, OnConflict, OpenError, watch::Watch};

use super::{Event, Knowledge, Mark};
use crate::rig::Clock;

/// Where temporary directories of disk proofs lie: in memory where the machine has that, as they
/// make very many.
pub fn disks() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Where finished uploads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// They stay.
    Stays,
    /// Into a directory, under a name of their own.
    Places,
    /// Into a sub-folder.
    Folders,
    /// Into a directory, over what has their name.
    Replaces,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What its promises survive.
    pub durability: Durability,
    /// Where finished uploads go.
    pub placing: Placing,
    /// What is allowed.
    pub policy: Policy,
    /// So many times the application fails first.
    pub fails: u64,
    /// Whether it refuses what is finished.
    pub rejects: bool,
    /// The error of the system for every link, as on a disk that has none or between two.
    pub no_links: Option<i32>,
    /// Whether requests are handled on threads that may block.
    pub in_place: bool,
    /// Whether calls to the system fail at times.
    pub fails_at_times: bool,
    /// Whether nobody notes anything, as what was told is not promised any more.
    pub is_deaf: bool,
    /// Whether names that were removed may be back, because a sync failed before the power went.
    pub is_untidy: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let mut policy = Policy::default();
        policy.download = true;
        Self {
            durability: Durability::Power,
            placing: Placing::Places,
            policy,
            fails: 0,
            rejects: false,
            no_links: None,
            in_place: false,
            fails_at_times: false,
            is_deaf: false,
            is_untidy: false,
        }
    }
}

/// Is told every mark as it is made.
pub type Sink = Arc<dyn Fn(&Mark) + Send + Sync>;

/// The directories of a server, and everybody who deals with it.
#[derive(Clone)]
pub struct House {
    /// Where its directories lie.
    pub home: PathBuf,
    /// How it is set up.
    pub setup: Setup,
    /// The time.
    pub clock: Clock,
    knowledge: Arc<Mutex<Knowledge>>,
    complaints: Arc<Mutex<Vec<String>>>,
    sink: Sink,
    fails: Arc<AtomicU64>,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("home", &self.home).finish_non_exhaustive()
    }
}

impl House {
    /// A house in a directory, with what is known already.
    pub fn new(home: &Path, setup: &Setup, mut knowledge: Knowledge, sink: Sink) -> Self {
        let clock = Clock::default();
        if knowledge.time == 0 {
            // That of the machine, as files are stamped with it.
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock past 1970");
            knowledge.time = u64::try_from(now.as_millis()).expect("a time");
        }
        let begins = clock.now().as_millis();
        clock.advance(Duration::from_millis(knowledge.time - begins));
        Self {
            home: home.to_owned(),
            setup: setup.clone(),
            clock,
            knowledge: Arc::new(Mutex::new(knowledge)),
            complaints: Arc::default(),
            sink,
            fails: Arc::new(AtomicU64::new(setup.fails)),
        }
    }

    /// The upload directory.
    pub fn uploads(&self) -> PathBuf {
        self.home.join("up")
    }

    /// The destination.
    pub fn done(&self) -> PathBuf {
        self.home.join("done")
    }

    /// Notes what somebody does or hears.
    pub fn tell(&self, mark: &Mark) {
        if self.setup.is_deaf {
            return;
        }
        (self.sink)(mark);
        let heard = self.knowledge().hear(mark);
        if let Err(wrong) = heard {
            // One that is made in a hook would be caught with its panic.
            self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push(wrong.clone());
            panic!("{wrong}");
        }
    }

    /// What everybody knows.
    pub fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What contradicted it.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time goes by, after which these have expired.
    pub fn later(&self, by: Duration, late: &[&str]) {
        self.clock.advance(by);
        let late = late.iter().map(|id| (*id).to_owned()).collect();
        self.tell(&Mark::Time(self.clock.now().as_millis(), late));
    }

    /// Opens the store under somebody's eyes.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn open(&self, watch: Arc<dyn Watch>, boot: &str) -> Result<FsStore, OpenError> {
        let builder = FsStore::builder(self.uploads()).durability(self.setup.durability);
        let builder = builder.boot_id(boot).watch(watch).wait_for_lock(Duration::from_secs(60));
        let builder = match self.setup.placing {
            Placing::Stays => builder,
            _ => builder.destination(self.done()),
        };
        let builder = match self.setup.placing {
            Placing::Stays | Placing::Places => builder,
            Placing::Folders => {
                let template: FolderTemplate = "{id:8}/all".parse().expect("a template");
                builder.folders(template).naming(Naming::Keep)
            }
            Placing::Replaces => builder.naming(Naming::Keep).on_conflict(OnConflict::Overwrite),
        };
        builder.open().await
    }

    /// An engine on a store.
    pub fn serve(&self, store: FsStore) -> Tus {
        let clock = self.clock.clone();
        let (finish, terminate, expire) = (self.clone(), self.clone(), self.clone());
        let builder = Tus::builder().store(store).policy(self.setup.policy.clone());
        builder
            .clock(move || clock.now())
            .before_create(|_, mut new| {
                // These clients choose their ids, so that they know them if the answer is lost.
                new.id = new.metadata.get_text("id").and_then(|id| id.parse().ok());
                async move { Ok(new) }
            })
            .on_finish(move |finished| {
                let house = finish.clone();
                async move { house.is_told(&finished).await }
            })
            .on_terminated(move |ended| {
                terminate.hears(Event::Terminated, &ended);
                async { Ok(()) }
            })
            .on_expired(move |ended| {
                expire.hears(Event::Expired, &ended);
                async { Ok(()) }
            })
            .build()
            .expect("a policy that works")
    }

    fn hears(&self, what: Event, ended: &Ended) {
        let id = ended.id().to_string();
        self.tell(&Mark::Event(id, what, ended.event_id.clone(), None));
    }

    async fn is_told(&self, finished: &Finished) -> Result<Reply, HookError> {
        let sum = match read(finished).await {
            Ok(bytes) => Some(crc32fast::hash(&bytes)),
            // Another one has its name by now.
            Err(error) if error.is_not_found() && self.setup.placing == Placing::Replaces => None,
            Err(error) => return Err(HookError::Failed(Box::new(error))),
        };
        let (id, event) = (finished.id().to_string(), finished.event_id.clone());
        self.tell(&Mark::Event(id, Event::Finished, event, sum));
        let failing = self.fails.load(Ordering::SeqCst);
        if failing > 0 {
            self.fails.store(failing - 1, Ordering::SeqCst);
            return Err(HookError::Failed(Box::new(io::Error::other("a bad day"))));
        }
        match self.setup.rejects {
            true => Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "no\n").into()),
            false => Ok(Reply::new()),
        }
    }

    /// The server's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What lies in the upload directory, without the lock.
    pub fn uploaded(&self) -> Vec<(String, Vec<u8>)> {
        let found = files(&self.uploads());
        found.into_iter().filter(|(name, _)| name != ".lock").collect()
    }

    /// What lies in the destination.
    pub fn placed(&self) -> Vec<(String, Vec<u8>)> {
        files(&self.done())
    }
}

async fn read(finished: &Finished) -> Result<Vec<u8>, StoreError> {
    let mut reader = finished.reader().await?;
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// All files below a directory, by their paths.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    collect(dir, "", &mut found);
    found.sort();
    found
}

fn collect(dir: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("text"));
        match entry.file_type().expect("a type").is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), found),
            false => found.push((name, fs::read(entry.path()).expect("a file"))),
        }
    }
}
