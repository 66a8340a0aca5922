//! Records as bytes: versioned, checksummed, bounded.
//!
//! A line of text that names the format, its version, the CRC-32 of what follows and its length,
//! then the record as JSON: a person can read it, and a torn or damaged one is found out.

use super::{StoreError, StoreErrorKind};
use crate::model::Upload;

/// The most bytes a record may have.
pub const MAX_LEN: usize = 1024 * 1024;

const MAGIC: &str = "tus-record";
const VERSION: &str = "1";

/// Writes a record.
///
/// # Errors
///
/// `Other` when it would exceed [`MAX_LEN`].
pub fn encode(upload: &Upload) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(upload).map_err(|e| StoreError::new(StoreErrorKind::Other, e))?;
    let head = format!("{MAGIC} {VERSION} {:08x} {}\n", crc32fast::hash(&json), json.len());
    if head.len() + json.len() > MAX_LEN {
        let text = format!("a record of {} bytes is larger than {MAX_LEN}", json.len());
        return Err(StoreError::new(StoreErrorKind::Other, text));
    }
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// Reads a record.
///
/// # Errors
///
/// `Corrupt` when it is not one, is damaged, or is of a version that this code does not know.
pub fn decode(bytes: &[u8]) -> Result<Upload, StoreError> {
    let corrupt = |text: &str| StoreError::new(StoreErrorKind::Corrupt, text);
    if bytes.len() > MAX_LEN {
        return Err(corrupt("the record is too large"));
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| corrupt("no head line"))?;
    let (head, json) = bytes.split_at(end);
    let json = json.get(1..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| corrupt("the head line is not text"))?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(corrupt("not a record"));
    }
    if words.next() != Some(VERSION) {
        return Err(corrupt("a version that this release does not know"));
    }
    let crc = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
    let len = words.next().and_then(|word| word.parse::<usize>().ok());
    if len != Some(json.len()) || crc != Some(crc32fast::hash(json)) || words.next().is_some() {
        return Err(corrupt("length or checksum do not match"));
    }
    serde_json::from_slice(json).map_err(|e| StoreError::new(StoreErrorKind::Corrupt, e))
}
