//! A small file system of the test's own, in a mount namespace of its own: whatever becomes of the
//! test, nothing of it stays mounted.

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Set for a test that has been started again where it may mount.
const INSIDE: &str = "TUS_TEST_MAY_MOUNT";

/// Ways to a namespace in which a process may mount: as root, or as root of a user namespace.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// Runs the body of the test of this name in a mount namespace: the test starts itself again there.
///
/// Where no such namespace can be had, it says so on stderr, whoever captures the output of tests.
pub(crate) fn where_disks_can_be_mounted(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let Some(way) = WAYS.into_iter().find(|way| can_mount(way)) else {
        let why = "no tmpfs can be mounted; run it as root, or allow user namespaces \
                   (sysctl kernel.unprivileged_userns_clone=1)";
        writeln!(io::stderr(), "NOT RUN: {test}: {why}").expect("stderr");
        return;
    };
    let mut again = Command::new("unshare");
    again.args(way).arg(env::current_exe().expect("this program"));
    again.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let Output { status, stdout, stderr } = again.output().expect("unshare");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    print!("{stdout}{stderr}");
    assert!(status.success(), "{test} failed in its namespace; its output is above");
    assert!(stdout.contains("1 passed"), "{test} did not run in its namespace");
}

fn can_mount(way: &[&str]) -> bool {
    let at = tempfile::tempdir().expect("a directory");
    let mut mount = Command::new("unshare");
    mount.args(way).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(at.path());
    mount.output().is_ok_and(|tried| tried.status.success())
}

/// A tmpfs; unmounted when it is dropped.
#[derive(Debug)]
pub(crate) struct Disk(TempDir);

impl Disk {
    /// One with so many bytes and files; 0 is as many as it takes.
    pub(crate) fn new(bytes: u64, files: u64) -> Self {
        let at = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},nr_inodes={files}"), "tmpfs"]);
        assert!(mount.arg(at.path()).status().expect("mount").success());
        Self(at)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// How many bytes are free.
    pub(crate) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("a file system");
        stat.f_bavail * stat.f_frsize
    }

    /// How many more files there can be.
    pub(crate) fn free_files(&self) -> u64 {
        rustix::fs::statvfs(self.path()).expect("a file system").f_favail
    }

    /// Takes so many bytes, until the file of this name is removed.
    pub(crate) fn occupy(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.path().join(name);
        let length = usize::try_from(bytes).expect("bytes in memory");
        fs::write(&path, vec![0; length]).expect("room");
        path
    }

    /// Takes every byte that is free.
    pub(crate) fn fill(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        let mut file = File::create(&path).expect("a file");
        let zeros = [0; 4096];
        let full = loop {
            if let Err(error) = file.write_all(&zeros) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        assert_eq!(self.free(), 0);
        path
    }

    /// Takes all but so many of the files that there can be.
    pub(crate) fn occupy_files(&self, name: &str, but: u64) -> Vec<PathBuf> {
        let names = (but..self.free_files()).map(|number| format!("{name}-{number}"));
        let paths: Vec<_> = names.map(|name| self.path().join(name)).collect();
        paths.iter().for_each(|path| drop(File::create(path).expect("a file")));
        paths
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(std::thread::panicking() || unmounted.expect("umount").success());
    }
}
