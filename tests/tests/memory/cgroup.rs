//! A bound on all memory of a process, the system's buffers for its files included.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::Process;

/// A control group of our own, below the one that we are in; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    /// Version 2 has other names for the same files.
    unified: bool,
}

impl Cgroup {
    /// One that bounds memory to so many bytes.
    ///
    /// # Errors
    ///
    /// Why there can be none, in words.
    pub(crate) fn of(bytes: u64) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let mut why = "no control groups are mounted".to_owned();
        for mount in mounts.lines() {
            let mut words = mount.split(' ');
            let (Some(at), Some(kind), Some(options)) = (words.nth(1), words.next(), words.next())
            else {
                continue;
            };
            let unified = kind == "cgroup2";
            let has_memory = options.split(',').any(|option| option == "memory");
            if !unified && (kind != "cgroup" || !has_memory) {
                continue;
            }
            match Self::below(Path::new(at), &own, unified, bytes) {
                Ok(group) => return Ok(group),
                Err(error) => why = format!("no control group can be made in {at}: {error}"),
            }
        }
        Err(why)
    }

    fn below(root: &Path, own: &str, unified: bool, bytes: u64) -> io::Result<Self> {
        let mine = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let fits = match unified {
                true => controllers.is_empty(),
                false => controllers.split(',').any(|controller| controller == "memory"),
            };
            fits.then_some(path)
        });
        let mine = root.join(mine.unwrap_or("/").trim_start_matches('/'));
        // Version 2 bounds only the children of groups that say so, and those hold no processes.
        let bounds = |group: &&Path| {
            let told = fs::read_to_string(group.join("cgroup.subtree_control"));
            !unified || told.is_ok_and(|told| told.split_whitespace().any(|word| word == "memory"))
        };
        let parents = mine.ancestors().take_while(|group| group.starts_with(root));
        let parent = parents.into_iter().find(bounds);
        let parent = parent.ok_or_else(|| io::Error::other("none of them bounds memory"))?;
        let path = parent.join(format!("tus-tests-{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Self { path, unified };
        let limit = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.path.join(limit), bytes.to_string())?;
        if unified && group.path.join("memory.swap.max").exists() {
            fs::write(group.path.join("memory.swap.max"), "0")?;
        }
        Ok(group)
    }

    /// Starts a server in it.
    pub(crate) fn start(&self, program: &Path, arguments: &[String]) -> Process {
        let enter =
            format!("echo $$ > '{}/cgroup.procs' && exec \"$0\" \"$@\"", self.path.display());
        let mut all: Vec<OsString> = vec!["-c".into(), enter.into(), program.into()];
        all.extend(arguments.iter().map(OsString::from));
        Process::start(Path::new("/bin/sh"), &all)
    }

    /// The most bytes that were in use at once, if the system says so.
    pub(crate) fn peak(&self) -> Option<u64> {
        let name = if self.unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.path.join(name)).ok()?.trim().parse().ok()
    }

    /// How many processes were killed for want of memory, if the system says so.
    pub(crate) fn kills(&self) -> Option<u64> {
        let name = if self.unified { "memory.events" } else { "memory.oom_control" };
        let told = fs::read_to_string(self.path.join(name)).ok()?;
        told.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The process in it was killed just now, and may take a moment to be gone.
        let begun = Instant::now();
        while fs::remove_dir(&self.path).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                eprintln!("{} could not be removed", self.path.display());
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
