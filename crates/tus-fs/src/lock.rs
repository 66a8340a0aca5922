//! One process owns an upload directory.
//!
//! The kernel's lock, which ends with the process however it ends; what the file holds means
//! nothing.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use crate::{
    disk::{Dir, File, Open, regular},
    layout,
};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Takes the directory, waiting for its owner to let go; `None` is one that did not.
pub(crate) fn take(dir: &Dir, wait: Duration) -> io::Result<Option<File>> {
    let file = match dir.open(layout::LOCK, Open::New) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.open(layout::LOCK, Open::Write)?
        }
        file => file?,
    };
    regular(&file)?;
    let begun = Instant::now();
    loop {
        match file.try_lock()? {
            true => return Ok(Some(file)),
            false if begun.elapsed() >= wait => return Ok(None),
            false => thread::sleep(LOOK_AGAIN),
        }
    }
}
