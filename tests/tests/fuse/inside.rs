//! Runs a test once more in a process with mounts of its own.
//!
//! They end with that process, however it ends; nobody else ever sees them. And in there the
//! kernel can be made to say that the machine has been started anew.

use std::{
    env,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

const HOME: &str = "TUS_FUSE_HOME";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The directory in which a test may mount, if this is the process for it; else that process is
/// run, as far as this machine can do so.
///
/// # Panics
///
/// If the test fails in there.
pub(crate) fn inside(test: &str) -> Option<PathBuf> {
    if let Some(home) = env::var_os(HOME) {
        return Some(home.into());
    }
    let home = tempfile::tempdir().expect("a directory");
    fs::write(boot_file(home.path()), "before the first\n").expect("a file");
    if let Err(missing) = can_mount(home.path()) {
        // Past the harness, which keeps the words of a test that passes to itself.
        writeln!(io::stderr(), "NOT RUN: {test}: {missing}").expect("somebody to tell");
        return None;
    }
    let this = env::current_exe().expect("this test");
    let mut run = with_own_mounts(home.path(), &this);
    run.args([test, "--exact", "--nocapture"]).env(HOME, home.path());
    let status = run.status().expect("this test");
    assert!(status.success(), "{test} failed: {status}");
    None
}

/// What a program reads as the id of this boot.
pub(crate) fn boot_file(home: &Path) -> PathBuf {
    home.join("boot_id")
}

/// A command in a mount namespace of its own, with our file in the place of the boot id.
fn with_own_mounts(home: &Path, program: &Path) -> Command {
    const SCRIPT: &str = r#"mount --bind "$0" "$1" && shift && exec "$@""#;
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", SCRIPT]).arg(boot_file(home)).arg(BOOT_ID).arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

fn can_mount(home: &Path) -> Result<(), String> {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| {
        format!(
            "/dev/fuse cannot be opened ({error}); load it with `modprobe fuse`, let this user open \
             it with `chmod 666 /dev/fuse`, and start a container with \
             `--device /dev/fuse --cap-add SYS_ADMIN`"
        )
    })?;
    let tried = with_own_mounts(home, Path::new("true")).output();
    let why = match tried {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}; it is part of util-linux"),
    };
    Err(format!("this user may not mount ({why}); run it as root, or allow user namespaces"))
}
