//! What the fuzz targets reach of the file store. No part of the public API: it may change at any
//! time.
//!
//! Each function reads what may lie in the upload directory, and writes what it has read.

use tus_core::Locator;

use crate::{layout::Place, meta, naming, note::Note, slots::Slot};

/// A record with its revision, as a file.
pub fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    let (upload, revision) = meta::unseal(bytes).ok()?;
    meta::seal(&upload, revision).ok()
}

/// A sync point.
pub fn slot(bytes: [u8; 64]) -> Option<[u8; 64]> {
    Slot::decode(bytes).map(Slot::encode)
}

/// What a finish is about to do.
pub fn note(text: &str) -> Option<String> {
    Note::decode(text).map(|note| note.encode())
}

/// Where the bytes of an upload are.
pub fn locator(text: &str) -> Option<Locator> {
    Place::parse(&Locator::new(text)).map(|place| place.locator())
}

/// A client's file name as one that can do no harm.
pub fn file_name(name: &str) -> Option<String> {
    naming::sanitize(name)
}
