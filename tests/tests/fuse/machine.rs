//! A machine that loses power: the server as a process of its own, on a disk that is ours.

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use tus_tests::process::{Process, Random, program};

use super::{
    disk::{Disk, Law},
    inside::boot_file,
    mount::{Mounted, Shared},
};

/// How a server comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its machine loses power.
    Power,
    /// It is killed, and the machine stays up.
    Process,
}

// Fields are dropped in this order: nobody uses the disk when it is unmounted.
#[derive(Debug)]
pub(crate) struct Machine {
    server: Option<Process>,
    mounted: Option<Mounted>,
    disk: Shared,
    off: Arc<AtomicBool>,
    random: Random,
    boots: u64,
    program: PathBuf,
    durability: &'static str,
    patience: Duration,
    home: PathBuf,
}

/// A server that runs, as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) addr: SocketAddr,
    pub(crate) uploads: PathBuf,
    pub(crate) files: PathBuf,
    pub(crate) log: PathBuf,
    /// After this long something is stuck, not slow.
    pub(crate) patience: Duration,
    off: Arc<AtomicBool>,
}

impl Site {
    /// Whether the power is off, or the server is about to be killed.
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }
}

impl Machine {
    /// A server with this durability, on an empty disk.
    pub(crate) fn new(home: &Path, durability: &'static str, law: Law, random: Random) -> Self {
        let off = Arc::new(AtomicBool::new(false));
        let mut machine = Self {
            server: None,
            mounted: None,
            disk: Shared::new(Disk::new(law, off.clone())),
            off,
            random,
            boots: 0,
            program: program("tus-server"),
            durability,
            // Without syncs something is, often enough.
            patience: Duration::from_secs(if durability == "process" { 3 } else { 30 }),
            home: home.to_owned(),
        };
        fs::create_dir(machine.root()).expect("a directory");
        machine.boot();
        machine
    }

    fn root(&self) -> PathBuf {
        self.home.join("disk")
    }

    fn boot(&mut self) {
        self.boots += 1;
        // Over the file that is mounted in the place of the kernel's own.
        fs::write(boot_file(&self.home), format!("boot {}\n", self.boots)).expect("a boot id");
        let mounted = Mounted::new(&self.disk, &self.root());
        self.mounted = Some(mounted.expect("a FUSE mount"));
        self.disk.lock().switch_on();
        self.start();
    }

    fn start(&mut self) {
        let set = |flag: &str, value: &OsStr| {
            let mut argument = OsString::from(flag);
            argument.push(value);
            argument
        };
        let arguments = [
            "-c".into(),
            r#"log=$0; exec "$@" 2>"$log""#.into(),
            self.log().into(),
            self.program.clone().into(),
            "--port=0".into(),
            set("--upload-dir=", self.root().join("uploads").as_os_str()),
            set("--destination-dir=", self.root().join("files").as_os_str()),
            set("--durability=", self.durability.as_ref()),
        ];
        self.server = Some(Process::start(Path::new("sh"), &arguments));
    }

    fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    pub(crate) fn site(&self) -> Site {
        Site {
            addr: self.server.as_ref().expect("a server").addr,
            uploads: self.root().join("uploads"),
            files: self.root().join("files"),
            log: self.log(),
            patience: self.patience,
            off: self.off.clone(),
        }
    }

    /// Lets the power fail after so many changes and syncs of the disk.
    pub(crate) fn arm(&self, steps: u64) {
        self.disk.lock().arm(steps);
    }

    /// Has the clients do something at the same time, and ends the server once the power has
    /// failed or all of them are done; says which.
    pub(crate) fn run<C: Send>(
        &mut self,
        clients: &mut [C],
        work: impl Fn(&mut C, &Site) + Sync,
    ) -> bool {
        if self.server.is_none() {
            // It has been killed already.
            return true;
        }
        let (site, work) = (&self.site(), &work);
        let count = clients.len();
        let (done, ends) = mpsc::channel();
        thread::scope(|scope| {
            for client in clients {
                let done = Done(done.clone());
                scope.spawn(move || {
                    let _done = done;
                    work(client, site);
                });
            }
            let mut ended = 0;
            while ended < count && !site.is_off() {
                // The disk says nothing when it goes off.
                if ends.recv_timeout(Duration::from_millis(1)).is_ok() {
                    ended += 1;
                }
            }
            if site.is_off() {
                // Whoever still waits for an answer gets none.
                self.kill();
            }
        });
        site.is_off()
    }

    fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Ends the server now, unless that has happened, and starts the next one; says whether changes
    /// that nobody had synced were at stake.
    pub(crate) fn end(&mut self, end: End, next: Law) -> bool {
        // First the disk, then the server: nothing that it does after this moment counts.
        self.disk.lock().switch_off();
        self.kill();
        match end {
            End::Power => {
                self.mounted = None;
                let dirty = self.disk.lock().lose_power(&mut self.random, next);
                self.boot();
                dirty
            }
            End::Process => {
                self.disk.lock().switch_on();
                self.start();
                false
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server said last:\n    {}", said(&self.log(), ""));
        }
    }
}

/// Tells that a client has ended, also by a panic.
struct Done(Sender<()>);

impl Drop for Done {
    fn drop(&mut self) {
        // Nobody listens any more once the power is off.
        let _ = self.0.send(());
    }
}

/// What the server has said about something last.
pub(crate) fn said(log: &Path, about: &str) -> String {
    let log = fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let lines: Vec<_> = log.lines().filter(|line| line.contains(about)).collect();
    lines[lines.len().saturating_sub(4)..].join("\n    ")
}
