//! The directories of a server, and the server that holds them as long as it lives.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use tempfile::TempDir;
use tus_tests::process::{Process, own_program, program};

/// Both levels of durability; a kill must lose nothing under either.
pub(crate) const LEVELS: [&str; 2] = ["power", "process"];

/// Which server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The product.
    TusServer,
    /// `tests/examples/mortal.rs`: it has hooks, and kills itself when told to.
    Mortal,
}

/// What outlives a server.
pub(crate) struct Site {
    home: TempDir,
    /// Where the destination is, if not beside the uploads.
    elsewhere: Option<TempDir>,
    program: PathBuf,
    pub(crate) which: Which,
    pub(crate) level: &'static str,
}

impl Site {
    pub(crate) fn new(which: Which, level: &'static str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let program = match which {
            Which::TusServer => program("tus-server"),
            Which::Mortal => own_program("mortal"),
        };
        Self { home, elsewhere: None, program, which, level }
    }

    /// Another one, empty, of the same kind.
    pub(crate) fn anew(&self, level: &'static str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let elsewhere = self.elsewhere.as_ref().and_then(|_| elsewhere(&home));
        Self { home, elsewhere, program: self.program.clone(), which: self.which, level }
    }

    /// Has its destination on another file system, where a finish is a copy; `None` if this
    /// machine has none.
    pub(crate) fn on_two_file_systems(mut self) -> Option<Self> {
        self.elsewhere = Some(elsewhere(&self.home)?);
        Some(self)
    }

    /// Starts the server on what is there; one that cannot start fails the test.
    pub(crate) fn start(&self, more: &[String]) -> Process {
        let mut arguments = vec![
            "--port=0".to_owned(),
            format!("--upload-dir={}", self.uploads().display()),
            format!("--destination-dir={}", self.files().display()),
            format!("--durability={}", self.level),
        ];
        if self.which == Which::Mortal {
            arguments.push(format!("--events={}", self.home.path().join("events").display()));
        }
        arguments.extend_from_slice(more);
        Process::start(&self.program, &arguments)
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.home.path().join("uploads")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.elsewhere.as_ref().unwrap_or(&self.home).path().join("files")
    }

    /// What the application was told: what became of which upload, and the id of the event.
    pub(crate) fn events(&self) -> Vec<[String; 3]> {
        let text = fs::read_to_string(self.home.path().join("events")).unwrap_or_default();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(|line| words(line).try_into().expect("kind, upload, event")).collect()
    }

    /// The bytes of an upload in the upload directory, if it has any there.
    pub(crate) fn bytes_of(&self, id: &str) -> Option<Vec<u8>> {
        fs::read(self.uploads().join(format!("{id}.bin"))).ok()
    }

    /// What is in the upload directory: an id, the suffix after it, and how many bytes.
    pub(crate) fn names(&self) -> Vec<(String, String, u64)> {
        let entries = fs::read_dir(self.uploads()).expect("the upload directory");
        let mut names = Vec::new();
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("text");
            // The lock, and the probe of a server that was killed when it started.
            if name.starts_with('.') {
                continue;
            }
            // A file that has just been removed is not there.
            let Ok(found) = entry.metadata() else { continue };
            let (id, suffix) = name.split_once('.').expect("a suffix");
            names.push((id.to_owned(), suffix.to_owned(), found.len()));
        }
        names.sort();
        names
    }

    /// What is in the destination directory.
    pub(crate) fn placed(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.files()).expect("the destination");
        let mut files = Vec::new();
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("text");
            files.push((name, fs::read(entry.path()).expect("a file")));
        }
        files.sort();
        files
    }
}

/// A directory in memory, if that is another file system than the one of this directory.
fn elsewhere(home: &TempDir) -> Option<TempDir> {
    let there = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |dir: &TempDir| fs::metadata(dir.path()).expect("a directory").dev();
    (device(&there) != device(home)).then_some(there)
}
